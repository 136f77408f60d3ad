"""The router on HTTPRoutes against a real API server: locking, RBAC, faults, and what a gateway reports."""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
from urllib.parse import urlsplit

import pytest
from kubernetes.config import incluster_config

from huidu.foundation.clock import SystemClock
from huidu.foundation.errors import ConfigError, Locked, RouterError, UsageError
from rollout.routers import gateway_api_cluster, gateway_api_holding
from rollout.routers.gateway_api import GatewayApiRouter
from rollout.routers.gateway_api_cluster import Cluster as Api
from rollout.routers.gateway_api_cluster import place_of
from rollout.routers.gateway_api_lease import LEASE
from rollout.routers.gateway_api_routes import strategy_of
from rollout.routers.router import Split
from tests.kubernetes.cluster import Refused
from tests.kubernetes.gateways import ROUTES, Gateway, path_of
from tests.rollout.httproutes import COHORTS, HEADER, accepted, http_route

FEW = Split({"high": 500, "rest": 0}, "s1", "r-1")
MORE = Split({"high": 1500, "rest": 400}, "s1", "r-2")
NOBODY = Split({"high": 0, "rest": 0}, "s1", "r-stable")
BOTH = pytest.mark.parametrize("kind", ["weights", "buckets"])
RULES = [
    {"apiGroups": ["gateway.networking.k8s.io"], "resources": ["httproutes"], "verbs": ["get", "patch"]},
]


@pytest.fixture
def space(cluster):
    return cluster.namespace("route")


@pytest.fixture
def gateway(cluster, space):
    with Gateway(cluster, space).running() as gateway:
        yield gateway


@pytest.fixture
def make(cluster, space):
    """Makes a router over the route `shop`, as the administrator or as an account."""
    made = []

    def make(kind="weights", kubeconfig=None, names=("shop",), within=20.0) -> GatewayApiRouter:
        api = Api(place_of(kubeconfig or cluster.kubeconfig, "", space))
        strategy = strategy_of(kind, HEADER)
        made.append(GatewayApiRouter(api, space, names, COHORTS, strategy, SystemClock(), within))
        return made[-1]

    yield make
    for router in made:
        router.release()


@pytest.fixture
def put(cluster, space):
    """Puts a route there as its owner does."""

    def put(kind="weights", name="shop"):
        route = http_route(kind, name)
        route["metadata"]["namespace"] = space
        return cluster.apply(route)

    return put


@pytest.fixture
def owned(make, put, gateway, cluster, space):
    def owned(kind="weights", **named) -> GatewayApiRouter:
        put(kind)
        taken = "status.parents of the gateway"
        cluster.until(lambda: "status" in cluster.read(ROUTES, "HTTPRoute", "shop", space), what=taken)
        router = make(kind, **named)
        router.acquire("test")
        return router

    return owned


@pytest.fixture
def edit(cluster, space):
    """Somebody else changes the route `shop`, whatever the router does at the same time."""

    def edit(change, name="shop"):
        def once():
            route = cluster.read(ROUTES, "HTTPRoute", name, space)
            change(route)
            with contextlib.suppress(Refused):
                return cluster.replace(route)

        return cluster.until(once, what="somebody else's change")

    return edit


def move(router, split) -> None:
    router.write(split)
    router.confirm(split)


def spec(cluster, space, name="shop"):
    return cluster.read(ROUTES, "HTTPRoute", name, space)["spec"]


def first_weight(route, weight):
    route["spec"]["rules"][1]["backendRefs"][0]["weight"] = weight


@BOTH
def test_a_rollouts_moves_are_taken_by_the_gateway_and_read_back(owned, cluster, space, kind):
    router = owned(kind)
    router.check()
    router.reserve(NOBODY)
    before = spec(cluster, space)
    for split in (FEW, MORE, NOBODY):
        move(router, split)
        seen = router.look().agreed
        assert seen is not None
        assert seen.same_traffic(split)
        assert seen.version == split.version
    after = spec(cluster, space)
    if kind == "weights":
        for rule in (before["rules"][1], before["rules"][2]):
            rule["backendRefs"][0]["weight"], rule["backendRefs"][1]["weight"] = 0, 10_000
    assert after == before


def test_what_others_own_of_the_route_stays_theirs(owned, cluster, space, edit):
    router = owned()
    edit(lambda route: route["metadata"].setdefault("annotations", {}).update({"example.com/kept": "yes"}))
    move(router, FEW)
    route = cluster.read(ROUTES, "HTTPRoute", "shop", space)
    assert route["metadata"]["annotations"]["example.com/kept"] == "yes"
    assert route["metadata"]["labels"] == {"app": "shop"}
    owners = {each["manager"]: each["fieldsV1"] for each in route["metadata"]["managedFields"]}
    assert "huidu" in owners


