"""Moving weights in a real Envoy: what is served, what is refused, what happens to customers."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from huidu.foundation.clock import SystemClock
from huidu.foundation.errors import ConfigError, Locked, RouterError, UsageError
from huidu.foundation.workspace import write_atomic
from rollout.routers.envoy import EnvoyProxy, EnvoyRouter
from rollout.routers.envoy_routes import Arms, RouteProblem, read_split, route_configuration, with_split
from rollout.routers.router import Split

ARMS = {
    "high": Arms("cohort-high", "stable-high", "candidate-high"),
    "rest": Arms("cohort-rest", "stable-rest", "candidate-rest"),
}
NOBODY = {"high": 0, "rest": 0}
CUSTOMERS = [f"c-{number:04}" for number in range(400)]


def router(*edges, cohorts=ARMS, within=5.0) -> EnvoyRouter:
    proxies = [EnvoyProxy(edge.route_file, edge.admin) for edge in edges]
    return EnvoyRouter(proxies, "arms", cohorts, SystemClock(), within)


def switch(to: EnvoyRouter, weights: dict[str, int], version: str, salt: str = "s1") -> None:
    split = Split(weights, salt, version)
    to.write(split)
    to.confirm(split)


def unmarked(document):
    """Without the mark that makes Envoy report the version of a configuration it already serves."""
    for resource in document["resources"]:
        assert resource.pop("metadata")["filter_metadata"].keys() == {"huidu"}
    return document


def on_candidate(edge, cohort: str = "high") -> set[str]:
    return {customer for customer in CUSTOMERS if edge.arm_of(customer, cohort) == "candidate"}


@pytest.mark.server
def test_a_confirmed_split_is_what_customers_get(start_edge):
    edge = start_edge()
    mine = router(edge)
    mine.check()
    assert mine.look().agreed.weights == NOBODY
    assert on_candidate(edge) == set()
    switch(mine, {"high": 1000, "rest": 0}, "v-1")
    first = on_candidate(edge)
    assert 15 <= len(first) <= 70  # a tenth of 400, give or take four deviations
    assert on_candidate(edge) == first, "a customer must stay where he is"
    assert on_candidate(edge, "rest") == set(), "only the cohort that was opened"
    switch(mine, {"high": 3000, "rest": 0}, "v-2")
    assert first < on_candidate(edge), "growth must keep everybody who is in"
    switch(mine, NOBODY, "v-3")
    assert on_candidate(edge) == set()
    served = mine.look().agreed
    assert (served.version, served.salt) == ("v-3", "s1")


@pytest.mark.server
def test_a_proxy_for_the_internet_does_not_stand_before_the_admin_address(start_edge, monkeypatch):
    edge = start_edge()
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    switch(router(edge), {"high": 500, "rest": 0}, "v2-proxied")


@pytest.mark.server
def test_another_salt_takes_other_customers(start_edge):
    edge = start_edge()
    mine = router(edge)
    switch(mine, {"high": 1000, "rest": 0}, "v-1", "v2-aaaa")
    first = on_candidate(edge)
    switch(mine, {"high": 1000, "rest": 0}, "v-2", "v3-bbbb")
    assert len(first & on_candidate(edge)) < len(first) / 2


@pytest.mark.server
def test_an_unknown_route_or_cluster_is_refused_and_nothing_changes(start_edge):
    edge = start_edge()
    before = edge.route_file.read_bytes()
    for wrong, told in (
        (Arms("cohort-vip", "stable-high", "candidate-high"), "no route 'cohort-vip'"),
        (Arms("cohort-high", "stable-high", "candidate-hihg"), "no weighted cluster 'candidate-hihg'"),
        (
            Arms("cohort-high", "candidate-high", "stable-high"),
            "must list 'stable-high', 'cand",
        ),
    ):
        with pytest.raises(ConfigError, match=told):
            router(edge, cohorts={"high": wrong}).check()
    with pytest.raises(ConfigError, match="no route configuration"):
        EnvoyRouter([EnvoyProxy(edge.route_file, edge.admin)], "legs", ARMS, SystemClock()).check()
    assert edge.route_file.read_bytes() == before


@pytest.mark.server
def test_a_proxy_that_does_not_answer_is_a_usage_error_at_the_start_and_a_problem_later(start_edge):
    edge = start_edge()
    mine = router(edge, within=0.3)
    edge.process.kill()
    edge.process.wait(10)
    with pytest.raises(UsageError, match="does not answer"):
        mine.check()
    assert "does not answer" in mine.look().problems[0]
    with pytest.raises(RouterError, match="not confirmed"):
        switch(mine, {"high": 500, "rest": 0}, "v-1")


@pytest.mark.server
def test_of_a_fleet_the_proxy_that_lags_is_named(start_edge):
    first, second = start_edge("one"), start_edge("two")
    both = router(first, second, within=0.5)
    switch(both, {"high": 500, "rest": 0}, "v-1")
    assert both.look().agreed.version == "v-1"
    second.process.kill()
    second.process.wait(10)
    with pytest.raises(RouterError, match="1 of 2 proxies") as error:
        switch(both, NOBODY, "v-2")
    assert second.admin in str(error.value) and first.admin not in str(error.value)
    assert router(first).look().agreed.weights == NOBODY, "the one that answers goes back all the same"
    assert both.look().agreed is None


@pytest.mark.server
def test_routes_that_envoy_dislikes_are_reported_and_not_served(start_edge):
    edge = start_edge()
    document = json.loads(edge.route_file.read_text())
    document["resources"][0]["virtual_hosts"][0]["routes"].append(
        {"name": "more", "match": {"prefix": "/"}, "route": {"cluster": "no-such-cluster"}}
    )
    edge.route_file.write_text(json.dumps(document))
    with pytest.raises(RouterError, match="Envoy rejected 1 updates"):
        switch(router(edge, within=0.5), {"high": 500, "rest": 0}, "v-1")
    assert on_candidate(edge) == set()


@pytest.mark.server
def test_the_same_weights_again_are_confirmed_too(start_edge):
    edge = start_edge()
    mine = router(edge)
    for version in ("v-1", "v-2", "v-2"):
        switch(mine, NOBODY, version)
    assert mine.look().agreed.version == "v-2"


@pytest.mark.server
def test_nothing_but_weights_salt_and_version_changes(start_edge):
    edge = start_edge()
    edge.route_file.chmod(0o600)
    before = json.loads(edge.route_file.read_text())
    switch(router(edge), {"high": 500, "rest": 0}, "v-1")
    switch(router(edge), NOBODY, "0", "none")
    assert unmarked(json.loads(edge.route_file.read_text())) == before
    assert stat.S_IMODE(edge.route_file.stat().st_mode) == 0o600, "the file may carry a secret"


def test_two_controllers_cannot_own_one_route(tmp_path: Path):
    file = tmp_path / "arms.json"
    mine, other = (EnvoyRouter([EnvoyProxy(file, "x")], "arms", ARMS, SystemClock()) for _ in range(2))
    mine.acquire("rollout v2, process 1")
    with pytest.raises(Locked, match=r"another rollout controls this route \(rollout v2, process 1\)"):
        other.acquire("rollout v3, process 2")
    mine.release()
    other.acquire("rollout v3")
    other.release()


def test_a_rollout_that_is_run_twice_names_its_controller_and_no_other_rollout(tmp_path: Path):
    file = tmp_path / "arms.json"
    mine, other = (EnvoyRouter([EnvoyProxy(file, "x")], "arms", ARMS, SystemClock()) for _ in range(2))
    mine.acquire("rollout v2, process 71 on here")
    with pytest.raises(Locked) as caught:
        other.acquire("rollout v2, process 72 on here")
    assert "this rollout already has a controller (process 71 on here)" in str(caught.value)
    assert "another rollout" not in str(caught.value) and "abort" not in str(caught.value)
    mine.release()


@pytest.mark.parametrize("holder", ["guard of rollout v2, process 8", "abort of rollout v2"])
def test_who_takes_this_very_rollout_back_is_named_and_no_other_rollout(tmp_path: Path, holder):
    file = tmp_path / "arms.json"
    mine, other = (EnvoyRouter([EnvoyProxy(file, "x")], "arms", ARMS, SystemClock()) for _ in range(2))
    mine.acquire(holder)
    with pytest.raises(Locked) as caught:
        other.acquire("rollout v2, process 72 on here")
    assert f"this rollout is being taken back to stable ({holder})" in str(caught.value)
    assert "another rollout" not in str(caught.value) and "wait" in str(caught.value)
    mine.release()


def test_the_way_back_needs_no_space(tmp_path: Path, monkeypatch, document):
    file = tmp_path / "arms.json"
    file.write_text(json.dumps(document))
    mine = EnvoyRouter([EnvoyProxy(file, "x")], "arms", ARMS, SystemClock())
    back = Split(NOBODY, "s", "back")
    mine.reserve(back)
    mine.write(Split({"high": 500, "rest": 0}, "s", "v-1"))

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rollout.routers.envoy.write_atomic", full)
    with pytest.raises(RouterError, match="No space left"):
        mine.write(Split({"high": 900, "rest": 0}, "s", "v-2"))
    mine.write(back)
    written = json.loads(file.read_text())
    assert read_split(route_configuration(written, "arms"), ARMS, "back") == back
    assert written["version_info"] == "back"


def _one_sentence(error, file, *parts):
    """What, where (once) and what to do; no number of an error, no name of a class."""
    text = str(error)
    assert text.count(str(file)) == 1 and "Errno" not in text and "\n  " in text
    assert all(part in text for part in parts)


def test_a_route_file_that_cannot_be_read_or_written_is_named_once_with_what_to_do(
    tmp_path: Path, monkeypatch, document
):
    file = tmp_path / "arms.json"
    mine = EnvoyRouter([EnvoyProxy(file, "x")], "arms", ARMS, SystemClock())
    split = Split({"high": 500, "rest": 0}, "s", "v-1")
    with pytest.raises(RouterError) as caught:
        mine.reserve(split)
    _one_sentence(caught.value, file, "the way back cannot be prepared", "the route file is missing")
    with pytest.raises(ConfigError) as unknown:
        mine.check()
    _one_sentence(unknown.value, file, "the route file is missing")
    file.mkdir()
    with pytest.raises(RouterError) as caught:
        mine.write(split)
    _one_sentence(caught.value, file, "the route file was not written", "Is a directory")
    with pytest.raises(ConfigError) as unknown:
        mine.check()
    _one_sentence(unknown.value, file, "the route file cannot be read: Is a directory")
    file.rmdir()
    file.write_text(json.dumps(document))

    def denied(path, *arguments: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("rollout.routers.envoy.write_atomic", denied)
    with pytest.raises(RouterError) as caught:
        mine.reserve(split)
    _one_sentence(caught.value, file, "the way back cannot be prepared: Permission denied")
    with pytest.raises(RouterError) as caught:
        mine.write(split)
    _one_sentence(caught.value, file, "the route file was not written", "Permission denied")


def test_a_full_disk_does_not_keep_anybody_from_the_route_he_takes_back(tmp_path: Path, monkeypatch):
    """The owner's name beside the route file is for people; the lock needs no space."""

    def full(*arguments: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    file = tmp_path / "arms.json"
    mine, other = (EnvoyRouter([EnvoyProxy(file, "x")], "arms", ARMS, SystemClock()) for _ in range(2))
    monkeypatch.setattr(Path, "write_text", full)
    mine.acquire("abort of rollout v2")
    with pytest.raises(Locked):
        other.acquire("rollout v3, process 2")
    mine.release()


@pytest.mark.server
@pytest.mark.parametrize("lost", ["gone", "emptied", "garbled"])
def test_a_route_file_that_is_lost_does_not_stop_the_way_back(start_edge, lost):
    """Envoy serves on what it has; the file that lies ready needs only its rename."""
    edge = start_edge()
    mine = router(edge)
    switch(mine, {"high": 500, "rest": 0}, "v-1")
    back = Split(NOBODY, "s", "back")
    mine.reserve(back)
    if lost == "gone":
        edge.route_file.unlink()
    else:
        edge.route_file.write_text("" if lost == "emptied" else "no json")
    view = mine.look()
    assert view.agreed is None and "the route file" in view.problems[0]
    with pytest.raises(RouterError, match="the route file") as refused:
        mine.write(Split({"high": 900, "rest": 0}, "s", "v-2"))
    assert str(refused.value).count(str(edge.route_file)) == 1
    mine.write(back)
    mine.confirm(back)
    assert mine.look().agreed == back


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.text("abcdef0123456789-.", max_size=20))
def test_what_is_written_is_what_is_read(document, high, rest, salt):
    split = Split({"high": high, "rest": rest}, salt, "v-9")
    changed = with_split(document, "arms", ARMS, split)
    assert read_split(route_configuration(changed, "arms"), ARMS, "v-9") == split
    back = with_split(changed, "arms", ARMS, Split(NOBODY, "none", "0"))
    assert unmarked(back) == document


