"""What a controller makes of the weights it finds when it begins: a table, without any proxy."""

from __future__ import annotations

import pytest

from huidu.foundation.errors import RouterError, StateError
from rollout.controller.fold import Move, Pending, Purpose, RolloutState
from rollout.controller.takeover import adopted, reconciled
from rollout.ladder import Ladder, Step
from rollout.routers.router import ProxyView, RouteView, Split

LADDER = Ladder.of(
    [Step("first", {"high": 0.05}), Step("half", {"all": 0.5}), Step("everybody", {"all": 1.0})],
    ("high", "standard"),
)
NOBODY, FIRST, HALF = ({"high": h, "standard": s} for h, s in ((0, 0), (500, 0), (5000, 5000)))
BACK = "r-stable"


def state(weights=FIRST, **changed):
    started = {"rollback_version": BACK, "token": "r"}
    return RolloutState(started=started, weights=weights, **changed)


def serves(weights, version="r-1", name="one", trial=False, written=None):
    split = Split(weights, "s", version, trial)
    return ProxyView(name, split, split if written is None else Split(written, "s", version))


def silent(name="two"):
    return ProxyView(name, None, None, "does not answer")


def move(purpose, weights=NOBODY):
    return Move(purpose, weights, 0.0, 0.0, "stable", "so it was")


def found(state, *proxies, adopt=False):
    return reconciled(state, RouteView(proxies), LADDER, adopt)


def begun(purpose):
    return {"pending": Pending(move(purpose), "r-2", 1.0)}


@pytest.mark.parametrize(
    ("known", "proxies"),
    [
        (state(), (serves(FIRST), serves(FIRST, name="two"))),
        (state(NOBODY), (serves(NOBODY, "0"),)),
        # customers are on the candidate: better watched without one proxy than not at all
        (state(), (serves(FIRST), silent())),
        # the write may or may not have happened: it is repeated
        (state(**begun(Purpose.WIDEN)), (serves(HALF),)),
        (state(**begun(Purpose.ROLLBACK)), (serves(NOBODY, BACK), serves(FIRST, name="two"))),
        # going back waits for no proxy
        (state(**begun(Purpose.ROLLBACK)), (silent("one"), silent())),
        (state(NOBODY, **begun(Purpose.ABORT)), (silent(),)),
        # every proxy was read back; only the end is left
        (state(NOBODY, closing=move(Purpose.ROLLBACK)), (silent(),)),
        (state(NOBODY, closing=move(Purpose.ABORT)), (serves(HALF),)),
        # the A/A stage, as it was left
        (state(trial="open"), (serves(FIRST, trial=True),)),
    ],
)
def test_what_fits_the_journal_is_gone_on_with(known, proxies):
    assert found(known, *proxies) is None


@pytest.mark.parametrize(
    ("known", "proxies"),
    [
        (state(NOBODY), (serves(NOBODY), silent())),  # nobody is there who had to be watched
        (state(), (silent("one"), silent())),
        (state(), (serves(HALF), silent())),  # nor is watched what the journal does not know
        (state(), (serves(FIRST), serves(HALF, name="three"), silent())),
        (state(NOBODY, **begun(Purpose.WIDEN)), (serves(NOBODY), silent())),
        (state(NOBODY, **begun(Purpose.TRIAL)), (serves(NOBODY), silent())),
        (state(NOBODY, closing=move(Purpose.RETREAT)), (silent(),)),  # it may begin again from here
    ],
)
def test_nothing_is_begun_over_a_proxy_that_is_silent(known, proxies):
    with pytest.raises(RouterError, match="two: does not answer") as refused:
        found(known, *proxies, adopt=True)
    assert "nothing was changed" in refused.value.remedy


@pytest.mark.parametrize(
    ("known", "proxies", "told"),
    [
        (state(), (serves(HALF),), "the proxy serves {'high': 5000, 'standard': 5000}"),
        (state(NOBODY), (serves(FIRST),), "the proxy serves {'high': 500, 'standard': 0}"),
        # edited by hand, and the version left as the way back had it
        (state(), (serves(HALF, BACK),), "the proxy serves {'high': 5000, 'standard': 5000}"),
        (state(), (serves(NOBODY, "by hand"),), "the proxy serves {'high': 0, 'standard': 0}"),
        (state(), (serves(FIRST), serves(HALF, name="two")), "the proxies disagree"),
        (state(), (serves(FIRST, written=HALF),), "the proxies disagree"),
        (state(), (serves(FIRST, trial=True),), "the proxy serves"),  # the same weights, served by stable
        (state(trial="open"), (serves(FIRST),), "the proxy serves"),
        (state(NOBODY, closing=move(Purpose.RETREAT)), (serves(HALF),), "the proxy serves"),
    ],
)
def test_weights_that_somebody_else_made_are_refused(known, proxies, told):
    with pytest.raises(StateError) as refused:
        found(known, *proxies)
    assert told in refused.value.what and "somebody else changed the weights" in refused.value.what
    assert "baseline" not in refused.value.what


def test_in_the_comparison_stage_a_fresh_baseline_has_nobody_yet():
    view = RouteView((serves(FIRST, trial=True),))
    assert reconciled(state(trial="open"), view, LADDER, False, fresh=True) is None


def test_a_way_back_that_could_not_be_journaled_is_recognised_by_its_version():
    happened = found(state(), serves(NOBODY, BACK))
    assert happened is not None
    assert (happened[0].purpose, happened[0].weights, happened[1]) == (Purpose.ROLLBACK, NOBODY, BACK)
    with pytest.raises(StateError):
        found(state(), serves(FIRST), serves(NOBODY, BACK, name="two"))


def test_who_adopts_goes_on_from_what_all_serve_and_from_nothing_else():
    happened = found(state(), serves(HALF, "v-9"), adopt=True)
    assert happened is not None
    assert (happened[0].purpose, happened[0].position, happened[1]) == (Purpose.WIDEN, 2.0, "v-9")
    with pytest.raises(StateError, match="disagree"):
        found(state(), serves(FIRST), serves(HALF, name="two"), adopt=True)


@pytest.mark.parametrize(
    ("high", "standard", "position", "stage"),
    [
        (0, 0, 0.0, "start"),
        (499, 0, 0.0, "start"),
        (500, 0, 1.0, "first"),
        (9_000, 4_999, 1.0, "first"),
        (5_000, 5_000, 2.0, "half"),
        (10_000, 10_000, 3.0, "everybody"),
    ],
)
def test_what_is_adopted_counts_as_the_farthest_stage_that_is_wholly_served(high, standard, position, stage):
    taken = adopted(Split({"high": high, "standard": standard}), LADDER)
    assert (taken.position, taken.stage) == (position, stage)
    assert (
        taken.weights == {"high": high, "standard": standard} and taken.share == max(high, standard) / 10_000
    )
