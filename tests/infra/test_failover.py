"""Two databases change places: as data, without a server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from huidu.foundation.errors import StateError, UsageError
from huidu.foundation.workspace import Workspace
from infra.desired import Desired, Release
from infra.failover import alone, failed_over, pair, refuse_other_places, rejoined
from infra.hybrid_crm import TOPOLOGY
from infra.targets.local import copies, lacking, postgres
from infra.targets.local.copies import Held, Source
from infra.targets.local.secrets import Secrets
from infra.targets.local.site import Site
from infra.topology import Link, Topology
from infra.topology_check import problems

PRIMARY, STANDBY = "core-db", "core-db-standby"
AFTER = failed_over(TOPOLOGY, PRIMARY, STANDBY)


def roles(topology: Topology) -> set[tuple[str, str, str]]:
    return {
        (link.source, link.role, link.target)
        for link in topology.links
        if {link.source, link.target} & {PRIMARY, STANDBY}
    }


def test_after_a_failover_the_other_one_is_written_to_and_the_lost_one_does_not_stand() -> None:
    assert roles(AFTER) == {
        ("core", "database", STANDBY),
        ("core", "reads", PRIMARY),
        (PRIMARY, "primary", STANDBY),
    }
    assert list(problems(AFTER)) == []
    assert set(TOPOLOGY.standing(False)) - set(AFTER.standing(False)) == {PRIMARY}


def test_who_comes_back_starts_after_whom_it_follows() -> None:
    back = rejoined(AFTER, *pair(AFTER, None))
    order = back.standing(False)
    assert list(problems(back)) == []
    assert order.index(STANDBY) < order.index(PRIMARY) < order.index("core")


def test_back_and_forth_is_where_it_began() -> None:
    there = rejoined(AFTER, STANDBY, PRIMARY)
    back = rejoined(failed_over(there, STANDBY, PRIMARY), PRIMARY, STANDBY)
    assert roles(back) == roles(TOPOLOGY)
    assert back.components == TOPOLOGY.components


def test_nothing_else_is_touched() -> None:
    kept = {name: each for name, each in TOPOLOGY.components.items() if name not in (PRIMARY, STANDBY)}
    assert {name: AFTER.components[name] for name in kept} == kept
    assert (AFTER.zones, AFTER.customers, AFTER.name) == (TOPOLOGY.zones, TOPOLOGY.customers, TOPOLOGY.name)


def test_whoever_was_given_up_cannot_take_over() -> None:
    for topology, names in (
        (AFTER, (STANDBY, PRIMARY)),
        (alone(TOPOLOGY, PRIMARY, STANDBY), (PRIMARY, STANDBY)),
    ):
        for change in (failed_over, alone):
            with pytest.raises(UsageError, match=f"{names[1]} was given up"):
                change(topology, *names)
    with pytest.raises(UsageError, match="was not given up"):
        rejoined(TOPOLOGY, PRIMARY, STANDBY)


def test_a_pair_is_found_by_either_name_or_by_none_and_a_wrong_name_is_said() -> None:
    for name in (None, PRIMARY, STANDBY):
        assert pair(TOPOLOGY, name) == (PRIMARY, STANDBY)
    with pytest.raises(UsageError, match=r"core-db \(standby: core-db-standby\)"):
        pair(TOPOLOGY, "touchpoints-db")
    without = TOPOLOGY.model_copy(update={"links": ()})
    with pytest.raises(UsageError, match=r"no database .* has a standby"):
        pair(without, None)


def test_a_topology_neither_turns_a_pair_round_nor_brings_back_who_was_given_up() -> None:
    turned = rejoined(AFTER, STANDBY, PRIMARY)
    given_up = alone(TOPOLOGY, PRIMARY, STANDBY)
    apart = TOPOLOGY.model_copy(update={"links": tuple(x for x in TOPOLOGY.links if x.role != "primary")})
    for stands, wanted, says, remedy in (
        (turned, TOPOLOGY, "makes core-db written to", "^`huidu stack failover --planned`"),
        (TOPOLOGY, turned, "makes core-db the standby of core-db-standby", "failover --planned"),
        (AFTER, TOPOLOGY, "makes core-db written to", "huidu stack rejoin.*failover --planned"),
        (given_up, TOPOLOGY, "brings back core-db-standby", "^`huidu stack rejoin`"),
        (AFTER, turned, "brings back core-db,", "^`huidu stack rejoin`"),
        (turned, without(STANDBY), "makes core-db written to, and here it is the standby of", "failover"),
        (without(PRIMARY), TOPOLOGY, "makes core-db-standby the standby of core-db, and here", "failover"),
        (TOPOLOGY, apart, "makes core-db-standby written to", "failover"),
    ):
        with pytest.raises(UsageError, match=says) as refused:
            refuse_other_places(stands, wanted)
        assert re.search(remedy, refused.value.remedy)


def test_a_topology_that_leaves_everybody_in_his_place_is_taken() -> None:
    larger = AFTER.model_copy(update={"name": "mine"})
    for stands, wanted in (
        (TOPOLOGY, TOPOLOGY),
        (AFTER, larger),
        (TOPOLOGY, without(STANDBY)),
        (without(STANDBY), TOPOLOGY),
        (TOPOLOGY, without(PRIMARY, STANDBY)),
    ):
        refuse_other_places(stands, wanted)


def without(*names: str) -> Topology:
    """The reference topology without these components and their links; not checked."""
    components = {name: each for name, each in TOPOLOGY.components.items() if name not in names}
    links = tuple(each for each in TOPOLOGY.links if not {each.source, each.target} & set(names))
    return TOPOLOGY.model_copy(update={"components": components, "links": links})


def site_of(topology: Topology, folder: Path) -> Site:
    desired = Desired(topology=topology, stable=Release(version="v1"), created="2026-01-01T00:00:00+00:00")
    return Site(Workspace(folder, folder / "cache"), desired, {}, {}, Secrets(folder / "secrets"))


def with_data(site: Site, name: str) -> None:
    (site.folder(name) / "data").mkdir(parents=True)
    (site.folder(name) / "data/PG_VERSION").write_text("18\n")


def test_data_that_were_given_up_are_no_whole_copy_until_they_have_all(tmp_path: Path) -> None:
    site = site_of(AFTER, tmp_path)
    for name in (PRIMARY, STANDBY):
        with_data(site, name)
    lacking.note(site, AFTER)
    assert (postgres.whole(site, PRIMARY), postgres.whole(site, STANDBY)) == (False, True)
    lacking.note(site, rejoined(AFTER, STANDBY, PRIMARY))
    assert not postgres.whole(site, PRIMARY), "that it is wanted again does not give it what it lacks"
    lacking.forget(site, PRIMARY)
    assert postgres.whole(site, PRIMARY)


@pytest.mark.parametrize("topology", [AFTER, rejoined(AFTER, STANDBY, PRIMARY)])
def test_neither_an_empty_database_nor_an_old_copy_takes_the_place_of_lost_data(
    topology: Topology, tmp_path: Path
) -> None:
    site = site_of(topology, tmp_path)
    with_data(site, PRIMARY)
    lacking.note(site, AFTER)
    with pytest.raises(StateError, match=f"{PRIMARY} was given up and lacks") as refused:
        postgres.prepare(site, STANDBY, lambda text: None)
    assert "failover" not in refused.value.remedy
    assert f"bring the data of {STANDBY} back" in refused.value.remedy
    assert not (site.folder(STANDBY) / "data").exists()


def test_data_that_were_given_up_are_never_started_by_themselves(tmp_path: Path) -> None:
    site = site_of(TOPOLOGY, tmp_path)
    with_data(site, PRIMARY)
    lacking.note(site, AFTER)
    with pytest.raises(StateError, match=f"{PRIMARY} was given up, and lacks"):
        postgres.prepare(site, PRIMARY, lambda text: None)


def with_link(**link: str) -> Topology:
    return TOPOLOGY.model_copy(update={"links": (*TOPOLOGY.links, Link(**link))})


@pytest.mark.parametrize(
    ("link", "says"),
    [
        (
            {"source": STANDBY, "target": "touchpoints-db", "role": "primary"},
            "2 links with the role 'primary'",
        ),
        ({"source": "core", "target": "touchpoints-db", "role": "reads"}, "2 links with the role 'reads'"),
        ({"source": "touchpoints-db", "target": PRIMARY, "role": "primary"}, "two standbys"),
        ({"source": "touchpoints-db", "target": STANDBY, "role": "primary"}, "is a standby itself"),
        ({"source": "touchpoints-db", "target": "edge", "role": "primary"}, "is of the kind edge"),
        (
            {"source": "sync-monitor", "target": "touchpoints-db", "role": "primary"},
            "cannot follow a primary",
        ),
        ({"source": "sync-monitor", "target": STANDBY, "role": "reads"}, "no standby of its database"),
    ],
)
def test_a_standby_that_cannot_be_is_said(link: dict[str, str], says: str) -> None:
    assert says in " ".join(what for _, what, _ in problems(with_link(**link)))


SOURCE = Source(system="7", timeline=2, lsn=1000, slot="reserved")


@pytest.mark.parametrize(
    ("held", "source", "plan"),
    [
        (None, SOURCE, "copy"),
        (Held("7", 2, 900, True), SOURCE, "follow"),
        (Held("7", 2, 1000, True), SOURCE, "follow"),
        (Held("7", 2, 900, True), Source("7", 2, 1000, "lost"), "copy"),
        (Held("7", 2, 900, True), Source("7", 2, 1000, ""), "copy"),
        (Held("7", 1, 5000, False), SOURCE, "replace"),
        (Held("7", 1, 900, True), SOURCE, "replace"),
        (Held("8", 2, 900, True), SOURCE, None),
        (Held("7", 3, 900, False), SOURCE, None),
        (Held("7", 2, 900, False), SOURCE, None),
        (Held("7", 2, 1001, True), SOURCE, None),
    ],
)
def test_a_copy_is_made_anew_only_where_nothing_is_destroyed_by_it(
    held: Held | None, source: Source, plan: str | None
) -> None:
    found, why = copies.plan(held, source)
    assert found == plan
    assert bool(why) is (plan != "follow")


@given(st.builds(Held, st.just("7"), st.integers(1, 3), st.integers(0, 2000), st.booleans()))
def test_what_only_the_standby_holds_is_never_removed(held: Held) -> None:
    step, _ = copies.plan(held, SOURCE)
    if step in ("copy", "follow"):
        assert held.timeline == SOURCE.timeline and held.lsn <= SOURCE.lsn and held.standby


CONTROL = """\
pg_control version number:            1800
Database system identifier:           7575757575757575757
Latest checkpoint location:           0/5000028
Latest checkpoint's TimeLineID:       1
Minimum recovery ending location:     1/B374D848
Min recovery ending loc's timeline:   2
"""


def test_pg_controldata_is_understood() -> None:
    held = copies.read(copies.lines(CONTROL), standby=True)
    assert held == Held("7575757575757575757", 2, (1 << 32) + 0xB374D848, True)


def test_a_topology_that_takes_the_primary_away_must_take_its_standby_too(tmp_path: Path) -> None:
    from huidu.foundation.errors import ConfigError
    from infra.topology_file import load_topology

    file = tmp_path / "mine.yaml"
    file.write_text("extends: hybrid-crm\nname: mine\ncomponents: {core: null, core-db: null}\n")
    with pytest.raises(ConfigError, match="core-db"):
        load_topology(file)
