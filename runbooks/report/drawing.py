"""The drawing of the stack, computed from stack.json: zones as columns, or one under the other (narrow).

The order is the way of a request: how many links a component is away from the edge. Pure geometry.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from huidu.model.stack import Component, Link, Stack

WATCHING = "monitoring"
"""The zone that looks at all the others; it is drawn beneath them, without a line to each."""

_BOX_W, _BOX_H, _GAP_Y, _PAD, _HEAD = 104, 60, 16, 14, 30
_STABLE, _CANDIDATE = "-stable", "-candidate"


@dataclass(frozen=True, slots=True)
class Box:
    """A component: its place, the lines of its name, and whether it only stands during a release."""

    x: float
    y: float
    w: float
    h: float
    lines: tuple[str, ...]
    version: str
    about: str
    style: str

    @property
    def middle(self) -> float:
        return self.x + self.w / 2


@dataclass(frozen=True, slots=True)
class Area:
    """A zone."""

    x: float
    y: float
    w: float
    h: float
    zone: str


@dataclass(frozen=True, slots=True)
class Arrow:
    """A link; `label` says what goes over it."""

    path: str
    label: str
    style: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is drawn on a sheet of `w` x `h`. `watched`: the components the monitoring zone looks at."""

    w: float
    h: float
    areas: tuple[Area, ...]
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    entry: tuple[float, float]
    watched: tuple[str, ...]


def with_candidates(stack: Stack) -> tuple[tuple[Component, ...], tuple[Link, ...]]:
    """The stack's components and links, and a candidate for each stable arm even when none runs now."""
    names = {component.name for component in stack.components}
    components, links = list(stack.components), list(stack.links)
    for component in stack.components:
        twin = component.name.removesuffix(_STABLE) + _CANDIDATE
        if component.name.endswith(_STABLE) and twin not in names:
            about = "stands beside stable while a release is judged"
            ghost = component.model_copy(update={"name": twin, "version": "", "about": about})
            components.insert(components.index(component) + 1, ghost)
            links += [
                link.model_copy(
                    update={
                        "source": twin if link.source == component.name else link.source,
                        "target": twin if link.target == component.name else link.target,
                    }
                )
                for link in stack.links
                if component.name in (link.source, link.target)
            ]
    return tuple(components), tuple(links)


def ranks(components: tuple[Component, ...], links: tuple[Link, ...]) -> dict[str, int]:
    """How many links each component is away from the entry; those it does not reach stand at the end."""
    seen = [component for component in components if component.zone != WATCHING]
    names = {component.name for component in seen}
    beside: dict[str, list[str]] = {name: [] for name in names}
    for link in links:
        if link.source in names and link.target in names:
            beside[link.source].append(link.target)
            beside[link.target].append(link.source)
    if not seen:
        return {}
    entry = next((each.name for each in seen if each.name == "edge"), seen[0].name)
    rank, queue = {entry: 0}, deque([entry])
    while queue:
        name = queue.popleft()
        for other in beside[name]:
            if other not in rank:
                rank[other] = rank[name] + 1
                queue.append(other)
    last = max(rank.values()) + 1
    return {name: rank.get(name, last) for name in names}


def _columns(
    components: tuple[Component, ...], rank: dict[str, int]
) -> list[tuple[str, list[list[Component]]]]:
    """Per zone, nearest the entry first: its columns of components."""
    zones: dict[str, list[Component]] = {}
    for component in components:
        if component.zone != WATCHING:
            zones.setdefault(component.zone, []).append(component)
    ordered = sorted(zones.items(), key=lambda pair: min(rank[each.name] for each in pair[1]))
    return [
        (
            zone,
            [
                [each for each in members if rank[each.name] == level]
                for level in sorted({rank[each.name] for each in members})
            ],
        )
        for zone, members in ordered
    ]


def draw(stack: Stack, *, narrow: bool = False) -> Drawing:
    """The stack on one sheet: about 1100 wide, or 360 wide and tall."""
    components, links = with_candidates(stack)
    running = {component.name for component in stack.components}
    zones = _columns(components, ranks(components, links))
    place = _place_narrow if narrow else _place_wide
    areas, spots, w, h = place(zones)
    boxes = {
        component.name: _box(component, spots[component.name], component.name in running)
        for component in components
        if component.name in spots
    }
    watchers = [component for component in components if component.zone == WATCHING]
    watched = [link.target for link in links if any(link.source == each.name for each in watchers)]
    if watchers:
        areas.append(Area(_PAD, h, w - 2 * _PAD, _HEAD + _BOX_H + _PAD + (28 if narrow else 0), WATCHING))
        for index, component in enumerate(watchers):
            spot = (2 * _PAD + index * (_BOX_W + _PAD), h + _HEAD)
            boxes[component.name] = _box(component, spot, True)
        h = areas[-1].y + areas[-1].h
    first = boxes[zones[0][1][0][0].name] if zones else _box(components[0], (0, 0), True)
    return Drawing(
        w=w,
        h=h + _PAD,
        areas=tuple(areas),
        boxes=tuple(boxes.values()),
        arrows=tuple(_arrows(boxes, links, {each.name for each in watchers}, running, narrow=narrow)),
        entry=(first.middle, first.y) if narrow else (first.x, first.y + first.h / 2),
        watched=tuple(name for name in dict.fromkeys(watched) if name in running),
    )