def test_others_may_write_the_route_four_times_out_of_five(owned, edit, monkeypatch):
    router = owned()
    router.look()
    real, count = Api.patch, itertools.count()

    def overtaken(self, name, body, dry_run=False):
        number = next(count)
        if number % 5:
            edit(lambda route: route["metadata"]["labels"].update(count=str(number)))
        return real(self, name, body, dry_run)

    monkeypatch.setattr(Api, "patch", overtaken)
    for split in (FEW, MORE, NOBODY):
        move(router, split)
    assert next(count) > 10


def test_a_stale_write_meets_a_conflict_and_thinks_again(owned, edit, cluster, space, monkeypatch):
    router = owned()
    router.look()
    real = Api.patch
    late = iter([True])

    def overtaken(self, name, body, dry_run=False):
        if next(late, False):
            edit(lambda route: route["metadata"]["labels"].update(overtaken="yes"))
        return real(self, name, body, dry_run)

    monkeypatch.setattr(Api, "patch", overtaken)
    move(router, FEW)
    route = cluster.read(ROUTES, "HTTPRoute", "shop", space)
    assert route["metadata"]["labels"]["overtaken"] == "yes"
    assert route["spec"]["rules"][1]["backendRefs"][0]["weight"] == 500


def test_a_storm_of_conflicts_ends(owned, edit, monkeypatch):
    router = owned()
    router.look()
    real, count = Api.patch, iter(range(1000))

    def overtaken(self, name, body, dry_run=False):
        edit(lambda route: route["metadata"]["labels"].update(count=str(next(count))))
        return real(self, name, body, dry_run)

    monkeypatch.setattr(Api, "patch", overtaken)
    monkeypatch.setattr(gateway_api_holding, "AGAIN", 0.001)
    with pytest.raises(
        RouterError, match=r"others write it all the time: 10 attempts met a conflict \(409\)"
    ):
        router.write(FEW)


def test_traffic_that_somebody_else_moves_is_seen_and_not_written_over(owned, edit, cluster, space):
    router = owned()
    move(router, FEW)
    router.look()
    edit(lambda route: first_weight(route, 9500))
    with pytest.raises(RouterError, match="somebody else changed it to high 50 %, rest 0 %"):
        router.write(MORE)
    cluster.until(lambda: router.look().agreed, what="the gateway's word on it")
    assert router.look().agreed.weights == {"high": 5000, "rest": 0}
    move(router, NOBODY)


def test_a_second_controller_is_refused_until_the_first_gives_the_route_up(owned, make, cluster, space):
    first = owned()
    with pytest.raises(Locked, match=r"another rollout controls this route \(test\)"):
        make().acquire("second")
    first.release()
    second = make()
    second.acquire("second")
    with pytest.raises(RouterError, match="not owned by this process"):
        first.write(FEW)
    noted = cluster.read(ROUTES, "HTTPRoute", "shop", space)["metadata"]["annotations"]
    assert '"owner":"second"' in noted[LEASE]


def test_a_lease_is_renewed_while_it_is_held(put, make, cluster, space, monkeypatch):
    monkeypatch.setattr(gateway_api_holding, "RENEW_EVERY", 0.1)
    put()
    make().acquire("test")

    def beats():
        route = cluster.read(ROUTES, "HTTPRoute", "shop", space)
        return json.loads(route["metadata"]["annotations"][LEASE])["beat"] >= 3

    cluster.until(beats, what="three renewals")


# RBAC


@pytest.fixture
def account(cluster, space):
    """A kubeconfig of an account that may do what `rules` say."""

    def account(name, rules=RULES):
        about = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": name, "namespace": space}}
        who = [{"kind": "ServiceAccount", "name": name, "namespace": space}]
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        cluster.apply({**about, "kind": "Role", "rules": rules})
        cluster.apply({**about, "kind": "RoleBinding", "subjects": who, "roleRef": role})
        return cluster.kubeconfig_for(name, space)

    return account


def named(verbs):
    return [{**RULES[0], "resourceNames": ["shop"], "verbs": verbs}]


def test_get_and_patch_of_its_own_routes_are_all_that_a_rollout_needs(put, gateway, make, account, cluster):
    put()
    router = make(kubeconfig=account("mover", named(["get", "patch"])))
    cluster.until(lambda: router.look().agreed, what="the gateway's word")
    router.check()
    router.acquire("test")
    router.reserve(NOBODY)
    move(router, FEW)
    router.release()


def test_who_may_not_patch_learns_it_before_anybody_is_moved(put, gateway, make, account, cluster, space):
    route = put()
    router = make(kubeconfig=account("looker", named(["get"])))
    cluster.until(lambda: router.look().agreed, what="the gateway's word")
    with pytest.raises(UsageError) as refused:
        router.check()
    assert f"it is forbidden to patch httproutes.gateway.networking.k8s.io in namespace {space}" in str(
        refused.value
    )
    assert "RBAC must allow get and patch" in str(refused.value)
    with pytest.raises(RouterError, match="cannot be owned: it is forbidden to patch"):
        router.acquire("test")
    assert spec(cluster, space) == route["spec"]


