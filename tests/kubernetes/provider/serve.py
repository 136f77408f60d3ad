"""A small provider for Pulumi's engine, for tests: where Pulumi's own Kubernetes provider is not to be had.

    python serve.py ENGINE_PID

The engine, the program and the API server are real; between them this speaks the engine's protocol and
applies each `kubernetes:*` resource by server-side apply. Otherwise than Pulumi's own provider it names
nothing by itself, knows no Helm, Kustomize or YAML resources, and waits for nothing but Deployments and
StatefulSets.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from concurrent import futures
from typing import Any

import grpc
from google.protobuf import any_pb2, empty_pb2, json_format, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from tests.kubernetes.provider.objects import Document, NotGood, Objects, Refused, drifted, stored

_PATIENCE = 120.0
_LARGEST = 400 * 1024 * 1024


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """The engine's questions about resources of one cluster. An answer that fails tells why in words."""

    objects: Objects

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version="0.0.1")

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        same = _plain(request.olds) == _plain(request.news)
        return provider_pb2.DiffResponse(changes=_changes(not same))

    def Configure(self, request: Any, context: Any) -> Any:
        given = _plain(request.args)
        try:
            self.objects = Objects(given.get("kubeconfig", ""), given.get("context", ""))
        except Exception as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the cluster cannot be used: {error}")
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    def Check(self, request: Any, context: Any) -> Any:
        failures = []
        if not _plain(request.news).get("metadata", {}).get("name"):
            failures = [provider_pb2.CheckFailure(property="metadata.name", reason="must be given")]
        return provider_pb2.CheckResponse(inputs=request.news, failures=failures)

    def Diff(self, request: Any, context: Any) -> Any:
        old, new = _plain(request.old_inputs) or _plain(request.olds), _plain(request.news)
        paths = _differing(old, new)
        replaces = [path for path in paths if path in ("metadata.name", "metadata.namespace")]
        if paths and not replaces:
            try:
                self.objects.apply(new, only_try=True)
            except Refused as error:
                if "immutable" in str(error):
                    replaces = paths
        detailed = {path: provider_pb2.PropertyDiff(kind="UPDATE", inputDiff=True) for path in paths}
        return provider_pb2.DiffResponse(
            changes=_changes(bool(paths)),
            diffs=paths,
            detailedDiff=detailed,
            hasDetailedDiff=True,
            replaces=replaces,
            deleteBeforeReplace=bool(replaces),
        )

    def Create(self, request: Any, context: Any) -> Any:
        inputs = _plain(request.properties)
        if request.preview:
            return provider_pb2.CreateResponse(properties=request.properties)
        properties = self._bring(inputs, request.timeout, context)
        return provider_pb2.CreateResponse(id=_id(inputs), properties=_struct(properties))

    def Update(self, request: Any, context: Any) -> Any:
        if request.preview:
            return provider_pb2.UpdateResponse(properties=request.news)
        properties = self._bring(_plain(request.news), request.timeout, context)
        return provider_pb2.UpdateResponse(properties=_struct(properties))

    def Read(self, request: Any, context: Any) -> Any:
        then, inputs = _plain(request.properties), _plain(request.inputs)
        try:
            live = self.objects.read(inputs or then)
            if live is None:
                return provider_pb2.ReadResponse()
            now = stored(inputs, live)
            inputs = drifted(inputs, then, now)
            if reasons := self.objects.why_not_good(live):
                _half(context, inputs, now, reasons)
        except Refused as error:
            context.abort(grpc.StatusCode.UNKNOWN, f"{_id(inputs or then)}: {error}")
        return provider_pb2.ReadResponse(id=request.id, properties=_struct(now), inputs=_struct(inputs))

    def Delete(self, request: Any, context: Any) -> Any:
        document = _plain(request.properties)
        try:
            self.objects.delete(document, request.timeout or _PATIENCE)
        except (Refused, NotGood) as error:
            context.abort(grpc.StatusCode.UNKNOWN, f"{_id(document)}: {error}")
        return empty_pb2.Empty()

    def Cancel(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def _bring(self, inputs: Document, seconds: float, context: Any) -> Document:
        try:
            now: Document = stored(inputs, self.objects.apply(inputs))
            self.objects.wait_until_good(inputs, seconds or _PATIENCE)
        except Refused as error:
            context.abort(grpc.StatusCode.UNKNOWN, f"{_id(inputs)}: {error}")
        except NotGood as error:
            _half(context, inputs, now, error.reasons)
        return now


def _half(context: Any, inputs: Document, now: Document, reasons: list[str]) -> None:
    """Tell the engine that the object stands but is not good: it keeps it, and tries again next time."""
    detail = any_pb2.Any()
    detail.Pack(
        provider_pb2.ErrorResourceInitFailed(
            id=_id(inputs), properties=_struct(now), inputs=_struct(inputs), reasons=reasons
        )
    )
    text = f"{_id(inputs)}: {'; '.join(reasons)}"
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=text, details=[detail])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(grpc.StatusCode.UNKNOWN, text)


def _id(document: Document) -> str:
    metadata = document.get("metadata", {})
    place = f"{metadata['namespace']}/" if "namespace" in metadata else ""
    return f"{document.get('kind')} {place}{metadata.get('name')}"


def _changes(some: bool) -> Any:
    return provider_pb2.DiffResponse.DIFF_SOME if some else provider_pb2.DiffResponse.DIFF_NONE


def _differing(old: Any, new: Any, path: str = "") -> list[str]:
    """Paths of what differs, down to lists."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [
            each
            for key in keys
            for each in _differing(old.get(key), new.get(key), f"{path}.{key}".strip("."))
        ]
    return [] if old == new else [path]


def _plain(message: Any) -> Document:
    return _whole(json_format.MessageToDict(message))


def _struct(document: Document) -> Any:
    return json_format.ParseDict(document, struct_pb2.Struct())


def _whole(value: Any) -> Any:
    """Pulumi's wire knows floats only."""
    if isinstance(value, dict):
        return {key: _whole(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _end_with(engine: int) -> None:
    while os.getppid() == engine:
        time.sleep(0.5)
    os._exit(1)


def main() -> None:
    """Serve until the engine is gone; the port goes to standard output, as the engine expects."""
    threading.Thread(target=_end_with, args=(int(sys.argv[1]),), daemon=True).start()
    options = [("grpc.max_receive_message_length", _LARGEST), ("grpc.max_send_message_length", _LARGEST)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16), options=options)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
