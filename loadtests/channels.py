"""A channel of a profile made definite: requests become visits, users become rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from huidu.foundation.errors import ConfigError
from loadtests.journeys.catalogue import Journey
from loadtests.plan import ChannelPlan
from loadtests.profile import Channel, Profile
from loadtests.shape import Recorded, minutes_of, shape_of


def channel_plan(
    name: str,
    channel: Channel,
    profile: Profile,
    file: Path,
    catalogue: Mapping[str, Journey],
    recorded: Recorded,
) -> ChannelPlan:
    """Channel `name` of the profile read from `file`. `recorded`: asks Prometheus. Raises ConfigError."""
    if channel.peak is None and channel.users is None and profile.suite != "functional":
        raise ConfigError(
            f"channels.{name}: expected either `peak` (requests) or `users: {{peak, visit}}`",
            file=file,
            line=_line(file, name),
        )
    rate = channel.rate or profile.rate
    shape, minutes = shape_of(rate, file, recorded), minutes_of(rate, file, recorded)
    busiest = max(minutes) / 60 if minutes else None
    mix = _http(channel) if channel.journey is not None else _mix(name, channel, file, catalogue)
    peak = _peak(channel, mix.steps)
    offered = peak * profile.offer
    return ChannelPlan(
        name=name,
        peak=peak,
        users=channel.users,
        offered=offered,
        visits=offered / mix.steps,
        steps=mix.steps,
        longest=mix.longest,
        anonymous=mix.anonymous,
        think=channel.think,
        journeys=channel.journeys or {},
        http=channel.journey.http if channel.journey is not None else (),
        limits=channel.limits,
        journey_limits=channel.journey_limits,
        shape=shape,
        busiest=busiest,
    )


@dataclass(frozen=True, slots=True)
class _Visits:
    """What a channel's visits are: mean and largest number of requests, share without an account."""

    steps: float
    longest: int
    anonymous: float


def _http(channel: Channel) -> _Visits:
    number = len(channel.journey.http) if channel.journey is not None else 0
    return _Visits(number, number, 1.0)


def _mix(name: str, channel: Channel, file: Path, catalogue: Mapping[str, Journey]) -> _Visits:
    weights = channel.journeys or {}
    for unknown in [each for each in weights if each not in catalogue]:
        raise ConfigError(
            f"channels.{name}.journeys: unknown journey {unknown!r}",
            file=file,
            line=_line(file, unknown),
            expected=f"one of {', '.join(catalogue)}",
        )
    open_to_all = {each: weight for each, weight in weights.items() if not catalogue[each].known}
    if channel.anonymous > 0 and not open_to_all:
        raise ConfigError(
            f"channels.{name}: anonymous visitors, but every journey needs a customer",
            file=file,
            line=_line(file, name),
            expected="a journey anybody may make, or no `anonymous`",
        )
    known, anybody = _mean(weights, catalogue), _mean(open_to_all, catalogue)
    return _Visits(
        steps=(1 - channel.anonymous) * known + channel.anonymous * anybody,
        longest=max(catalogue[each].steps for each in weights),
        anonymous=channel.anonymous,
    )


def _peak(channel: Channel, steps: float) -> float:
    """Requests per second. Little's law: users at once = arrivals per second x length of a visit."""
    if channel.users is not None:
        return channel.users.peak / channel.users.visit * steps
    return channel.peak or 0.0  # a functional suite has no rates


def _mean(weights: Mapping[str, float], catalogue: Mapping[str, Journey]) -> float:
    total = sum(weights.values())
    return sum(weight * catalogue[name].steps for name, weight in weights.items()) / total if total else 0.0


def _line(file: Path, word: str) -> int | None:
    """The first line of the profile on which `word` stands as a key."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return next((number for number, line in enumerate(lines, 1) if f"{word}:" in line), None)
