"""The Kubernetes API as far as a rollout needs it: read an HTTPRoute, patch it, and say why it did not work.

The library is imported only here and only when it is used. Nothing is retried here; every call is bounded.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import urllib3

from huidu.foundation import kubeconfig as kubeconfigs
from huidu.foundation.errors import ConfigError, Unreachable
from huidu.foundation.kubeconfig import Chosen, library

Json = dict[str, Any]
GROUP, API_VERSION, PLURAL = "gateway.networking.k8s.io", "v1", "httproutes"
CONNECT_WITHIN, ANSWER_WITHIN = 3.0, 5.0
"""Seconds one call may take until it is connected, and between two bytes of the answer."""
IN_CLUSTER = ""
"""For a kubeconfig: the account of the pod this runs in."""
_REMEDY = "name it in the plan: route: {kubeconfig: ..., context: ...}"
Kind = Literal["unreachable", "forbidden", "missing", "conflict", "refused"]


class ApiTrouble(Exception):
    """The API server did not do it. `kind` is for decisions, the text and `remedy` are for people."""

    def __init__(self, kind: Kind, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.kind = kind
        self.what = what
        self.remedy = remedy


class HttpRoutes(Protocol):
    """HTTPRoutes of one namespace. Every call raises ApiTrouble."""

    def get(self, name: str) -> Json:
        """The route as it is stored, status included."""

    def patch(self, name: str, body: Json, dry_run: bool = False) -> Json:
        """A merge patch; a `resourceVersion` in it that is not the stored one is a conflict."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which cluster, as whom, in which namespace. `kubeconfig`: a file, or IN_CLUSTER."""

    kubeconfig: str
    context: str
    namespace: str


def place_of(kubeconfig: Path | None, context: str, namespace: str) -> Place:
    """What is left out as kubectl takes it, and spelled out: a guard that goes on with a rollout later must
    not meet another cluster because somebody switched the context. Raises ConfigError, MissingProgram."""
    if kubeconfig is None and not context and _in_pod():
        return Place(IN_CLUSTER, "", namespace)
    chosen = kubeconfigs.choose(str(kubeconfig or ""), context, _REMEDY)
    return Place(chosen.files, chosen.context, namespace)


class Cluster:
    """HTTPRoutes through the official client. It connects when it is first asked."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._api: Any = None
        self._once = threading.Lock()

    def get(self, name: str) -> Json:
        return self._call("get", name)

    def patch(self, name: str, body: Json, dry_run: bool = False) -> Json:
        more = {"dry_run": "All"} if dry_run else {}
        return self._call(
            "patch",
            name,
            body=body,
            field_manager="huidu",
            field_validation="Strict",
            _content_type="application/merge-patch+json",
            **more,
        )

    def _call(self, verb: str, name: str, **more: Any) -> Json:
        api = self._connected()
        act = getattr(api, f"{verb}_namespaced_custom_object")
        try:
            answer = act(
                GROUP,
                API_VERSION,
                self._place.namespace,
                PLURAL,
                name,
                _request_timeout=(CONNECT_WITHIN, ANSWER_WITHIN),
                **more,
            )
        except urllib3.exceptions.HTTPError as error:
            raise ApiTrouble("unreachable", _silent(error), _START) from None
        except (OSError, library("config").ConfigException) as error:  # a token, a certificate
            raise ApiTrouble(
                "unreachable", f"the API server cannot be asked: {_why(error)}", _START
            ) from None
        except Unreachable as error:  # the login plugin
            raise ApiTrouble("unreachable", error.what, error.remedy) from None
        except library("client").ApiException as error:
            raise _trouble(error, verb, name, self._place) from None
        if not isinstance(answer, dict):
            raise ApiTrouble("refused", "the API server's answer is no object")
        return answer

    def _connected(self) -> Any:
        with self._once:
            if self._api is None:
                self._api = _api(self._place)
            return self._api


_START = "start it, or correct kubeconfig and context in the plan's route"


def _why(error: Exception) -> str:
    """Of a file (a token, a certificate): which one, and what is wrong with it."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _api(place: Place) -> Any:
    client, config = library("client"), library("config")
    try:
        if place.kubeconfig == IN_CLUSTER:
            configuration = client.Configuration()
            configuration.retries = False  # how often and for how long is decided by who asks
            config.load_incluster_config(client_configuration=configuration)
        else:
            configuration = kubeconfigs.configuration(Chosen(place.kubeconfig, place.context, ""))
    except Unreachable as error:
        raise ApiTrouble("unreachable", error.what, error.remedy) from None
    except ConfigError as error:
        raise ApiTrouble("refused", f"{place.kubeconfig}: {error.what}") from None
    except (config.ConfigException, OSError, ValueError) as error:
        raise ApiTrouble("refused", f"the pod's own account cannot be used: {_why(error)}") from None
    return client.CustomObjectsApi(client.ApiClient(configuration))


def _trouble(  # noqa: PLR0911 - one return a status
    error: Any, verb: str, name: str, place: Place
) -> ApiTrouble:
    """What an answer other than success means."""
    said = _said(error)
    what = f"{PLURAL}.{GROUP} in namespace {place.namespace}"
    match error.status:
        case 401:
            return ApiTrouble(
                "forbidden", "the API server does not know who asks (401)", "renew the credentials"
            )
        case 403:
            remedy = f"RBAC must allow get and patch on {what} to the account that huidu runs as"
            return ApiTrouble("forbidden", f"it is forbidden to {verb} {what}: {said}", remedy)
        case 404 if _status(error).get("reason") == "NotFound":
            return ApiTrouble("missing", f"there is no HTTPRoute {name!r} in namespace {place.namespace}")
        case 404:
            return ApiTrouble(
                "missing",
                f"the cluster does not know the kind HTTPRoute ({GROUP}/{API_VERSION})",
                "install the Gateway API's CRDs (1.4 or later)",
            )
        case 409:
            return ApiTrouble("conflict", "somebody else wrote it meanwhile (409)")
        case 0 | 429 | 500 | 502 | 503 | 504:
            return ApiTrouble("unreachable", f"the API server is not able to answer now: {said}", _START)
    return ApiTrouble("refused", f"the API server refuses it ({error.status}): {said}")


def _status(error: Any) -> Json:
    try:
        body = json.loads(error.body or "")
    except (TypeError, ValueError):
        return {}
    return body if isinstance(body, dict) else {}


def _said(error: Any) -> str:
    return str(_status(error).get("message") or error.reason or error.status).splitlines()[0]


def _silent(error: Exception) -> str:
    return f"the API server does not answer ({type(error).__name__})"


def _in_pod() -> bool:
    return Path("/var/run/secrets/kubernetes.io/serviceaccount/token").exists()