def weighted(document, *weights: int):
    """A copy whose first cohort's clusters have these weights."""
    document = json.loads(json.dumps(document))
    route = document["resources"][0]["virtual_hosts"][0]["routes"][0]["route"]
    for cluster, weight in zip(route["weighted_clusters"]["clusters"], weights, strict=True):
        cluster["weight"] = weight
    return document


def by_hand(edge, document) -> None:
    document["resources"][0]["metadata"]["filter_metadata"]["huidu"]["version"] = "by hand"
    write_atomic(edge.route_file, json.dumps(document | {"version_info": "by hand"}))


@pytest.mark.parametrize(
    ("weights", "served"), [((5000, 10_000), 3334), ((1, 0), 10_000), ((1, 99_999), 1), ((0, 7), 0)]
)
def test_weights_of_another_sum_are_read_as_envoy_serves_them_and_written_over(document, weights, served):
    """Whoever edits a weight by hand forgets the others, and Envoy takes it: parts of the sum. Rounded up."""
    odd = weighted(document, *weights)
    assert read_split(route_configuration(odd, "arms"), ARMS, "").weights["high"] == served
    back = with_split(odd, "arms", ARMS, Split(NOBODY, "none", "0"))
    assert unmarked(back) == document


def test_nobody_is_served_by_weights_that_are_all_nothing(document):
    odd = weighted(document, 0, 0)
    with pytest.raises(RouteProblem, match="'cohort-high' gives all its clusters the weight 0"):
        read_split(route_configuration(odd, "arms"), ARMS, "")
    assert unmarked(with_split(odd, "arms", ARMS, Split(NOBODY, "none", "0"))) == document


