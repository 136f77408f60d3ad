"""A topology is checked before anything is done: a wrong one is refused with file, line, expectation."""

from __future__ import annotations

from pathlib import Path

import pytest

from huidu.foundation.errors import ConfigError
from infra.hybrid_crm import TOPOLOGY
from infra.topology import ROLES, Topology
from infra.topology_check import problems
from infra.topology_file import load_topology


def test_the_reference_stack_hangs_together() -> None:
    assert list(problems(TOPOLOGY)) == []


def test_every_component_starts_after_what_it_waits_for() -> None:
    order = TOPOLOGY.standing(candidate=True, baseline=True)
    for name, component in TOPOLOGY.components.items():
        assert all(order.index(before) < order.index(name) for before in component.after)


def test_the_candidates_arm_stands_only_when_there_is_one() -> None:
    without, beside = TOPOLOGY.standing(candidate=False), TOPOLOGY.standing(candidate=True)
    assert set(beside) - set(without) == {"touchpoints-candidate", "sync-candidate"}
    three = TOPOLOGY.standing(candidate=True, baseline=True)
    assert set(three) - set(beside) == {"touchpoints-baseline"}


WHOLE = """\
name: mine
zones:
  front: {kind: public}
  back: {kind: private}
components:
  edge: {zone: front, kind: edge}
  door-a: {zone: front, kind: touchpoints, arm: stable, after: [store]}
  door-b: {zone: front, kind: touchpoints, arm: candidate, after: [store]}
  store: {zone: front, kind: postgres, data: personal}
links:
  - {source: edge, target: door-a, role: stable}
  - {source: edge, target: door-b, role: candidate}
  - {source: door-a, target: store, role: database}
  - {source: door-b, target: store, role: database}
"""

# What is changed in WHOLE, the line that the error names, and a word of what it says.
WRONG = [
    ("name: mine", "name: Mine!", 1, "pattern"),
    ("zone: front, kind: edge", "zone: fornt, kind: edge", 6, "unknown zone 'fornt'"),
    ("kind: postgres", "kind: oracle", 9, "Input should be"),
    ("after: [store]}\n  door-b", "after: [stoer]}\n  door-b", 7, "unknown component 'stoer'"),
    ("target: door-a, role: stable", "target: door-c, role: stable", 11, "unknown component 'door-c'"),
    (
        "{source: door-a, target: store, role: database}",
        "{source: door-a, target: store, role: db}",
        7,
        "'database'",
    ),
    ("kind: postgres, data: personal", "kind: postgres, data: core", 9, "outside a private zone"),
    ("kind: postgres,", "kind: postgres, after: [door-a],", 9, "wait for each other"),
    ("{zone: front, kind: postgres", "{zone: back, kind: postgres", 13, "without a link zone"),
    ("arm: candidate", "arm: stable", 5, "one stable, one candidate"),
    ("arm: candidate", "arm: baseline", 5, "one stable, one candidate"),
    ("  edge: {zone: front, kind: edge}\n", "", 10, "unknown component 'edge'"),
    ("kind: postgres", "sise: big, kind: postgres", 9, "unknown key 'sise'"),
    ("name: mine", "name: mine\ncustomers: {count: 10, high: 11}", 2, "more high-value customers"),
    ("name: mine", "extends: other\nname: mine", 1, "no topology 'other'"),
    ("kind: public}", "kind: public}\n  front: {kind: public}", 4, "stands twice"),
    ("{kind: public}", "{kind: public, region: the south}", 3, "as the cloud names it"),
    ("data: personal", "data: personal, backup: {region: Frankfurt_}", 9, "as the cloud names it"),
    ("data: personal", "data: personal, size: {memory_gb: .inf}", 9, "memory_gb"),
    ("arm: stable,", "arm: stable, lost: true,", 7, "cannot be given up"),
    ("name: mine", "name: mine-", 1, "pattern"),
    (
        "data: personal",
        "data: personal, backup: {schedule: every day at two am}",
        9,
        "cron's five fields",
    ),
    ("kind: edge", "kind: edge, arm: candidate", 6, "the same for every release"),
    ("name: mine", "name: mine\ncustomers: {subjects: []}", 2, "subjects"),
    (
        "links:",
        "  one: {zone: front, kind: prometheus}\n  two: {zone: front, kind: prometheus}\nlinks:",
        11,
        "of the kind prometheus: one, two",
    ),
]


@pytest.mark.parametrize(("old", "new", "line", "says"), WRONG)
def test_a_wrong_topology_is_refused_at_its_line(
    tmp_path: Path, old: str, new: str, line: int, says: str
) -> None:
    assert old in WHOLE
    file = tmp_path / "topology.yaml"
    file.write_text(WHOLE.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        load_topology(file)
    assert caught.value.line == line
    assert says in str(caught.value)


def test_a_whole_topology_of_ones_own_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "topology.yaml"
    file.write_text(WHOLE)
    assert load_topology(file).standing(candidate=False) == ("edge", "store", "door-a")


def test_extending_changes_only_what_is_given(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "extends: hybrid-crm\ncustomers: {count: 200, high: 20}\ncomponents:\n  core: {size: {cores: 16}}\n"
    )
    mine = load_topology(file)
    assert mine.customers.count == 200
    assert mine.components["core"].size.cores == 16
    assert mine.components["core"].size.memory_gb == TOPOLOGY.components["core"].size.memory_gb
    assert set(TOPOLOGY.components) == set(mine.components)
    assert mine.links == TOPOLOGY.links


def test_a_component_taken_away_takes_its_links_with_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("extends: hybrid-crm\ncomponents: {prometheus: null}\n")
    mine = load_topology(file)
    assert set(TOPOLOGY.components) - set(mine.components) == {"prometheus"}
    assert mine.links == tuple(link for link in TOPOLOGY.links if link.source != "prometheus")


def test_a_component_others_need_cannot_be_taken_away(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("extends: hybrid-crm\ncomponents: {touchpoints-db: null}\n")
    with pytest.raises(ConfigError, match="touchpoints-db"):
        load_topology(file)


def test_what_was_extended_is_kept_whole(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("extends: hybrid-crm\ncomponents: {prometheus: null}\n")
    mine = load_topology(file)
    assert Topology.model_validate_json(mine.model_dump_json()) == mine


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("TOPOLOGY = 3\n", "no TOPOLOGY"),
        ("x = 1\nraise RuntimeError('broken')\n", "broken"),
        (
            "from infra.hybrid_crm import TOPOLOGY as t\nTOPOLOGY = t.model_copy(update={'links': ()})\n",
            "has no link",
        ),
    ],
)
def test_a_wrong_python_topology_is_refused(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "topology.py"
    file.write_text(text)
    with pytest.raises(ConfigError, match=says) as caught:
        load_topology(file)
    assert str(file) in str(caught.value)
    if "raise" in text:
        assert caught.value.line == 2


def test_a_python_topology_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "topology.py"
    file.write_text(
        "from infra.hybrid_crm import TOPOLOGY as base\nTOPOLOGY = base.model_copy(update={'name': 'mine'})\n"
    )
    assert load_topology(file).name == "mine"


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    for name in ("none.yaml", "none.py"):
        with pytest.raises(ConfigError, match=name):
            load_topology(tmp_path / name)


def test_every_kind_says_what_it_cannot_do_without() -> None:
    from infra.targets.local.kinds import KINDS

    assert set(ROLES) == set(KINDS)