Zones = list[tuple[str, list[list[Component]]]]
Placed = tuple[list[Area], dict[str, tuple[float, float]], float, float]


def _place_wide(zones: Zones) -> Placed:
    tallest = max((len(column) for _, columns in zones for column in columns), default=1)
    height = tallest * (_BOX_H + _GAP_Y) - _GAP_Y
    spots: dict[str, tuple[float, float]] = {}
    areas: list[Area] = []
    x, gap = 92.0, 30.0
    for zone, columns in zones:
        left = x
        x += _PAD
        for column in columns:
            top = _PAD + _HEAD + (height - len(column) * (_BOX_H + _GAP_Y) + _GAP_Y) / 2
            for index, component in enumerate(column):
                spots[component.name] = (x, top + index * (_BOX_H + _GAP_Y))
            x += _BOX_W + gap
        x += _PAD - gap
        areas.append(Area(left, _PAD, x - left, _HEAD + height + _PAD, zone))
        x += 22
    return areas, spots, x - 22 + _PAD, _PAD + _HEAD + height + 2 * _PAD


def _place_narrow(zones: Zones) -> Placed:
    w = 3 * _BOX_W + 2 * 8 + 4 * _PAD
    spots: dict[str, tuple[float, float]] = {}
    areas: list[Area] = []
    y, gap = 46.0, 30.0
    for zone, rows in zones:
        top = y
        y += _HEAD
        for row in rows:
            # More than three stand in a second line.
            for start in range(0, len(row), 3):
                part = row[start : start + 3]
                left = (w - len(part) * (_BOX_W + 8) + 8) / 2
                for index, component in enumerate(part):
                    spots[component.name] = (left + index * (_BOX_W + 8), y)
                y += _BOX_H + gap
        y += _PAD - gap
        areas.append(Area(_PAD, top, w - 2 * _PAD, y - top, zone))
        y += 22
    return areas, spots, w, y - 22 + _PAD


def _box(component: Component, spot: tuple[float, float], running: bool) -> Box:
    name = component.name
    cut = name.rfind("-")
    lines = (name[:cut], name[cut + 1 :]) if len(name) > 12 and cut > 0 else (name,)
    arm = "candidate" if name.endswith(_CANDIDATE) else "stable" if name.endswith(_STABLE) else ""
    style = " ".join(filter(None, ("box", arm, "" if running else "ghost", component.kind)))
    version = component.version if running else ""
    return Box(*spot, _BOX_W, _BOX_H, lines, version, component.about, style)


def _arrows(
    boxes: dict[str, Box], links: tuple[Link, ...], watchers: set[str], running: set[str], *, narrow: bool
) -> list[Arrow]:
    arrows = []
    for link in links:
        if link.source in watchers or link.target in watchers:
            continue
        if link.source not in boxes or link.target not in boxes:
            continue
        path = (_down if narrow else _along)(boxes[link.source], boxes[link.target])
        ghost = not {link.source, link.target} <= running
        label = f"{link.source} → {link.target}" + (f": {link.label}" if link.label else "")
        arrows.append(Arrow(path, label, "arrow ghost" if ghost else "arrow"))
    return arrows


def _along(a: Box, b: Box) -> str:
    """From side to side; within one column from top to bottom."""
    if abs(a.middle - b.middle) < a.w / 2:
        return _down(a, b)
    right = a.x < b.x
    x1, x2 = (a.x + a.w, b.x - 5) if right else (a.x, b.x + b.w + 5)
    y1, y2 = a.y + a.h / 2, b.y + b.h / 2
    if y1 == y2 and abs(x2 - x1) > a.w:
        # Another one stands between: beneath it.
        x1, x2, y1, y2 = a.middle, b.middle, a.y + a.h, b.y + b.h + 5
        return f"M{x1:.0f} {y1:.0f}C{x1:.0f} {y1 + 44:.0f} {x2:.0f} {y2 + 39:.0f} {x2:.0f} {y2:.0f}"
    bend = (x2 - x1) / 2
    return f"M{x1:.0f} {y1:.0f}C{x1 + bend:.0f} {y1:.0f} {x2 - bend:.0f} {y2:.0f} {x2:.0f} {y2:.0f}"


def _down(a: Box, b: Box) -> str:
    below = a.y < b.y
    y1, y2 = (a.y + a.h, b.y - 5) if below else (a.y, b.y + b.h + 5)
    bend = (y2 - y1) / 2
    x1, x2 = a.middle, b.middle
    if x1 == x2 and abs(y2 - y1) > 1.7 * a.h:
        # Another one stands between: beside it.
        x1, x2, y1, y2 = a.x + a.w, b.x + b.w + 5, a.y + a.h / 2, b.y + b.h / 2
        return f"M{x1:.0f} {y1:.0f}C{x1 + 60:.0f} {y1:.0f} {x2 + 55:.0f} {y2:.0f} {x2:.0f} {y2:.0f}"
    return f"M{x1:.0f} {y1:.0f}C{x1:.0f} {y1 + bend:.0f} {x2:.0f} {y2 - bend:.0f} {x2:.0f} {y2:.0f}"
