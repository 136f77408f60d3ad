"""What a rollout makes of its proxies besides the weights it asked for. Pure.

A fleet that takes a move in part has a name, `partial`; weights that somebody else moved are `changed`; after
a way back the candidate is `draining` until its streams are over or were closed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from huidu.foundation.journal import Event
from rollout.routers.router import ProxyView, RouteView, Split, Streams

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Proxies:
    """`version`: the last confirmed one. `partial`: each proxy, while they do not all serve what was asked.

    `changed`: what somebody else made of the weights. `strange`: a version that nobody knows, already told.
    `adopting`: who asked to go on from there.
    `draining_at`: since when the candidate's streams are waited for (0: they were not counted); `open`: how
    many there were. `drained`: what became of them.
    """

    version: str = ""
    partial: tuple[Facts, ...] = ()
    changed: str = ""
    strange: str = ""
    adopting: str = ""
    draining_at: float = 0.0
    open: int = 0
    drained: Facts | None = None


def fold_proxies(known: Proxies, event: Event) -> Proxies:
    """`known` after `event`."""
    apply = _APPLY.get(event.kind)
    return apply(known, event) if apply is not None else known


def _partial(known: Proxies, event: Event) -> Proxies:
    return dataclasses.replace(known, partial=tuple(event.data["proxies"]))


def _confirmed(known: Proxies, event: Event) -> Proxies:
    version = str(event.data["version"])
    # With the next way back the candidate's streams are counted anew: only the shares before are over.
    return Proxies(version)


def _changed(known: Proxies, event: Event) -> Proxies:
    return dataclasses.replace(known, changed=str(event.data["sentence"]))


def _unchanged(known: Proxies, event: Event) -> Proxies:
    return dataclasses.replace(known, changed="", adopting="")


def _act(known: Proxies, event: Event) -> Proxies:
    if event.data["act"] != "adopt" or not event.data["accepted"]:
        return known
    return dataclasses.replace(known, adopting=str(event.data["by"]))


def _strange(known: Proxies, event: Event) -> Proxies:
    return dataclasses.replace(known, strange=str(event.data["version"]))


def _draining(known: Proxies, event: Event) -> Proxies:
    return dataclasses.replace(known, draining_at=event.t, open=int(event.data["open"]), drained=None)


def _drained(known: Proxies, event: Event) -> Proxies:
    return dataclasses.replace(known, drained=event.data)


_APPLY: Mapping[str, Callable[[Proxies, Event], Proxies]] = {
    "partial": _partial,
    "confirmed": _confirmed,
    "changed": _changed,
    "unchanged": _unchanged,
    "act": _act,
    "strange-version": _strange,
    "draining": _draining,
    "drained": _drained,
}


# a fleet that takes a move in part


def partly(view: RouteView, split: Split, before: Mapping[str, int]) -> tuple[dict[str, Any], ...]:
    """Each proxy, where some take `split` and others do not; nothing where all do or none does.

    `before`: the weights that were confirmed last; a silent proxy may still serve them.
    """
    found = tuple(_told(proxy, split, before) for proxy in view.proxies)
    return found if 0 < sum(each["takes"] for each in found) < len(found) else ()


def _told(proxy: ProxyView, split: Split, before: Mapping[str, int]) -> dict[str, Any]:
    served = proxy.served
    takes = served is not None and served.version == split.version and served.same_traffic(split)
    if takes:
        text = "serves it"
    elif served is not None:
        text = f"serves {percents(served.weights)}"
    else:
        how = "holds what no rollout writes" if proxy.foreign else "is silent"
        text = f"{how} and may serve {percents(before)} ({proxy.problem})"
    return {
        "proxy": proxy.name,
        "takes": takes,
        "weights": dict(served.weights) if served is not None else None,
        "said": text,
    }


def partly_sentence(proxies: Sequence[Facts]) -> str:
    """Which proxies serve what was asked, and which do not."""
    good = [each["proxy"] for each in proxies if each["takes"]]
    others = [f"{each['proxy']} {each['said']}" for each in proxies if not each["takes"]]
    return f"partial: {len(good)} of {len(proxies)} proxies serve it ({', '.join(good)}); {'; '.join(others)}"


def same_parts(one: Sequence[Facts], other: Sequence[Facts]) -> bool:
    """Whether they differ in nothing but words."""
    return [(e["proxy"], e["takes"], e["weights"]) for e in one] == [
        (e["proxy"], e["takes"], e["weights"]) for e in other
    ]


# moved by somebody else


def meddled(view: RouteView, expected: Split, salted: bool = True, asked: Split | None = None) -> str:
    """What proxies that answer serve, or have on file, instead of `expected`; "" for nothing.

    `salted`: the salt is the rollout's own, and must be (weights that were adopted bring their own). `asked`:
    what is being written just now, which some may serve already.
    """
    found = []
    for proxy in view.proxies:
        if proxy.foreign:
            found.append(f"{proxy.name} holds what no rollout writes ({proxy.problem})")
            continue
        for split, where in ((proxy.served, "serves"), (proxy.written, "has on file")):
            moving = split is not None and asked is not None and _alike(split, asked)
            if split is not None and not moving and not _alike(split, expected, salted):
                found.append(f"{proxy.name} {where} {_differs(split, expected)}")
                break
    if not found:
        return ""
    return f"{'; '.join(found)}, the journal knows {percents(expected.weights)}: somebody else changed it"


def _alike(split: Split, expected: Split, salted: bool = True) -> bool:
    """Where nobody is sent to the candidate it is all the same by which salt."""
    nobody = not any(expected.weights.values()) and not any(split.weights.values())
    return split.same_traffic(
        dataclasses.replace(expected, salt=split.salt) if nobody or not salted else expected
    )


def _differs(split: Split, expected: Split) -> str:
    text = percents(split.weights)
    if dict(split.weights) == dict(expected.weights) and split.salt != expected.salt:
        text += f" of other customers (salt {split.salt!r})"
    return f"{text}, version {split.version!r}"


def strangers(view: RouteView, known: str, expected: Split) -> str:
    """A version that `known` is not, on a proxy that serves the `expected` traffic all the same."""
    for proxy in view.proxies:
        served = proxy.served
        if known and served is not None and _alike(served, expected) and served.version not in ("", known):
            return served.version
    return ""


def widens(view: RouteView, expected: Mapping[str, int]) -> bool:
    """Whether giving back the `expected` weights lets more customers in anywhere, as far as can be known."""
    if any(proxy.foreign for proxy in view.proxies):
        return any(expected.values())
    served = [proxy.served for proxy in view.proxies if proxy.served is not None]
    return any(split.weights.get(cohort, 0) < expected[cohort] for split in served for cohort in expected)


# streams that are still open


def counted(streams: Sequence[Streams]) -> dict[str, Any]:
    """For the journal. `open` counts what the proxies that answer have; `silent` names the others."""
    return {
        "open": sum(each.requests for each in streams),
        "connections": sum(each.connections for each in streams),
        "proxies": {each.proxy: each.requests for each in streams if not each.problem},
        "silent": [each.proxy for each in streams if each.problem],
    }


def ended_with(sentence: str, drained: Facts | None) -> str:
    """`sentence`, and what became of the streams where there were any."""
    said = str(drained["sentence"]) if drained and (drained["before"] or drained["silent"]) else ""
    return f"{sentence}; {said}" if said else sentence


def percents(weights: Mapping[str, int]) -> str:
    """Weights for a person: "high 5 %, standard 0 %"."""
    return ", ".join(f"{cohort} {weight / 100:.4g} %" for cohort, weight in weights.items())
