"""From a profile to a plan: requests become visits, users become rates, its address is found."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from huidu.foundation.errors import ConfigError, UsageError
from huidu.model.stack import Stack
from loadtests.channels import channel_plan
from loadtests.filling import check_filling, placeholders, read_rows
from loadtests.functional import functional_plan
from loadtests.journeys.catalogue import catalogue
from loadtests.plan import BIN_SECONDS, FEWEST_BATCHES, ChannelPlan, Plan, Tokens
from loadtests.profile import Connections, Data, Profile, Stop
from loadtests.recorded_rate import minutes_of as recorded_minutes

_MOST_IN_FLIGHT = 10_000


def looks(duration: float, extend: float) -> int:
    """How many times a run is judged at most: at its end, and after each extension, which doubles it."""
    return 1 + (math.ceil(math.log2(1 + extend / duration) - 1e-9) if extend > 0 else 0)


def check_host(host: str) -> str:
    """`host` as scheme://name[:port], nothing behind it. Raises UsageError."""
    text = host if "://" in host else f"http://{host}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"--host {host!r}: {error}", remedy="expected http://name:port") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"--host {host!r} is no address", remedy="expected http://name:port or https://name")
    if parts.path.strip("/") or parts.query or parts.username:
        raise UsageError(
            f"--host {host!r} has more than scheme, name and port",
            remedy="paths belong in the profile's journeys",
        )
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{name}" + (f":{port}" if port is not None else "")


def make_plan(
    profile: Profile,
    file: Path,
    *,
    host: str | None,
    stack: Stack | None,
    workers: int = 1,
    duration: float | None = None,
    endless: bool = False,
    journeys: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Plan:
    """The run `profile` (read from `file`) means against `host`, or against `stack`.

    `duration` overrides the profile's; `endless` has none; `journeys`: a Python file with more of them;
    `environment`: what placeholders are looked up in, None: not here. Raises ConfigError, UsageError.
    """
    if host is None and stack is None:
        raise UsageError(
            "there is nothing to offer load to",
            remedy="give --host http://name:port, or run `huidu stack up` first",
        )
    every = catalogue(journeys, environment)
    recorded = functools.partial(recorded_minutes, stack=stack.prometheus if stack else None)
    channels = tuple(
        channel_plan(name, each, profile, file, every, recorded) for name, each in profile.channels.items()
    )
    known = any(every[name].known for each in channels for name in each.journeys)
    if stack is None and not known:
        channels = tuple(each.model_copy(update={"anonymous": 1.0}) for each in channels)
    known = known or any(each.journeys and each.anonymous < 1 for each in channels)
    if known and stack is None:
        raise ConfigError(
            "its journeys need customers with tokens, and no stack stands here that has them",
            file=file,
            remedy="run `huidu stack up` first, or use `journey: {http: [...]}`",
        )
    window = None if endless else (duration or profile.duration)
    plan = Plan(
        profile=str(file),
        host=check_host(host if host is not None else stack.edge.url if stack else ""),
        channels=channels,
        offer=profile.offer,
        duration=window,
        planned=window,
        warmup=profile.warmup,
        bin=bin_seconds(window),
        timeout=profile.timeout,
        arrivals=profile.arrivals,
        limits=profile.limits,
        health=profile.health,
        population=profile.population,
        calibration=0.0 if endless else profile.calibration,
        extend=0.0 if window is None else profile.extend,
        looks=1 if window is None else looks(window, profile.extend),
        surge_asked=profile.surge,
        soak=profile.soak,
        stop=Stop(windows=0) if endless else profile.stop,
        tokens=_tokens(stack) if known and stack else None,
        suite=profile.suite,
        seed=profile.seed,
        workers=workers,
        in_flight=_in_flight(channels, profile.timeout, workers),
        headers=profile.headers,
        data=_data(profile, file),
        connections=_connections(profile, file),
        journeys_file=None if journeys is None else journeys.resolve(),
    )
    _check_filling(plan, file, environment)
    if profile.suite != "functional":
        return plan
    if endless or duration is not None:
        raise UsageError("a functional suite has no rates to go on at", remedy="`huidu load verify` runs it")
    return functional_plan(plan, every)


def _data(profile: Profile, file: Path) -> Data | None:
    if profile.data is None:
        return None
    return profile.data.model_copy(update={"csv": (file.parent / profile.data.csv).resolve()})


def _connections(profile: Profile, file: Path) -> Connections:
    ca = profile.connections.ca
    if ca is None:
        return profile.connections
    ca = (file.parent / ca).resolve()
    if not ca.is_file():
        raise ConfigError("there is no such file of certificates", file=ca)
    return profile.connections.model_copy(update={"ca": ca})


def _check_filling(plan: Plan, file: Path, environment: Mapping[str, str] | None) -> None:
    """Placeholders, and rows enough where none may come twice. Raises ConfigError."""
    rows = read_rows(plan.data.csv) if plan.data is not None else []
    visits = 0.0
    for channel in plan.channels:
        names = placeholders(channel.http, plan.headers)
        found = dict.fromkeys(names, "") if environment is None else environment
        check_filling(names, rows[0] if rows else None, found, file)
        if any(name.startswith("data.") for name in names):
            end = (plan.duration or math.inf) + plan.extend
            visits += plan.intensity(channel).between(-plan.warmup, end) + 2 * plan.workers
    if plan.data is not None and plan.data.once and visits > len(rows):
        raise ConfigError(
            f"has {len(rows)} rows, and about {visits:.0f} visits need one each",
            file=plan.data.csv,
            remedy="more rows, a shorter run, or without `once`",
        )


def with_workers(plan: Plan, workers: int) -> Plan:
    """The same run by another number of workers. Raises ConfigError where rows of test data are too few."""
    plan = with_channels(plan.model_copy(update={"workers": workers}), plan.channels, plan.offer)
    _check_filling(plan, Path(plan.profile), None)
    return plan


def scaled(plan: Plan, factor: float) -> Plan:
    """The same profile offered at `factor` times its peak."""
    channels = tuple(
        each.model_copy(update={"offered": each.peak * factor, "visits": each.peak * factor / each.steps})
        for each in plan.channels
    )
    return with_channels(plan, channels, factor)


def with_channels(plan: Plan, channels: tuple[ChannelPlan, ...], offer: float) -> Plan:
    """The run with other channels, and the room they need."""
    room = _in_flight(channels, plan.timeout, plan.workers)
    return plan.model_copy(update={"channels": channels, "offer": offer, "in_flight": room})


def _in_flight(channels: tuple[ChannelPlan, ...], timeout: float, workers: int) -> int:
    """Room for every visit that can be open when nothing answers at all, so that a hanging server shows as
    failures, not as visits that were never sent."""
    busiest = sum(each.visits * each.highest * each.longest for each in channels)
    return min(_MOST_IN_FLIGHT, math.ceil(busiest * timeout / workers * 1.2) + 50)


def bin_seconds(window: float | None) -> float:
    """The width of the bins of a window."""
    if window is None:
        return BIN_SECONDS[0]
    return next((each for each in BIN_SECONDS if each * FEWEST_BATCHES <= window), BIN_SECONDS[-1])


def _tokens(stack: Stack) -> Tokens:
    return Tokens(
        key_file=stack.tokens.key_file,
        issuer=stack.tokens.issuer,
        audience=stack.tokens.audience,
        count=stack.customers.count,
        high=stack.customers.high,
    )
