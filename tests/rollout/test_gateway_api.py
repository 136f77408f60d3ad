"""The router over HTTPRoutes: what it writes over and what not, whose the route is, what troubles it."""

from __future__ import annotations

import dataclasses
import json

import pytest

from huidu.foundation.clock import VirtualClock
from huidu.foundation.errors import ConfigError, Locked, RouterError, UsageError
from rollout.routers.gateway_api import GatewayApiRouter
from rollout.routers.gateway_api_cluster import ApiTrouble
from rollout.routers.gateway_api_holding import ATTEMPTS
from rollout.routers.gateway_api_lease import HELD_FOR, LEASE, lease_of, new_lease
from rollout.routers.gateway_api_routes import SALT, VERSION, strategy_of
from rollout.routers.router import Split
from tests.rollout.httproutes import COHORTS, HEADER, Store, accepted, http_route

FEW = Split({"high": 500, "rest": 0}, "s1", "r-1")
MORE = Split({"high": 1500, "rest": 400}, "s1", "r-2")
NOBODY = Split({"high": 0, "rest": 0}, "s1", "r-stable")
SILENT = ApiTrouble("unreachable", "the API server does not answer (ReadTimeoutError)")
BOTH = pytest.mark.parametrize("kind", ["weights", "buckets"])


@pytest.fixture
def clock():
    return VirtualClock(1_000.0)


@pytest.fixture
def make(clock):
    made = []

    def make(store, kind="weights", names=("shop",), within=2.0) -> GatewayApiRouter:
        strategy = strategy_of(kind, HEADER)
        made.append(GatewayApiRouter(store, "crm", names, COHORTS, strategy, clock, within))
        return made[-1]

    yield make
    for router in made:
        router.release()


@pytest.fixture
def owned(make):
    def owned(store, *more, **named):
        router = make(store, *more, **named)
        router.acquire("test")
        return router

    return owned


def move(router, split: Split) -> None:
    router.write(split)
    router.confirm(split)


def high(store, name="shop") -> int:
    """What the first rule of the cohort `high` gives the candidate by weight."""
    return store.routes[name]["spec"]["rules"][1]["backendRefs"][0]["weight"]


# moving


@BOTH
def test_a_move_is_written_read_back_and_bears_its_version(owned, kind):
    store = Store(http_route(kind))
    router = owned(store, kind)
    move(router, FEW)
    view = router.look()
    assert view.agreed is not None
    assert view.agreed.same_traffic(FEW)
    assert view.agreed.version == "r-1"
    assert store.routes["shop"]["metadata"]["annotations"] | {LEASE: ""} == {
        VERSION: "r-1",
        SALT: "s1",
        LEASE: "",
    }


@BOTH
def test_the_same_move_twice_does_no_harm(owned, kind):
    router = owned(Store(http_route(kind)), kind)
    move(router, FEW)
    move(router, dataclasses.replace(FEW, version="r-9"))
    assert router.look().agreed.version == "r-9"


def test_a_move_is_not_confirmed_before_the_gateway_has_taken_its_generation(owned):
    store = Store(http_route("weights"))
    router = owned(store)
    store.gateway = lambda route: accepted(route, 1)
    router.write(FEW)
    with pytest.raises(RouterError, match=r"has seen generation 1, not 2 \(Accepted\) after 2 s"):
        router.confirm(FEW)
    seen = router.look().proxies[0]
    assert seen.served is None
    assert seen.written.same_traffic(FEW)
    assert "generation 1" in seen.problem
    store.gateway = accepted
    store.edit("shop", lambda route: None)
    router.confirm(FEW)


def test_the_reason_of_a_gateway_that_refuses_is_said(owned):
    store = Store(http_route("weights"))
    router = owned(store)
    refused = {"status": "False", "reason": "BackendNotFound", "message": "no Service shop-candidate-high"}
    store.gateway = lambda route: accepted(route, ResolvedRefs=refused)
    router.write(FEW)
    with pytest.raises(RouterError, match=r"BackendNotFound \(no Service shop-candidate-high\)"):
        router.confirm(FEW)