@pytest.mark.server
def test_weights_that_a_person_wrote_into_the_file_are_seen_and_do_not_stop_the_way_back(start_edge):
    edge = start_edge()
    mine = router(edge)
    switch(mine, {"high": 100, "rest": 0}, "v-1")
    by_hand(edge, weighted(json.loads(edge.route_file.read_text()), 5000, 9900))
    mine.confirm(Split({"high": 3356, "rest": 0}, "s1", "by hand"))
    assert not mine.look().problems
    switch(mine, NOBODY, "back")
    assert mine.look().agreed.all_stable and on_candidate(edge) == set()


@pytest.mark.server
def test_routes_that_a_person_made_into_something_else_are_said_and_do_not_stop_the_way_back(start_edge):
    edge = start_edge()
    mine = router(edge)
    switch(mine, {"high": 100, "rest": 0}, "v-1")
    back = Split(NOBODY, "s1", "back")
    mine.reserve(back)
    document = json.loads(edge.route_file.read_text())
    route = document["resources"][0]["virtual_hosts"][0]["routes"][0]["route"]
    route["weighted_clusters"]["clusters"].reverse()
    by_hand(edge, document)
    (proxy,) = mine.look().proxies
    assert proxy.foreign and "must list 'candidate-high', 'stable-high' in this order" in proxy.problem
    with pytest.raises(RouterError, match="in this order"):
        mine.write(Split({"high": 200, "rest": 0}, "s1", "v-2"))
    mine.write(back)
    mine.confirm(back)
    assert mine.look().agreed == back


