"""One cluster as its API server tells it: is it there, what does it know, what may we do. It only looks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import urllib3

from huidu.foundation import kubeconfig as kubeconfigs
from huidu.foundation.errors import Unreachable, UsageError

_CONNECT, _ANSWER = 5.0, 10.0
"""Seconds until a connection stands, and between two bytes of an answer."""
_REMEDY = "name it in the settings: kubeconfig: FILE, zones: {ZONE: {context: ...}}"
_NAMES_OF_ALL = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_NAMES_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind the API server knows."""

    group: str
    plural: str


class Cluster:
    """The cluster of a kubeconfig's context; empty ones are kubectl's defaults.

    Raises ConfigError, MissingProgram, Unreachable.
    """

    def __init__(self, kubeconfig: str, context: str) -> None:
        chosen = kubeconfigs.choose(kubeconfig, context, _REMEDY)
        self.name, self.user = chosen.context, chosen.user
        configuration, client = kubeconfigs.configuration(chosen), kubeconfigs.library("client")
        self._errors = client.ApiException
        self._host = configuration.host
        self._client: Any = client.ApiClient(configuration)
        self._known: dict[str, dict[str, str]] = {}

    def reachable(self) -> None:
        """It answers and knows who we are. Raises Unreachable, UsageError."""
        self._ask("GET", "/api/v1")

    def kind(self, api: str, kind: str) -> Kind | None:
        """The kind `kind` of an API version, or None where the cluster does not know it."""
        if api not in self._known:
            path = f"/apis/{api}" if "/" in api else f"/api/{api}"
            answer = self._ask("GET", path, none_is_fine=True) or {}
            listed = [each for each in answer.get("resources", ()) if "/" not in each["name"]]
            self._known[api] = {each["kind"]: each["name"] for each in listed}
        plural = self._known[api].get(kind)
        return Kind(api.rpartition("/")[0], plural) if plural else None

    def may(self, verb: str, kind: Kind, namespace: str) -> bool:
        """Whether this account may do that there."""
        attributes = {"verb": verb, "group": kind.group, "resource": kind.plural, "namespace": namespace}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = self._ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
        return bool((answer or {}).get("status", {}).get("allowed"))

    def names(self, api: str, plural: str) -> frozenset[str]:
        """The names of what there is of a kind without namespaces."""
        answer = self._ask("GET", f"/apis/{api}/{plural}", accept=_NAMES_OF_ALL)
        return frozenset(str(each["metadata"]["name"]) for each in answer["items"] or ())

    def namespace(self, name: str) -> bool:
        """Whether there is such a namespace."""
        return self._ask("GET", f"/api/v1/namespaces/{name}", none_is_fine=True) is not None

    def version(self, kind: str, namespace: str, name: str) -> str | None:
        """The version of a Secret or ConfigMap, None where it is not there; its content is not asked for."""
        plural = {"Secret": "secrets", "ConfigMap": "configmaps"}[kind]
        path = f"/api/v1/namespaces/{namespace}/{plural}/{name}"
        found = self._ask("GET", path, accept=_NAMES_ONLY, none_is_fine=True)
        return None if found is None else str(found["metadata"]["resourceVersion"])

    def read(self, api: str, plural: str, namespace: str, name: str) -> dict[str, Any] | None:
        """One object of a group's kind, or None where it, or its kind, is not there."""
        path = f"/apis/{api}/namespaces/{namespace}/{plural}/{name}"
        found: dict[str, Any] | None = self._ask("GET", path, none_is_fine=True)
        return found

    def _ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        accept: str = "application/json",
        none_is_fine: bool = False,
    ) -> Any:
        headers = {"Accept": accept, "Content-Type": "application/json"}
        self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        try:
            answer = self._client.rest_client.request(
                *(method, f"{self._host}{path}"),
                headers=headers,
                body=body,
                _request_timeout=(_CONNECT, _ANSWER),
            )
            text, status = answer.read(), int(answer.status)
        except (urllib3.exceptions.HTTPError, self._errors, OSError) as error:
            raise Unreachable(
                f"the API server cannot be reached: {_short(error)}",
                where=self.name,
                remedy="nothing was changed; check the cluster, the network and the context",
            ) from None
        if status == HTTPStatus.NOT_FOUND and none_is_fine:
            return None
        if status == HTTPStatus.UNAUTHORIZED:
            raise UsageError(
                "the API server does not know us", where=self.name, remedy="check the context's user"
            )
        if status == HTTPStatus.FORBIDDEN:
            raise UsageError(
                _message(text) or f"{self.user} may not {method.lower()} {path}",
                where=self.name,
                remedy="use an account that may, or have the right given to it",
            )
        if status >= HTTPStatus.BAD_REQUEST:
            said = _message(text)
            raise UsageError(
                f"the API server answers {status} to {path}{f': {said}' if said else ''}", where=self.name
            )
        return json.loads(text)


def _message(text: bytes | str) -> str:
    """What the API server says in a refusal; "" where it says nothing that is understood."""
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return ""


def _short(error: Exception) -> str:
    cause = getattr(error, "reason", None) or error
    return str(cause).rpartition(": ")[2] or type(cause).__name__