def test_a_gateway_that_never_reports_is_named(owned):
    store = Store()
    store.gateway = lambda route: None
    store.put(http_route("weights"))
    router = owned(store)
    router.write(FEW)
    with pytest.raises(RouterError, match="no gateway controller has reported on Gateway edge after 2 s"):
        router.confirm(FEW)


def test_of_several_routes_each_is_written_and_the_one_that_fails_is_named(owned):
    store = Store(http_route("weights", "shop"), http_route("weights", "web"))
    router = owned(store, names=("shop", "web"))
    move(router, FEW)
    assert (high(store), high(store, "web")) == (500, 500)
    store.edit("web", lambda route: route["spec"]["rules"].pop(1))
    with pytest.raises(RouterError, match=r"by 1 of 2 routes: httproute crm/web: no rule 'cohort-high'"):
        router.write(NOBODY)
    assert high(store) == 0
    view = router.look()
    assert view.agreed is None
    assert [proxy.name for proxy in view.proxies] == ["httproute crm/shop", "httproute crm/web"]


# others who write


def test_others_may_change_everything_else_at_any_moment(owned):
    store = Store(http_route("weights"))
    router = owned(store)
    router.look()
    times = iter(range(5))

    def somebody(name):
        if next(times, None) is not None:
            store.edit(name, lambda route: route["metadata"]["labels"].update(seen=str(len(store.patches))))

    store.before_patch = somebody
    move(router, FEW)
    assert high(store) == 500
    assert store.routes["shop"]["metadata"]["labels"].keys() == {"app", "seen"}


def test_a_storm_of_conflicts_ends_and_says_so(owned):
    store = Store(http_route("weights"))
    router = owned(store)
    router.look()
    store.before_patch = lambda name: store.edit(name, lambda route: None)
    with pytest.raises(RouterError, match=rf"others write it all the time: {ATTEMPTS} attempts"):
        router.write(FEW)
    assert high(store) == 0


@BOTH
def test_traffic_that_somebody_else_moved_after_the_look_is_not_written_over(owned, kind):
    store = Store(http_route(kind))
    router = owned(store, kind)
    move(router, FEW)
    router.look()
    other = {"weights": "weight", "buckets": "value"}[kind]

    def meddle(route):
        rule = route["spec"]["rules"]
        if other == "weight":
            rule[1]["backendRefs"][0]["weight"] = 9000
        else:
            one, two = (rule[n]["matches"][0]["headers"][1] for n in (1, 2))
            one["value"], two["value"] = two["value"], one["value"]

    first = iter([True])
    store.before_patch = lambda name: store.edit(name, meddle) if next(first, False) else None
    with pytest.raises(RouterError, match=r"somebody else changed it to high (48\.65|95) %"):
        router.write(MORE)
    assert router.look().proxies[0].written.weights["high"] in (4865, 9500)  # 9000 of 18,500; ninety-five


def test_the_way_back_is_written_over_everybody(owned):
    store = Store(http_route("weights"))
    router = owned(store)
    move(router, FEW)
    router.look()
    store.edit("shop", lambda route: route["spec"]["rules"][1]["backendRefs"][0].update(weight=9000))
    move(router, NOBODY)
    assert high(store) == 0


def test_what_the_controller_has_looked_at_may_be_written_over(owned):
    store = Store(http_route("weights"))
    router = owned(store)
    move(router, FEW)
    store.edit("shop", lambda route: route["spec"]["rules"][1]["backendRefs"][0].update(weight=9000))
    router.look()
    move(router, FEW)  # by plan: route.changed: restore
    assert high(store) == 500


