"""What the pods of a run say of how it goes. Pure: pods as Kubernetes' API gives them, as plain mappings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from loadtests.runners.cluster_jobs import MASTER

Pod = Mapping[str, Any]
State = Literal["starting", "running", "there", "over"]
# Reasons that waiting longer does not mend.
_HOPELESS = {
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
}


def state(pods: Sequence[Pod]) -> State:
    """How far the master is: its result is `there`, or it is `over` without one."""
    for pod in pods:
        if _role(pod) != MASTER:
            continue
        if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            return "over"
        if _condition(pod, "Ready"):
            return "there"
        if any("running" in (each.get("state") or {}) for each in _containers(pod)):
            return "running"
    return "starting"


def hopeless(pods: Sequence[Pod]) -> str:
    """Why this run will never begin; "" where it may."""
    for pod in pods:
        for container in _containers(pod):
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") in _HOPELESS:
                said = f": {waiting['message']}" if waiting.get("message") else ""
                return f"{_name(pod)} does not start: {waiting['reason']}{said}"
    return ""


def lost(pods: Sequence[Pod]) -> str:
    """Which worker ended although the run goes on; "" where none did."""
    for pod in pods:
        if _role(pod) != MASTER and pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            return f"{_name(pod)} ended{_ending(pod)}"
    return ""


def ending(pods: Sequence[Pod]) -> str:
    """How the master ended."""
    masters = [pod for pod in pods if _role(pod) == MASTER]
    return f"{_name(masters[-1])} ended{_ending(masters[-1])}" if masters else "the master's pod is gone"


def waits_for(pods: Sequence[Pod], wanted: int) -> str:
    """Why it has not begun yet."""
    for pod in pods:
        for condition in pod.get("status", {}).get("conditions") or ():
            if (condition["type"], condition["status"]) == ("PodScheduled", "False"):
                return f"{_name(pod)} has no node: {condition.get('message') or condition.get('reason')}"
    waiting = [f"{_name(pod)} ({reason})" for pod in pods for reason in _reasons(pod)]
    here = f"{len(pods)} of {wanted} pods are there"
    return f"{here}; waiting: {', '.join(waiting)}" if waiting else here


def _reasons(pod: Pod) -> Iterator[str]:
    for container in _containers(pod):
        waiting = (container.get("state") or {}).get("waiting")
        if waiting:
            yield str(waiting.get("reason", "waiting"))


def _ending(pod: Pod) -> str:
    said = pod.get("status", {}).get("reason")
    for container in _containers(pod):
        ended = (container.get("state") or {}).get("terminated")
        if ended:
            return f" with exit code {ended.get('exitCode')} ({said or ended.get('reason', 'no reason')})"
    return f" ({said})" if said else ""


def _role(pod: Pod) -> str:
    return str(pod["metadata"].get("labels", {}).get("app.kubernetes.io/name", ""))


def _name(pod: Pod) -> str:
    return str(pod["metadata"]["name"])


def _containers(pod: Pod) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = pod.get("status", {}).get("containerStatuses") or ()
    return found


def _condition(pod: Pod, kind: str) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any((each["type"], each["status"]) == (kind, "True") for each in conditions)
