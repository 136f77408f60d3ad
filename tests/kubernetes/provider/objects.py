"""Objects of a cluster as the small provider handles them: apply, read, delete, wait until they are good."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from kubernetes import config
from kubernetes.client import ApiClient, ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import ResourceNotFoundError

Document = dict[str, Any]
MANAGER = "pulumi-kubernetes"
_TIMEOUT = 30.0
_ROLLED = {"Deployment": "availableReplicas", "StatefulSet": "readyReplicas"}


class Refused(Exception):
    """What the API server said to a request, or that it is not to be reached; `status` 0 for the latter."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class NotGood(Exception):
    """The object stands, but is not (yet) what it should be; the reasons."""

    def __init__(self, stored: Document, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.stored = stored
        self.reasons = reasons


class Objects:
    """One cluster, by a kubeconfig (a path, its text, or nothing: the usual place) and a context."""

    def __init__(self, kubeconfig: str, context: str) -> None:
        self._client = DynamicClient(_client(kubeconfig, context or None))

    def apply(self, document: Document, *, only_try: bool = False) -> Document:
        """Server-side apply with strict validation; the object as the server has it. Raises Refused."""
        options: list[tuple[str, str]] = [("fieldValidation", "Strict")]
        more = {"dry_run": "All"} if only_try else {}
        return self._ask(
            document,
            "server_side_apply",
            body=document,
            field_manager=MANAGER,
            force_conflicts="true",
            query_params=options,
            **more,
        )

    def read(self, document: Document) -> Document | None:
        """The object as it is now, None where there is none. Raises Refused."""
        try:
            return self._ask(document, "get")
        except Refused as error:
            if error.status == 404:
                return None
            raise

    def delete(self, document: Document, seconds: float) -> None:
        """Delete, and wait until it is gone. Raises Refused, NotGood."""
        if self.read(document) is None:
            return
        self._ask(document, "delete", propagation_policy="Background")
        deadline = time.monotonic() + seconds
        while (live := self.read(document)) is not None:
            if time.monotonic() > deadline:
                held = live["metadata"].get("finalizers") or live.get("spec", {}).get("finalizers")
                raise NotGood(live, [f"still there after {seconds:.0f} s, held by {held}"])
            time.sleep(0.2)

    def wait_until_good(self, document: Document, seconds: float) -> Document:
        """The object as soon as `why_not_good` finds nothing. Raises NotGood after `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            live = self.read(document) or {}
            reasons = self.why_not_good(live)
            if not reasons:
                return live
            if time.monotonic() > deadline:
                raise NotGood(live, [*reasons, f"not good after {seconds:.0f} s"])
            time.sleep(0.2)

    def why_not_good(self, live: Document) -> list[str]:
        """Why a workload has not rolled out: counts, conditions, what its pods wait for. Others are good."""
        counted = _ROLLED.get(live.get("kind", ""))
        if counted is None:
            return [] if live else ["it is gone"]
        status, wanted = live.get("status") or {}, live["spec"].get("replicas", 1)
        seen = status.get("observedGeneration", 0) >= live["metadata"]["generation"]
        if seen and status.get("updatedReplicas", 0) == status.get(counted, 0) == wanted:
            return []
        conditions = [
            f"{each['reason']}: {each['message']}"
            for each in status.get("conditions") or ()
            if each["status"] == ("True" if each["type"] == "ReplicaFailure" else "False")
        ]
        return [f"{status.get(counted, 0)} of {wanted} replicas", *conditions, *self._waiting(live)]

    def _waiting(self, live: Document) -> list[str]:
        labels = live["spec"]["selector"]["matchLabels"]
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        pods = self._client.resources.get(api_version="v1", kind="Pod")
        found = pods.get(namespace=live["metadata"]["namespace"], label_selector=selector).to_dict()["items"]
        reasons = {
            f"container {each['name']}: {waits.get('reason')} {waits.get('message', '')}".strip()
            for pod in found
            for each in pod.get("status", {}).get("containerStatuses") or ()
            if (waits := each.get("state", {}).get("waiting"))
        }
        return sorted(reasons)

    def _ask(self, document: Mapping[str, Any], verb: str, **options: Any) -> Document:
        metadata = document["metadata"]
        try:
            kind = self._client.resources.get(api_version=document["apiVersion"], kind=document["kind"])
            answer = getattr(kind, verb)(
                name=metadata["name"],
                namespace=metadata.get("namespace", "default") if kind.namespaced else None,
                _request_timeout=_TIMEOUT,
                **options,
            )
        except ResourceNotFoundError:
            missing = f"no kind {document['kind']} in {document['apiVersion']}: is its operator installed?"
            raise Refused(404 if verb == "get" else 422, missing) from None
        except ApiException as error:
            raise Refused(int(error.status or 0), _message(error)) from None
        except OSError as error:
            raise Refused(0, f"the API server is not reached: {error}") from None
        found: Document = answer.to_dict()
        return found


def _client(kubeconfig: str, context: str | None) -> ApiClient:
    if "\n" in kubeconfig or kubeconfig.startswith("{"):
        return config.new_client_from_config_dict(yaml.safe_load(kubeconfig), context=context)
    path = str(Path(kubeconfig).expanduser()) if kubeconfig else None
    return config.new_client_from_config(path, context=context)


def _message(error: ApiException) -> str:
    try:
        return str(yaml.safe_load(error.body or "")["message"])
    except (yaml.YAMLError, TypeError, KeyError):
        return str(error.reason)


def stored(inputs: Any, live: Any) -> Any:
    """Of what the server has, that which was asked for: in the server's spelling ("1000m" is "1")."""
    if isinstance(inputs, dict) and isinstance(live, dict):
        return {key: stored(value, live.get(key)) for key, value in inputs.items()}
    if isinstance(inputs, list) and isinstance(live, list) and len(inputs) == len(live):
        return [stored(one, other) for one, other in zip(inputs, live, strict=True)]
    return live


def drifted(inputs: Any, then: Any, now: Any) -> Any:
    """The inputs, with the server's value wherever it is another one than it was when applied."""
    if then == now:
        return inputs
    if isinstance(inputs, dict) and isinstance(then, dict) and isinstance(now, dict):
        return {key: drifted(value, then.get(key), now.get(key)) for key, value in inputs.items()}
    return now
