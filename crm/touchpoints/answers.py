"""What a channel may answer, and how it refuses: 401, 404, 422, never a guess."""

import json
from decimal import Decimal
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse

BODY_LIMIT = 64 * 1024  # bytes; the longest honest form of these channels has under 10 KB


class Refused(Exception):
    """A request that cannot be served as it was asked.

    `status` is 401 (customer needed), 404 (no such thing), 422 (wrong input) or 503 (cannot serve now);
    `field` names the input that was wrong.
    """

    def __init__(self, status: int, error: str, field: str | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.field = field

    def body(self) -> dict[str, str]:
        return {"error": self.error} if self.field is None else {"error": self.error, "field": self.field}


def created(body: dict[str, Any]) -> JSONResponse:
    return JSONResponse(body, status_code=201)


def amount(value: Decimal) -> float:
    """Money as the API gives it: a number with at most two decimals."""
    return float(round(value, 2))


def identifier(request: Request, name: str) -> UUID:
    """The UUID in the path; what is not one cannot exist (404)."""
    try:
        return UUID(request.path_params[name])
    except ValueError:
        raise Refused(404, f"there is no {name.replace('_id', '')} with this id") from None


def storable(text: str) -> bool:
    """Whether the database can keep it: JSON can name half a surrogate pair, UTF-8 cannot write one."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


class Form:
    """The JSON object that was sent, read field by field; whatever is wrong is a 422 that names the field."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    @classmethod
    async def read(cls, request: Request) -> "Form":
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_LIMIT:
                raise Refused(422, f"the body is longer than {BODY_LIMIT} bytes", "body")
        try:
            fields = json.loads(body or b"{}")
        except (ValueError, RecursionError):
            raise Refused(422, "the body is not JSON", "body") from None
        if not isinstance(fields, dict):
            raise Refused(422, "the body is not a JSON object", "body")
        return cls(fields)

    def text(self, name: str, *, longest: int = 200, optional: bool = False) -> str:
        value = self._fields.get(name, "" if optional else None)
        if not isinstance(value, str) or not (optional or value.strip()):
            raise Refused(422, "a text is needed here", name)
        if len(value) > longest:
            raise Refused(422, f"at most {longest} characters", name)
        if "\x00" in value or not storable(value):
            raise Refused(422, "a text that UTF-8 can write, without the character NUL, is needed here", name)
        return value.strip()

    def email(self, name: str) -> str:
        value = self.text(name)
        local, _, domain = value.rpartition("@")
        if not local or "." not in domain or " " in value:
            raise Refused(422, "an e-mail address is needed here", name)
        return value

    def number(self, name: str, *, least: float, most: float) -> float:
        value = self._fields.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise Refused(422, f"a number from {least:g} to {most:g} is needed here", name)
        return float(value)

    def whole(self, name: str, *, least: int, most: int) -> int:
        value = self.number(name, least=least, most=most)
        if not value.is_integer():
            raise Refused(422, f"a whole number from {least} to {most} is needed here", name)
        return int(value)
