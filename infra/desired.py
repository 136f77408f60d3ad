"""What a stack should be: its topology and its arms' releases. Written before anything is done about it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from huidu.foundation.errors import StateError, UsageError
from huidu.foundation.workspace import write_atomic
from infra.topology import Arm, Topology

RELEASE = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,38}[A-Za-z0-9])?$"
"""A version is an image's tag and a label's value, which ends as it begins."""


class Release(BaseModel):
    """A version that runs in an arm, and the defects switched on in it for a demonstration.

    `begun`: when processes that must be equally new were asked for; another value starts them anew.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str = Field(pattern=RELEASE)
    defects: tuple[str, ...] = ()
    begun: str = ""


def release_of(version: str, defects: tuple[str, ...] = (), begun: str = "") -> Release:
    """A release. Raises UsageError for an impossible version."""
    try:
        return Release(version=version, defects=defects, begun=begun)
    except ValidationError:
        raise UsageError(
            f"{version!r} is no version",
            remedy="letters, digits, dots, dashes and underscores, at most 40; no sign at either end",
        ) from None


class Desired(BaseModel):
    """The state that `up` brings about. `baseline`: the stable version also runs in a process as new as the
    candidate's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    topology: Topology
    stable: Release
    candidate: Release | None = None
    baseline: bool = False
    created: str

    def release(self, arm: Arm) -> Release | None:
        """What runs in an arm."""
        if arm == "baseline":
            if not self.baseline or self.candidate is None:
                return None
            return self.stable.model_copy(update={"begun": self.candidate.begun})
        return self.stable if arm == "stable" else self.candidate

    def standing(self) -> tuple[str, ...]:
        """Names of the components that should stand, in order of start."""
        return self.topology.standing(self.candidate is not None, self.release("baseline") is not None)

    def with_candidate(self, version: str, defects: tuple[str, ...], beside: str = "") -> Desired:
        """The same with this candidate beside stable. Raises UsageError for an impossible version.

        `beside`: the time, where a baseline is to start together with it; both are started anew then.
        """
        release = release_of(version, defects, beside)
        if release.version == self.stable.version and release.defects == self.stable.defects:
            raise UsageError(
                f"{version} is what the stable arm runs already", remedy="release another version"
            )
        if beside and all(each.arm != "baseline" for each in self.topology.components.values()):
            raise UsageError(
                f"the topology {self.topology.name!r} has no component for a baseline",
                remedy="give it one of the kind touchpoints with `arm: baseline`, or release without one",
            )
        return self.model_copy(update={"candidate": release, "baseline": bool(beside)})

    def promoted(self) -> Desired:
        """The stable arm runs what the candidate runs; the candidate stays until it is stopped."""
        if self.candidate is None:
            raise UsageError(
                "there is no candidate to promote", remedy="start one: huidu stack release VERSION"
            )
        return self.model_copy(update={"stable": self.candidate, "baseline": False})

    def without_candidate(self) -> Desired:
        """The stable release alone."""
        return self.model_copy(update={"candidate": None, "baseline": False})

    @classmethod
    def read(cls, path: Path, anew: str = "`huidu stack down`, then `up`") -> Desired | None:
        """What was last wanted, or None where no stack was. Raises StateError where it is not understood.

        `anew`: for people, how they get another one.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(
                f"cannot be read: {error.strerror}",
                where=str(path),
                remedy="set HUIDU_HOME to the stack's folder, or to a new one",
            ) from None
        except ValidationError as error:
            raise StateError(
                f"not understood: {error.errors()[0]['msg']}",
                where=str(path),
                remedy=f"it is damaged or from another version: {anew}",
            ) from None

    def write(self, path: Path) -> None:
        """Write atomically."""
        write_atomic(path, self.model_dump_json(indent=1) + "\n")