def test_who_may_not_read_is_told_the_verb(put, make, account):
    put()
    router = make(kubeconfig=account("nobody", named(["patch"])))
    with pytest.raises(UsageError, match="it is forbidden to get httproutes"):
        router.check()
    assert "forbidden to get" in router.look().problems[0]


def test_an_unknown_token_is_told(put, make, cluster, tmp_path):
    put()
    text = cluster.kubeconfig.read_text().replace(cluster.plane.token, "wrong")
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"does not know who asks \(401\)"):
        make(kubeconfig=path).check()


def test_in_a_pod_the_pods_own_account_is_used(put, gateway, account, cluster, space, monkeypatch, tmp_path):
    """What the kubelet puts into every pod: a token, the authority, and where the API server is."""
    put()
    account("mover", named(["get", "patch"]))
    (tmp_path / "token").write_text(cluster.token_for("mover", space))
    address = urlsplit(cluster.plane.url)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", address.hostname)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(address.port))
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(cluster.plane.certificate))
    monkeypatch.setattr(gateway_api_cluster, "_in_pod", lambda: True)
    api = Api(place_of(None, "", space))
    router = GatewayApiRouter(api, space, ("shop",), COHORTS, strategy_of("weights", HEADER), SystemClock())
    cluster.until(lambda: router.look().agreed, what="the gateway's word")
    router.check()


# what is not there


def test_a_route_that_is_not_there_is_named(make, space):
    with pytest.raises(UsageError, match=f"there is no HTTPRoute 'shop' in namespace {space}"):
        make().check()


def test_a_cluster_without_the_gateway_api_is_told_apart_from_a_missing_route(make, space, monkeypatch):
    monkeypatch.setattr(gateway_api_cluster, "API_VERSION", "v0")
    with pytest.raises(UsageError, match="does not know the kind HTTPRoute") as refused:
        make().check()
    assert "install the Gateway API's CRDs" in refused.value.remedy


def test_a_route_that_no_gateway_has_taken_is_refused(put, make):
    put()
    with pytest.raises(ConfigError, match="no gateway controller has reported on Gateway edge"):
        make().check()


def test_a_weight_the_server_does_not_take_is_told_in_its_own_words(owned, monkeypatch):
    router = owned()
    router.look()
    too_much = copy.deepcopy(FEW)
    monkeypatch.setitem(too_much.weights, "high", -1)
    with pytest.raises(RouterError, match=r"refuses it \(422\): .*weight"):
        router.write(too_much)


# a gateway that does not go along


def test_only_the_word_on_the_new_generation_counts(owned, gateway, cluster):
    router = owned(within=1.0)
    cluster.until(lambda: router.look().agreed, what="the gateway's word")
    gateway.says = lambda route: None
    router.write(FEW)
    with pytest.raises(RouterError, match=r"has seen generation \d+, not \d+ \(Accepted\) after 1 s"):
        router.confirm(FEW)
    refused = {"status": "False", "reason": "BackendNotFound", "message": "no such Service"}
    gateway.says = lambda route: accepted(route, ResolvedRefs=refused)
    cluster.until(lambda: "BackendNotFound" in router.look().problems[0], what="the refusal")
    with pytest.raises(RouterError, match=r"ResolvedRefs is False: BackendNotFound \(no such Service\)"):
        router.confirm(FEW)
    gateway.says = accepted
    cluster.until(lambda: router.look().agreed, what="the gateway's word")
    router.confirm(FEW)


# a server that is away


def test_a_server_that_is_gone_is_unreachable_and_afterwards_all_goes_on(owned, cluster):
    router = owned()
    move(router, FEW)
    with cluster.stopped():
        assert "does not answer" in router.look().problems[0]
        with pytest.raises(RouterError, match="does not answer"):
            router.write(NOBODY)
    move(router, NOBODY)
    assert router.look().agreed.same_traffic(NOBODY)


def test_a_server_that_hangs_is_waited_for_only_so_long(owned, cluster, monkeypatch):
    router = owned()
    move(router, FEW)
    with cluster.paused(), monkeypatch.context() as hurried:
        # Only here: a busy machine's server may well take as long for an answer.
        hurried.setattr(gateway_api_cluster, "ANSWER_WITHIN", 0.5)
        assert "does not answer (ReadTimeoutError)" in router.look().problems[0]
        with pytest.raises(RouterError, match="does not answer"):
            router.write(NOBODY)
    move(router, NOBODY)


def test_the_status_is_only_the_gateways_to_write(put, account, cluster, space):
    """The stand-in for the gateway is another one than the rollout's account, which may not touch status."""
    route = put()
    account("mover")
    mover = cluster.as_account("mover", space)
    with pytest.raises(Refused) as refused:
        mover.ask(
            "PATCH", f"{path_of(route)}/status", {"status": {"parents": []}}, "application/merge-patch+json"
        )
    assert refused.value.status == 403
