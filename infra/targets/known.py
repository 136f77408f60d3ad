"""The targets by name. Each is loaded when it is asked for: its packages need not be there before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from huidu.foundation.errors import MissingProgram, UsageError
from infra.desired import Desired
from infra.targets.protocol import RemoteTarget

EXTRA = "pip install 'huidu[kubernetes]'"


def _kubernetes(desired: Desired, settings: Path | None) -> RemoteTarget:
    from infra.targets.kubernetes.settings import load_settings
    from infra.targets.kubernetes.settings_check import check
    from infra.targets.kubernetes.target import KubernetesTarget

    chosen = load_settings(settings)
    check(desired, chosen, settings)
    return KubernetesTarget(desired, chosen)


def _alicloud(desired: Desired, settings: Path | None) -> RemoteTarget:
    from infra.targets.cloud.alicloud import AlicloudTarget
    from infra.targets.cloud.settings import load_cloud_settings

    return AlicloudTarget(desired, load_cloud_settings(settings))


MAKERS: Mapping[str, Callable[[Desired, Path | None], RemoteTarget]] = {
    "kubernetes": _kubernetes,
    "alicloud": _alicloud,
}
"""From what is wanted and a settings file to a target. The local one needs a `Site` and makes itself."""


def make(name: str, desired: Desired, settings: Path | None) -> RemoteTarget:
    """The target `name`. Raises ConfigError for wrong settings, MissingProgram for packages not there."""
    if name not in MAKERS:
        raise UsageError(f"no target {name!r} can be made this way", remedy=f"one of {', '.join(MAKERS)}")
    try:
        return MAKERS[name](desired, settings)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("pulumi_kubernetes", "pulumi_alicloud"):
            raise
        raise MissingProgram(
            f"the target {name} needs the Python package {error.name}", remedy=f"install it: {EXTRA}"
        ) from None