def test_different_salts_are_refused(document):
    document = json.loads(json.dumps(document).replace("|none", "|other", 1))
    with pytest.raises(RouteProblem, match="different salts"):
        read_split(route_configuration(document, "arms"), ARMS, "")


def with_parts(document):
    """A route file whose first cohort has a cluster for the A/A stage and stable in three parts."""
    route = document["resources"][0]["virtual_hosts"][0]["routes"][0]["route"]
    names = ["candidate-high", "trial-high", "stable-high", "stable-high-2", "stable-high-3"]
    weights = [0, 0, 3334, 3333, 3333]
    route["weighted_clusters"]["clusters"] = [
        {"name": name, "weight": weight} for name, weight in zip(names, weights, strict=True)
    ]
    return document


PARTED = ARMS | {
    "high": Arms(
        "cohort-high", "stable-high", "candidate-high", "trial-high", ("stable-high-2", "stable-high-3")
    )
}


@given(high=st.integers(0, 10_000), trial=st.booleans())
def test_parts_of_stable_share_the_rest_and_a_trial_takes_the_chosen_customers(document, high, trial):
    parted = with_parts(json.loads(json.dumps(document)))
    written = with_split(parted, "arms", PARTED, Split({"high": high, "rest": 0}, "s", "v", trial))
    configuration = route_configuration(written, "arms")
    clusters = configuration["virtual_hosts"][0]["routes"][0]["route"]["weighted_clusters"]["clusters"]
    weights = [cluster["weight"] for cluster in clusters]
    assert weights[:2] == ([0, high] if trial else [high, 0]), "the same part of the hash range either way"
    assert sum(weights) == 10_000 and max(weights[2:]) - min(weights[2:]) <= 1
    read = read_split(configuration, PARTED, "v")
    assert read.weights == {"high": high, "rest": 0} and read.trial == (trial and high > 0)
    assert read.all_stable == (high == 0 or trial)


def test_a_cohort_without_a_cluster_for_the_trial_has_no_trial(document):
    with pytest.raises(RouteProblem, match="A/A"):
        with_split(document, "arms", ARMS, Split({"high": 100, "rest": 0}, "s", "v", trial=True))