def test_a_route_that_somebody_else_broke_is_not_mended_by_widening(owned):
    store = Store(http_route("buckets"))
    router = owned(store, "buckets")
    move(router, FEW)
    router.look()
    rule = store.routes["shop"]["spec"]["rules"][1]
    store.edit("shop", lambda r: r["spec"]["rules"][1]["matches"][0]["headers"][1].update(value="^(9[0-9])$"))
    assert rule
    with pytest.raises(
        RouterError, match="somebody else changed it: the rules of 'cohort-high' do not share"
    ):
        router.write(MORE)
    move(router, NOBODY)


# whose the route is


def test_a_second_controller_is_refused_and_told_who_holds_the_route(owned, make):
    store = Store(http_route("weights"))
    owned(store)
    with pytest.raises(Locked, match=r"another rollout controls this route \(test\)"):
        make(store).acquire("second")


@pytest.mark.parametrize("here", [True, False])
def test_a_rollout_that_is_run_twice_names_its_controller_and_no_other_rollout(
    make, clock, here, monkeypatch
):
    store = Store(http_route("weights"))
    if here:
        make(store).acquire("rollout v2, process 71 on here")
    else:
        _renewing(store, clock, "rollout v2, process 71 on there", monkeypatch)
    with pytest.raises(Locked) as caught:
        make(store).acquire("rollout v2, process 72 on here")
    place = "here" if here else "there"
    assert f"this rollout already has a controller (process 71 on {place})" in str(caught.value)
    assert "another rollout" not in str(caught.value) and "abort" not in str(caught.value)


def test_two_rollouts_cannot_hold_half_of_their_routes_each(owned, make):
    store = Store(http_route("weights", "shop"), http_route("weights", "web"))
    owned(store, names=("web",))
    with pytest.raises(Locked):
        make(store, names=("web", "shop")).acquire("second")
    assert lease_of(store.routes["shop"]) is None


def test_a_route_is_free_after_its_release(owned, make):
    store = Store(http_route("weights"))
    router = owned(store)
    router.release()
    router.release()
    assert LEASE not in store.routes["shop"]["metadata"]["annotations"]
    make(store).acquire("second")


def test_a_route_that_could_not_be_given_up_is_free_when_nobody_renewed_it(owned, make):
    store = Store(http_route("weights"))
    router = owned(store)
    held = lease_of(store.routes["shop"])
    router.release()
    store.edit("shop", lambda route: route["metadata"]["annotations"].update({LEASE: held.text()}))
    make(store).acquire("second")  # the process of the first one lives on, as in `rollout serve`
    assert lease_of(store.routes["shop"]).owner == "second"


def elsewhere(store, owner="far away", **changed):
    """A holder on another machine."""
    lease = dataclasses.replace(new_lease(owner), place="another machine", **changed)
    store.edit(
        "shop", lambda route: route["metadata"].setdefault("annotations", {}).update({LEASE: lease.text()})
    )
    return lease


def _renewing(store, clock, owner, monkeypatch):
    """A holder on another machine who lives."""
    lease = elsewhere(store, owner)
    sleep = clock.sleep

    def sleeping(seconds):
        sleep(seconds)
        renewed = lease.renewed().text()
        store.edit("shop", lambda route: route["metadata"]["annotations"].update({LEASE: renewed}))

    monkeypatch.setattr(clock, "sleep", sleeping)


def test_a_holder_elsewhere_who_renews_keeps_the_route(make, clock, monkeypatch):
    store = Store(http_route("weights"))
    _renewing(store, clock, "far away", monkeypatch)
    with pytest.raises(Locked, match="far away"):
        make(store).acquire("second")


def test_a_holder_elsewhere_who_is_silent_loses_it_after_the_time_he_promised(make, clock):
    store = Store(http_route("weights"))
    elsewhere(store)
    began = clock.monotonic()
    make(store).acquire("second")
    assert clock.monotonic() - began >= HELD_FOR
    assert lease_of(store.routes["shop"]).owner == "second"


