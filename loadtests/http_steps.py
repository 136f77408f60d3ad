"""A journey stated in the profile: requests one after the other, and what their answers must be."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Expect(_Part):
    """What an answer must be: one of these status codes (default: any 2xx), with this text in its body."""

    status: int | None = Field(default=None, ge=100, le=599)
    contains: str = ""


class HttpStep(_Part):
    """One request. Exactly one of the methods; the path begins with a slash."""

    get: str | None = None
    head: str | None = None
    post: str | None = None
    put: str | None = None
    patch: str | None = None
    delete: str | None = None
    name: str = ""
    body: str | None = None
    json_: Any = Field(default=None, alias="json")
    headers: dict[str, str] = Field(default_factory=dict)
    expect: Expect = Expect()

    @property
    def method(self) -> str:
        return self._request()[0]

    @property
    def path(self) -> str:
        return self._request()[1]

    @property
    def title(self) -> str:
        """How the step is called in reports."""
        return self.name or f"{self.method} {self.path.partition('?')[0]}"

    def _request(self) -> tuple[str, str]:
        for method in ("get", "head", "post", "put", "patch", "delete"):
            path: str | None = getattr(self, method)
            if path is not None:
                return method.upper(), path
        return "", ""

    @model_validator(mode="after")
    def _one_request(self) -> HttpStep:
        given = [self.get, self.head, self.post, self.put, self.patch, self.delete]
        if sum(path is not None for path in given) != 1:
            raise ValueError("a step is one request: exactly one of get, head, post, put, patch, delete")
        if not re.fullmatch(r"/[\x21-\x7e]*", self.path):
            raise ValueError(f"expected a path that begins with / and has no spaces, not {self.path!r}")
        if self.body is not None and self.json_ is not None:
            raise ValueError("a request has one body: `body` or `json`, not both")
        for name, value in self.headers.items():
            if not re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", name) or re.search(r"[\r\n\0]", value):
                raise ValueError(f"not a header: {name!r}")
        return self


class HttpJourney(_Part):
    """A journey stated in place: requests one after the other."""

    http: tuple[HttpStep, ...] = Field(min_length=1)
