"""What a test does with the control plane: apply documents, read them, be somebody else, stop the server.

Documents are plain dictionaries, as they stand in YAML. All that is applied is taken away by `sweep`.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import requests
from kubernetes import config as kubernetes_config
from kubernetes.client import ApiClient

from tests.kubernetes.control_plane import ControlPlane

Document = dict[str, Any]
Answer = TypeVar("Answer")
MANAGER = "huidu-tests"
_TIMEOUT = 30.0
_PATIENCE = 120.0  # A busy machine is slow; none of this takes 5 s on a free one.


class Refused(Exception):
    """The API server said no: `status` is HTTP's, `message` its own words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class Cluster:
    """The control plane as its administrator sees it, or, with `as_account`, as somebody else does."""

    def __init__(self, plane: ControlPlane, token: str = "", kubeconfig: Path | None = None) -> None:
        self.plane = plane
        self.kubeconfig = kubeconfig or plane.kubeconfig
        self._session = requests.Session()
        self._session.trust_env = False  # Loopback: never through a proxy.
        self._session.headers["Authorization"] = f"Bearer {token or plane.token}"
        self._session.verify = str(plane.certificate)
        self._kinds: dict[str, dict[str, tuple[str, bool]]] = {}
        self._applied: list[tuple[str, Document]] = []
        self._namespaces: list[str] = []

    # Documents

    def apply(self, document: Mapping[str, Any], manager: str = MANAGER, force: bool = True) -> Document:
        """Server-side apply, strictly: a field that the schema does not know is refused. Raises Refused."""
        path = self._path(document)
        options = {"fieldManager": manager, "fieldValidation": "Strict", "force": str(force).lower()}
        applied = self.ask("PATCH", path, document, "application/apply-patch+yaml", **options)
        self._applied.append((path, applied))
        return applied

    def read(self, api_version: str, kind: str, name: str, namespace: str = "") -> Document:
        """One object. Raises Refused (404 where it does not exist)."""
        metadata = {"name": name, "namespace": namespace}
        return self.ask("GET", self._path({"apiVersion": api_version, "kind": kind, "metadata": metadata}))

    def list(self, api_version: str, kind: str, namespace: str = "", selector: str = "") -> list[Document]:
        """All objects of a kind, in one namespace or in all of them."""
        plural, _ = self._kind(api_version, kind)
        place = f"namespaces/{namespace}/{plural}" if namespace else plural
        found: list[Document] = self.ask("GET", f"{_base(api_version)}/{place}", labelSelector=selector)[
            "items"
        ]
        return found

    def replace(self, document: Mapping[str, Any]) -> Document:
        """Put in the place of what stands: with metadata.resourceVersion, only of that version (else 409)."""
        return self.ask("PUT", self._path(document), document, fieldValidation="Strict")

    def delete(self, document: Mapping[str, Any]) -> None:
        """Raises Refused (404 where it does not exist)."""
        self.ask("DELETE", self._path(document), propagationPolicy="Background")

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        content: str = "application/json",
        **query: str,
    ) -> Document:
        """Any request, as JSON. Raises Refused, and requests.RequestException where the server is away."""
        answer = self._session.request(
            method,
            f"{self.plane.url}{path}",
            params=query,
            data=None if body is None else json.dumps(body),
            headers={"Content-Type": content},
            timeout=_TIMEOUT,
        )
        document: Document = answer.json()
        if not answer.ok:
            raise Refused(answer.status_code, str(document.get("message", document)))
        return document

    # Places and people

    def namespace(self, prefix: str = "test", labels: Mapping[str, str] | None = None) -> str:
        """A fresh namespace, gone after the test; pods may be made in it at once."""
        name = f"{prefix}-{secrets.token_hex(3)}"
        self._namespaces.append(name)
        metadata = {"name": name, "labels": dict(labels or {})}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        self.until(lambda: self.read("v1", "ServiceAccount", "default", name), what="the default account")
        return name

    def token_for(self, account: str, namespace: str, seconds: int = 3600) -> str:
        """A token of a service account, which is made where it does not exist."""
        metadata = {"name": account, "namespace": namespace}
        document = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
        try:
            self.read("v1", "ServiceAccount", account, namespace)
        except Refused:
            self.apply(document)
        wanted = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        answer = self.ask("POST", f"{self._path(document)}/token", wanted)
        return str(answer["status"]["token"])

    def kubeconfig_for(self, account: str, namespace: str) -> Path:
        """A kubeconfig of a service account."""
        path = self.plane.folder / f"kubeconfig-{namespace}-{account}-{secrets.token_hex(3)}"
        return self.plane.write_kubeconfig(path, self.token_for(account, namespace))

    def as_account(self, account: str, namespace: str) -> Cluster:
        """This cluster as a service account sees it."""
        return self.as_user_of(self.kubeconfig_for(account, namespace))

    def as_user_of(self, kubeconfig: Path) -> Cluster:
        """This cluster as the kubeconfig's user sees it."""
        token = json.loads(kubeconfig.read_text())["users"][0]["user"]["token"]
        return Cluster(self.plane, token, kubeconfig)

    def client(self) -> ApiClient:
        """The official client, by our kubeconfig."""
        return kubernetes_config.new_client_from_config(str(self.kubeconfig))

    # Waiting

    def until(
        self, check: Callable[[], Answer], seconds: float = _PATIENCE, what: str = "what is waited for"
    ) -> Answer:
        """The first answer of `check` that is true; a refusal or a server that is away counts as not yet.

        Raises AssertionError with the last answer.
        """
        deadline = time.monotonic() + seconds
        last: object = None
        while time.monotonic() < deadline:
            try:
                if answer := check():
                    return answer
                last = answer
            except (Refused, requests.RequestException) as error:
                last = error
            time.sleep(0.1)
        raise AssertionError(f"{what} did not come in {seconds:.0f} s: {last}")

    def rolled_out(
        self, name: str, namespace: str, kind: str = "Deployment", seconds: float = _PATIENCE
    ) -> Document:
        """Waits until every replica asked for is of the newest generation, ready and available."""

        def check() -> Document | None:
            document = self.read("apps/v1", kind, name, namespace)
            status, wanted = document.get("status", {}), document["spec"].get("replicas", 1)
            current = status.get("observedGeneration", 0) >= document["metadata"]["generation"]
            counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")]
            return document if current and counts == [wanted] * 3 else None

        return self.until(check, seconds, f"{kind} {name} rolled out")

    # The server goes away

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """The API server is silent: requests hang until their own time limit."""
        self.plane.pause()
        try:
            yield
        finally:
            self.plane.resume()

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """The API server is gone: connections are refused, watches break off. Afterwards all is as it was."""
        self.plane.stop_server()
        try:
            yield
        finally:
            self.plane.start_server()

    def pause(self) -> None:
        self.plane.pause()

    def resume(self) -> None:
        self.plane.resume()

    # Afterwards

    def sweep(self) -> None:
        """Take away what was applied; waits for namespaces with a name that may be wanted again."""
        self.plane.start_server()
        fresh = set(self._namespaces)
        awaited = []
        for path, document in reversed(self._applied):
            metadata = document["metadata"]
            if metadata.get("namespace") in fresh:
                continue  # It goes with its namespace.
            with contextlib.suppress(Refused):
                self.ask("DELETE", path, propagationPolicy="Background")
                if document["kind"] == "Namespace" and metadata["name"] not in fresh:
                    awaited.append(metadata["name"])
        for name in awaited:
            self.until(lambda name=name: self.is_gone(name), what=f"the end of namespace {name}")
        self._applied.clear()
        self._namespaces.clear()

    def is_gone(self, namespace: str) -> bool:
        """Whether a namespace is no more (it takes its time)."""
        try:
            self.read("v1", "Namespace", namespace)
        except Refused as error:
            return error.status == 404
        return False

    # Paths

    def _path(self, document: Mapping[str, Any]) -> str:
        plural, namespaced = self._kind(document["apiVersion"], document["kind"])
        metadata = document["metadata"]
        place = f"namespaces/{metadata.get('namespace') or 'default'}/" if namespaced else ""
        return f"{_base(document['apiVersion'])}/{place}{plural}/{metadata['name']}"

    def _kind(self, api_version: str, kind: str) -> tuple[str, bool]:
        """The plural of a kind and whether it lives in namespaces, from the server's own list."""
        if kind not in self._kinds.get(api_version, {}):
            listed = self.ask("GET", _base(api_version))["resources"]
            self._kinds[api_version] = {
                each["kind"]: (each["name"], each["namespaced"]) for each in listed if "/" not in each["name"]
            }
        if kind not in self._kinds[api_version]:
            raise Refused(404, f"no kind {kind} in {api_version}")
        return self._kinds[api_version][kind]


def _base(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def install(cluster: Cluster, definitions: tuple[Document, ...]) -> None:
    """Custom resource definitions, four at a time, and wait until each is established."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    left = list(definitions)
    failed: list[Exception] = []

    def work() -> None:
        with contextlib.suppress(IndexError):
            while not failed:
                document = left.pop()
                try:
                    cluster.ask("POST", path, document)
                except (Refused, requests.RequestException) as error:
                    failed.append(error)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    if failed:
        raise failed[0]
    names = {document["metadata"]["name"] for document in definitions}
    cluster.until(lambda: names <= _established(cluster), what="every definition established")


def _established(cluster: Cluster) -> set[str]:
    return {
        each["metadata"]["name"]
        for each in cluster.list("apiextensions.k8s.io/v1", "CustomResourceDefinition")
        for condition in each.get("status", {}).get("conditions") or ()
        if (condition["type"], condition["status"]) == ("Established", "True")
    }