def test_a_holder_of_this_machine_that_is_gone_is_not_waited_for(make, clock):
    store = Store(http_route("weights"))
    lease = dataclasses.replace(new_lease("dead"), pid=1, born="1")
    store.edit("shop", lambda route: route["metadata"].update(annotations={LEASE: lease.text()}))
    began = clock.monotonic()
    make(store).acquire("second")
    assert clock.monotonic() == began


def test_who_lost_the_route_writes_nothing_any_more_not_even_the_way_back(owned):
    store = Store(http_route("weights"))
    router = owned(store)
    move(router, FEW)
    elsewhere(store)
    for split in (MORE, NOBODY):
        with pytest.raises(RouterError, match=r"another one has taken it over \(far away\)"):
            router.write(split)
    assert high(store) == 500


def test_a_lost_route_is_not_taken_back_by_the_release(owned):
    store = Store(http_route("weights"))
    router = owned(store)
    elsewhere(store)
    router.release()
    assert lease_of(store.routes["shop"]).owner == "far away"


def test_a_lease_that_somebody_removed_is_no_reason_to_stop(owned):
    store = Store(http_route("weights"))
    router = owned(store)
    store.edit("shop", lambda route: route["metadata"].pop("annotations"))
    move(router, FEW)
    assert high(store) == 500


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"owner": 1}', json.dumps({"token": "x", "seconds": 1e9})])
def test_a_lease_that_is_none_of_ours_holds_nobody(make, text):
    store = Store(http_route("weights"))
    store.edit("shop", lambda route: route["metadata"].update(annotations={LEASE: text}))
    make(store).acquire("second")


def test_nothing_is_written_to_a_route_that_is_not_owned(make):
    store = Store(http_route("weights"))
    with pytest.raises(RouterError, match="not owned by this process"):
        make(store).write(NOBODY)


# troubles


def test_a_server_that_does_not_answer_is_a_problem_of_the_look_and_an_error_of_the_rest(owned, make):
    store = Store(http_route("weights"))
    router = owned(store)
    store.trouble = SILENT
    view = router.look()
    assert view.agreed is None
    assert "does not answer" in view.problems[0]
    for act in (lambda: router.write(FEW), lambda: router.confirm(FEW), lambda: router.reserve(NOBODY)):
        with pytest.raises(RouterError, match="does not answer"):
            act()
    with pytest.raises(UsageError, match="does not answer"):
        router.check()
    with pytest.raises(RouterError, match="cannot be owned: the API server does not answer"):
        make(store).acquire("second")
    store.trouble = None
    move(router, FEW)


def test_forbidden_is_found_before_anybody_is_moved(make, owned):
    store = Store(http_route("weights"))
    router = owned(store)

    def forbidden(name):
        raise ApiTrouble("forbidden", "it is forbidden to patch httproutes", "RBAC must allow patch")

    store.before_patch = forbidden
    with pytest.raises(UsageError) as refused:
        router.check()
    assert "forbidden to patch" in refused.value.what
    assert "RBAC" in refused.value.remedy
    with pytest.raises(RouterError, match="the way back cannot be prepared: it is forbidden"):
        router.reserve(NOBODY)


@BOTH
def test_check_and_reserve_change_nothing(make, owned, kind):
    store = Store(http_route(kind))
    before = json.dumps(store.routes)
    make(store, kind).check()
    make(store, kind).reserve(NOBODY)
    assert json.dumps(store.routes) == before
    assert store.patches == []


def test_check_refuses_what_could_not_work(make):
    store = Store(http_route("weights"))
    with pytest.raises(ConfigError, match="no rule 'cohort-high-candidate'"):
        make(store, "buckets").check()
    store.gateway = lambda route: accepted(route, 0)
    store.edit("shop", lambda route: None)
    with pytest.raises(ConfigError, match="has seen generation 0, not 1"):
        make(store).check()


def test_open_requests_are_not_claimed_to_be_known(make):
    (streams,) = make(Store(http_route("weights"))).streams()
    assert streams.problem
