"""What an event must look like to be stored: pure, so that one bad event is refused and its batch is not."""

import datetime as dt
import json
from typing import Any
from uuid import UUID

TOUCHPOINTS = ("web", "wechat", "shop", "call")
TEXTS = ("customer_code", "kind", "release")
LONGEST = 200  # characters, for each of TEXTS


def values_of(event: Any) -> dict[str, Any]:
    """The fields of the model for an event as it came over the link; ValueError says what is wrong with it.

    `event` has `uuid`, `at` (ISO 8601 with offset), `touchpoint`, `kind`, `payload` (an object) and may have
    `customer_code` and `release`.
    """
    if not isinstance(event, dict):
        raise ValueError("an event is an object")
    at = dt.datetime.fromisoformat(event["at"]) if isinstance(event.get("at"), str) else None
    if at is None or at.tzinfo is None:
        raise ValueError("`at` is a time in ISO 8601 with its offset")
    if event.get("touchpoint") not in TOUCHPOINTS:
        raise ValueError(f"`touchpoint` is one of {', '.join(TOUCHPOINTS)}")
    texts = {name: event.get(name) or "" for name in TEXTS}
    for name, value in texts.items():
        if not isinstance(value, str) or len(value) > LONGEST or "\x00" in value:
            raise ValueError(f"`{name}` is a text of at most {LONGEST} characters")
    if not texts["kind"]:
        raise ValueError("`kind` is missing")
    payload = event.get("payload")
    if not isinstance(payload, dict):
        raise ValueError("`payload` is an object")
    return {
        **texts,
        "uuid": uuid_of(event),
        "at": at.astimezone(dt.UTC).replace(tzinfo=None),  # Tryton keeps times in UTC, without offset
        "touchpoint": event["touchpoint"],
        "payload": json.dumps(payload, ensure_ascii=False, sort_keys=True),
        "priority": payload.get("priority") == "priority",
    }


def uuid_of(event: Any) -> str:
    """The event's UUID in the one form in which it is kept and compared."""
    try:
        return str(UUID(event["uuid"]))
    except (TypeError, KeyError, ValueError, AttributeError):
        raise ValueError("`uuid` is missing or is no UUID") from None
