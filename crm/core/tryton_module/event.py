"""Touchpoint events in the core: identity and behaviour of customers, written back by the synchronisation.

Implementation guides: written back with customer id, timestamp and touchpoint type.
"""

from typing import Any

from trytond.i18n import gettext
from trytond.model import Index, ModelSQL, ModelView, Unique, fields
from trytond.model.exceptions import AccessError
from trytond.pool import Pool
from trytond.rpc import RPC
from trytond.transaction import Transaction

from .arriving import TOUCHPOINTS, values_of

BATCH_LIMIT = 1000  # events of one call


class Event(ModelSQL, ModelView):  # type: ignore[misc]  # Tryton comes without types
    "Touchpoint Event"

    __name__ = "huidu.touchpoint.event"

    uuid = fields.Char("UUID", required=True, readonly=True)
    customer_code = fields.Char("Customer Code", readonly=True)
    party = fields.Many2One("party.party", "Party", readonly=True, ondelete="RESTRICT")
    at = fields.Timestamp("At", required=True, readonly=True)
    touchpoint = fields.Selection(
        [(touchpoint, touchpoint.capitalize()) for touchpoint in TOUCHPOINTS],
        "Touchpoint",
        required=True,
        readonly=True,
        sort=False,
        translate=False,
    )
    kind = fields.Char("Kind", required=True, readonly=True)
    priority = fields.Boolean("Priority", readonly=True)
    release = fields.Char("Release", readonly=True)
    payload = fields.Text("Payload", readonly=True)

    @classmethod
    def __setup__(cls) -> None:
        super().__setup__()
        table = cls.__table__()
        cls._order.insert(0, ("at", "DESC"))
        cls._sql_constraints.append(
            ("uuid_unique", Unique(table, table.uuid), "huidu_touchpoint.msg_event_uuid_unique")
        )
        cls._sql_indexes.update(
            {
                Index(table, (table.at, Index.Range(order="DESC"))),
                Index(table, (table.customer_code, Index.Equality(cardinality="high"))),
            }
        )
        cls.__rpc__.update({"store": RPC(readonly=False, size_limits={0: BATCH_LIMIT})})

    @classmethod
    def store(cls, events: list[dict[str, Any]]) -> dict[str, Any]:
        """Store a batch, in the one transaction of this call; what is there already stays as it is.

        Answers `{"stored": [uuid, ...], "refused": {uuid: reason}}`: `stored` are those that are now in the
        core, whether this call or an earlier one brought them: a caller who never heard the answer may simply
        ask again. The customer's party is found by its code, or made.
        """
        if Transaction().context.get("_check_access"):
            Pool().get("ir.model.access").check(cls.__name__, "create")
        new, refused = {}, {}
        for event in events:
            try:
                values = values_of(event)
            except ValueError as error:
                refused[str(event.get("uuid")) if isinstance(event, dict) else ""] = str(error)
            else:
                new[values["uuid"]] = values
        # The caller may create events, and thereby parties; he needs no other right in the core.
        with Transaction().set_context(_check_access=False):
            known = {event.uuid for event in cls.search([("uuid", "in", list(new))], order=[])}
            missing = [values for uuid, values in new.items() if uuid not in known]
            parties = cls._parties({values["customer_code"] for values in missing} - {""})
            for values in missing:
                values["party"] = parties.get(values["customer_code"])
            if missing:
                cls.create(missing)
            if known:
                cls._wait_for_standby()
        return {"stored": list(new), "refused": refused}

    @classmethod
    def _wait_for_standby(cls) -> None:
        """Make this commit one that waits for the database's standby, although nothing is written.

        What is found here may have been committed while the standby was away, by a transaction that ended
        before it was back: a standby has it only when it has something that was written after it.
        """
        Transaction().connection.cursor().execute("SELECT pg_logical_emit_message(true, 'touchpoints', '')")

    @classmethod
    def _parties(cls, codes: set[str]) -> dict[str, int]:
        """The id of the party of each customer code; made where there is none yet."""
        if not codes:
            return {}
        Party = Pool().get("party.party")
        with Transaction().set_context(active_test=False):
            found = {party.code: party.id for party in Party.search([("code", "in", list(codes))], order=[])}
        wanted = sorted(codes - found.keys())
        if wanted:
            made = Party.create([{"name": code, "code": code, "addresses": []} for code in wanted])
            found.update((code, party.id) for code, party in zip(wanted, made, strict=True))
        return found

    @classmethod
    def write(cls, *args: Any) -> None:
        raise AccessError(gettext("huidu_touchpoint.msg_event_fixed"))
