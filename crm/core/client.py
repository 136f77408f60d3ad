"""The way to the core: JSON-RPC over HTTP, logged in, with timeouts, telling apart what can go wrong."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 15.0  # a batch takes the core well under one second; this is for a core that drowns


class CoreError(Exception):
    """The core did not do it.

    - `CoreUnreachable`: the link, the proxy or the core is away; try the same again later
    - `CoreFailed`: the core answered that it failed; the batch itself may be at fault
    """


class CoreUnreachable(CoreError):
    pass


class CoreFailed(CoreError):
    pass


@dataclass(frozen=True, slots=True)
class Stored:
    """What the core says of a batch: UUIDs that are in the core now, and reasons for those it refuses."""

    stored: frozenset[str]
    refused: dict[str, str]


class Core:
    """One user's access to one Tryton database. Not for several threads at once."""

    def __init__(self, url: str, database: str, user: str, password_file: Path) -> None:
        self._rpc = f"{url.rstrip('/')}/{database}/rpc/"
        self._user = user
        self._password_file = password_file
        self._http = requests.Session()
        self._http.trust_env = (
            False  # the core is in the private zone: never through a proxy of the environment
        )
        self._logged_in = False
        self._calls = 0

    def store(self, events: list[dict[str, Any]]) -> Stored:
        """Hand over a batch; CoreUnreachable or CoreFailed when nothing is known to be stored."""
        answer = self._ask("model.huidu.touchpoint.event.store", [events, {}])
        try:
            return Stored(frozenset(answer["stored"]), dict(answer["refused"]))
        except (TypeError, KeyError, ValueError) as error:
            raise CoreFailed(f"the core's answer to `store` is not understood: {answer!r:.200}") from error

    def close(self) -> None:
        self._http.close()

    def _ask(self, method: str, params: list[Any]) -> Any:
        if not self._logged_in:
            self._log_in()
        response = self._post(method, params)
        if response.status_code == requests.codes.unauthorized:  # the session is over: begin another
            self._log_in()
            response = self._post(method, params)
        return self._result(response, method)

    def _log_in(self) -> None:
        self._logged_in = False
        self._http.headers.pop("Authorization", None)
        password = self._password_file.read_text(encoding="utf-8").splitlines()[0].strip()
        response = self._post("common.db.login", [self._user, {"password": password}])
        if response.status_code in (requests.codes.unauthorized, requests.codes.forbidden):
            raise CoreFailed(f"the core does not know user {self._user!r} with this password")
        user_id, token, *_ = self._result(response, "common.db.login")
        session = base64.b64encode(f"{self._user}:{user_id}:{token}".encode()).decode()
        self._http.headers["Authorization"] = f"Session {session}"
        self._logged_in = True

    def _post(self, method: str, params: list[Any]) -> requests.Response:
        self._calls += 1
        body = {"id": self._calls, "method": method, "params": params}
        try:
            return self._http.post(self._rpc, json=body, timeout=(CONNECT_SECONDS, ANSWER_SECONDS))
        except requests.RequestException as error:
            raise CoreUnreachable(f"the core cannot be reached: {error}") from error

    def _result(self, response: requests.Response, method: str) -> Any:
        if response.status_code >= requests.codes.bad_request:
            raise CoreUnreachable(f"{method}: the way to the core answers {response.status_code}")
        try:
            answer = response.json()
        except ValueError as error:
            raise CoreUnreachable(f"{method}: what answers is not the core") from error
        if "error" in answer:
            raise CoreFailed(f"{method}: {describe(answer['error'])}")
        return answer.get("result")


def describe(error: Any) -> str:
    """Tryton's error, [name or text, arguments or traceback], in one line."""
    parts = error if isinstance(error, list) else [error]
    texts = [str(part).strip().splitlines()[-1] for part in parts if str(part).strip()]
    return ": ".join(texts)[:500]
