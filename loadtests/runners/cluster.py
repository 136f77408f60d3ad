"""The namespace of a cluster in which runs happen: start one, follow it, fetch its folder, leave nothing."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import urllib3

from huidu.foundation import kubeconfig
from huidu.foundation.errors import HuiduError, Unreachable, UsageError
from huidu.foundation.terminal import Terminal
from huidu.model.stack import Generators
from loadtests.runners import cluster_jobs, cluster_state
from loadtests.runners.cluster_jobs import MASTER, RUN, Wanted
from loadtests.wording import counted

START_SECONDS = 300.0
"""Until when all pods must run: images are pulled, nodes may have to be made."""
_CLEAN_SECONDS = 60.0
_LOOK_SECONDS = 1.0
_CALL_SECONDS = 20.0
_FETCH_SECONDS = 300.0
_REMEDY = "stack.json names both under `generators`, as `huidu stack up --target kubernetes` found them"


class NoEvidence(Exception):
    """Why the run proves nothing."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: until everything must run, between two looks."""

    start: float = START_SECONDS
    look: float = _LOOK_SECONDS


class Cluster:
    """The namespace in which runs happen, by the official client.

    Raises MissingProgram, ConfigError, Unreachable.
    """

    def __init__(self, where: Generators) -> None:
        client = kubeconfig.library("client")
        self._where = where
        self._stream = kubeconfig.library("stream").stream
        chosen = kubeconfig.choose(where.kubeconfig, where.context, _REMEDY)
        configuration = kubeconfig.configuration(chosen)
        configuration.retries = urllib3.Retry(total=1)
        made, talking = client.ApiClient(configuration), client.ApiClient(configuration)
        self._plain = made.sanitize_for_serialization
        self._core, self._batch = client.CoreV1Api(made), client.BatchV1Api(made)
        self._refused = client.ApiException
        # A client for exec alone: it is changed while the stream is open.
        self._exec = client.CoreV1Api(talking)
        self._gone = urllib3.exceptions.HTTPError

    @contextmanager
    def run(self, wanted: Wanted, texts: Mapping[str, str], say: Callable[[str], None]) -> Iterator[None]:
        """Everything of the run stands; afterwards nothing of it does."""
        where, begun = self._where, False
        try:
            job = cluster_jobs.master(where, wanted)
            # The master waits for what is its own: so nothing is left where it is gone.
            owner = self._make("jobs", self._batch.create_namespaced_job, job)
            begun = True
            token = secrets.token_urlsafe(32)
            for kind, create, manifest in (
                (
                    "configmaps",
                    self._core.create_namespaced_config_map,
                    cluster_jobs.files(where, wanted, owner, texts),
                ),
                (
                    "secrets",
                    self._core.create_namespaced_secret,
                    cluster_jobs.secret(where, wanted, owner, token),
                ),
                (
                    "services",
                    self._core.create_namespaced_service,
                    cluster_jobs.service(where, wanted, owner),
                ),
                ("jobs", self._batch.create_namespaced_job, cluster_jobs.workers(where, wanted, owner)),
            ):
                self._make(kind, create, manifest)
            say(f"  {wanted.name}: a master and {counted(wanted.workers, 'worker')} in {where.namespace}")
            yield
        finally:
            if begun:
                self._clean(wanted, say)

    def follow(self, wanted: Wanted, timing: Timing, terminal: Terminal) -> None:
        """Until the master's result can be fetched. Raises NoEvidence where there will be none."""
        begun, started, said = time.monotonic(), False, ""
        while True:
            pods = self._pods(wanted)
            gone, state = time.monotonic() - begun, cluster_state.state(pods)
            if why := cluster_state.hopeless(pods):
                raise NoEvidence(why)
            if state == "there":
                return
            if state == "over":
                words = self._last_words(wanted)
                raise NoEvidence(f"{cluster_state.ending(pods)} without a result{words}")
            started = started or state == "running"
            if not started and gone > timing.start:
                why = self._events(wanted) or cluster_state.waits_for(pods, wanted.workers + 1)
                raise NoEvidence(f"it did not begin within {timing.start:g} s: {why}")
            if gone > wanted.seconds:
                raise NoEvidence(f"it did not end within {wanted.seconds:.0f} s")
            if (left := cluster_state.lost(pods)) and left != said:
                said = left
                terminal.say(f"  {left}: the run will be no evidence", "yellow")
            waits = "" if started else f": {cluster_state.waits_for(pods, wanted.workers + 1)}"
            terminal.progress(f"{wanted.name}: {state} for {gone:.0f} s{waits}")
            time.sleep(timing.look)

    def fetch(self, wanted: Wanted) -> str:
        """The master's folder, packed. Raises NoEvidence."""
        pod = next((each["metadata"]["name"] for each in self._pods(wanted) if _is_master(each)), None)
        try:
            return str(
                self._stream(
                    self._exec.connect_get_namespaced_pod_exec,
                    pod,
                    self._where.namespace,
                    container="master",
                    command=["python", "-m", "loadtests.runners.inside", "--pack"],
                    stdin=False,
                    stdout=True,
                    stderr=False,
                    tty=False,
                    _request_timeout=_FETCH_SECONDS,
                )
            )
        except (self._refused, OSError, self._gone) as error:
            reason = str(getattr(error, "reason", None) or error).splitlines()[0]
            raise NoEvidence(f"the recording could not be fetched from {pod}: {reason}") from None

    def _clean(self, wanted: Wanted, say: Callable[[str], None]) -> None:
        """Delete the Jobs (the rest goes with the master's), and wait until their pods are gone."""
        failed = ""
        for role in (cluster_jobs.WORKER, MASTER):
            try:
                self._batch.delete_namespaced_job(
                    f"{wanted.name}-{role}",
                    self._where.namespace,
                    propagation_policy="Background",
                    _request_timeout=_CALL_SECONDS,
                )
            except self._refused as error:
                failed = failed or ("" if error.status == 404 else f"{error.status} {error.reason}")
            except (self._gone, OSError) as error:
                failed = failed or str(error)
        end = time.monotonic() + _CLEAN_SECONDS
        with suppress(HuiduError):
            while not failed and self._pods(wanted) and time.monotonic() < end:
                time.sleep(0.5)
        if failed:
            say(
                f"  {wanted.name} could not be deleted ({failed}); the cluster ends it by itself, or:"
                f" kubectl -n {self._where.namespace} delete jobs -l {RUN}={wanted.name}"
            )

    def _make(self, kind: str, create: Callable[..., Any], manifest: Mapping[str, Any]) -> str:
        made = self._ask(
            f"create {kind}",
            lambda: create(
                self._where.namespace, manifest, field_validation="Strict", _request_timeout=_CALL_SECONDS
            ),
        )
        return str(made.metadata.uid)

    def _pods(self, wanted: Wanted) -> list[dict[str, Any]]:
        found = self._ask(
            "list pods",
            lambda: self._core.list_namespaced_pod(
                self._where.namespace,
                label_selector=f"{RUN}={wanted.name}",
                _request_timeout=_CALL_SECONDS,
            ),
        )
        pods: list[dict[str, Any]] = [self._plain(each) for each in found.items]
        return pods

    def _events(self, wanted: Wanted) -> str:
        """Why no pod was made (a quota, a policy), in the cluster's own words."""
        with suppress(HuiduError):
            found = self._ask(
                "list events",
                lambda: self._core.list_namespaced_event(
                    self._where.namespace,
                    field_selector="reason=FailedCreate",
                    _request_timeout=_CALL_SECONDS,
                ),
            )
            mine = [each for each in found.items if each.involved_object.name.startswith(wanted.name)]
            if mine:
                return str(mine[-1].message)
        return ""

    def _last_words(self, wanted: Wanted) -> str:
        pod = next((each["metadata"]["name"] for each in self._pods(wanted) if _is_master(each)), "")
        with suppress(self._refused, self._gone, OSError):
            text = self._core.read_namespaced_pod_log(
                pod, self._where.namespace, tail_lines=3, _request_timeout=_CALL_SECONDS
            )
            return f": {' | '.join(text.split(chr(10))).strip(' |')[-300:]}"
        return ""

    def _ask(self, what: str, call: Callable[[], Any]) -> Any:
        """Raises UsageError for what is refused, Unreachable where nobody answers."""
        try:
            return call()
        except self._refused as error:
            if error.status and 400 <= error.status < 500:
                raise UsageError(
                    f"the cluster refuses to {what} ({error.status} {error.reason}): {_message(error)}",
                    where=f"namespace {self._where.namespace}",
                    remedy="see docs/load-distributed.md: what starting a run needs (the Role load-starter)",
                ) from None
            raise Unreachable(f"the API server: {error.status} {error.reason}") from None
        except (self._gone, OSError) as error:
            reason = str(getattr(error, "reason", None) or error)
            raise Unreachable(
                f"the API server does not answer: {reason}", remedy="check the context"
            ) from None


def _is_master(pod: Mapping[str, Any]) -> bool:
    return bool(pod["metadata"]["labels"].get("app.kubernetes.io/name") == MASTER)


def _message(error: Any) -> str:
    """The API server's own sentence."""
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.body or "")[:300]
