"""Commands around the traffic, in virtual time: before stage 0, before each step, and after a way back."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from huidu.foundation.errors import ConfigError, UsageError
from huidu.foundation.outcome import Outcome
from rollout.admission import Order, check_new
from rollout.controller.capacity import lacking
from rollout.controller.fold import fold
from rollout.letters import news
from rollout.overview import plan_rows
from rollout.plan.deploy import Capacity
from rollout.plan.file import parse_plan
from rollout.record import report
from rollout.target import Target
from tests.rollout.test_controller_crash import (
    FragileEvidence,
    FragileJournal,
    FragileRouter,
    Fuse,
    Killed,
    _never_wider_than_intended,
)
from tests.rollout.worlds import PLAN, make_stage

QUICK = PLAN.replace("dwell: 5s, final_bake: 10s", "dwell: 2s, final_bake: 3s")
SCALE = "scale: {run: [scale, '{percent}', '{release}'], timeout: 60s}"
CAPACITY = "capacity: {peak: 200/s, head_room: 30%, ready: up, per_replica: 10/s, longest: 60s}"
STEPS = """
rollback:
  steps:
    - {name: rows, run: [rows], verify: [rows-verify], undo: [rows-undo]}
    - {name: columns, run: [columns], verify: [columns-verify]}
"""


@dataclass
class Shop:
    """Runs commands: which, in order; how long each takes, and which fail (how often)."""

    clock: object
    takes: float = 3.0
    fails: dict[str, int] = field(default_factory=dict)
    ran: list[tuple[str, ...]] = field(default_factory=list)
    point: Callable[[], None] = lambda: None

    def launch(self, command, fills, log, clock):
        self.point()
        words = tuple(part.format(**fills) for part in command.run)
        self.ran.append(words)
        return Running(self, words[0], self.clock.now() + self.takes)

    def names(self) -> list[str]:
        return [words[0] for words in self.ran]


@dataclass
class Running:
    shop: Shop
    name: str
    until: float
    said: str | None = None

    def problem(self):
        if self.said is None and self.shop.clock.now() >= self.until:
            left = self.shop.fails.get(self.name, 0)
            self.shop.fails[self.name] = left - 1
            self.said = "exit code 1" if left > 0 else ""
        return self.said

    def end(self):
        return None


def made(folder, extra, text=QUICK, **edge):
    folder.mkdir(exist_ok=True, parents=True)
    stage = make_stage(folder, text + extra)
    shop = Shop(stage.clock)
    return stage, shop, lambda **more: stage.controller(**{"launch": shop.launch, **edge, **more})


def state_of(stage):
    return fold(stage.journal.events())


# before anything else


def test_the_schema_is_expanded_and_the_candidate_started_before_anything_is_looked_at(tmp_path):
    stage, shop, controller = made(
        tmp_path, "schema: {expand: {run: [expand]}}\ndeploy: {start: {run: [start, '{release}']}}"
    )
    looked = []
    look = stage.world.look
    stage.world.look = lambda state, now: (looked.append(list(shop.names())), look(state, now))[1]
    assert controller().drive() is Outcome.GOOD
    assert shop.ran == [("expand",), ("start", "v2")]
    assert all(seen == ["expand", "start"] for seen in looked)
    kinds = stage.kinds()
    assert kinds.index("judging") > max(n for n, kind in enumerate(kinds) if kind == "job-done")


def test_a_candidate_that_does_not_start_holds_with_nobody_sent_and_is_started_again(tmp_path):
    stage, shop, controller = made(tmp_path, "deploy: {start: {run: [start]}}")
    shop.fails["start"] = 1
    assert controller().drive() is Outcome.HELD
    assert "start command failed (exit code 1); nobody was sent" in state_of(stage).sentence
    assert not stage.router.writes
    assert controller().drive() is Outcome.GOOD
    assert shop.names() == ["start", "start"]


@pytest.mark.parametrize("runs", [None, "v1.5", "v2"])
def test_a_plan_that_starts_its_candidate_needs_no_hand_whatever_the_arm_runs(tmp_path, runs):
    order = Order(tmp_path / "plan.yaml", "v2", "v2")
    target = Target((), "arms", {}, "http://p", 1.0, "v1", runs)
    check_new(order, parse_plan(PLAN + "deploy: {start: {run: [start]}}", "p"), target)
    if runs != "v2":
        with pytest.raises(UsageError, match="huidu stack release v2"):
            check_new(order, parse_plan(PLAN, "p"), target)


# before each step


def test_each_step_is_scaled_for_before_it_opens(tmp_path):
    stage, shop, controller = made(tmp_path, f"deploy: {{{SCALE}}}")
    assert controller().drive() is Outcome.GOOD
    shares = [float(words[1]) for words in shop.ran]
    opened = [100 * each["share"] for each in report("virtual", stage.journal.events())["stages"]]
    assert shares == pytest.approx(opened), "every share that opened was scaled for, and none twice"
    assert shares == sorted(shares), "nothing is ever made smaller"
    assert {words[2] for words in shop.ran} == {"v2"}
    jobs = [event.kind for event in stage.journal.events() if event.kind in ("job-done", "intended")]
    assert jobs == ["job-done", "intended"] * len(shares)


def test_a_step_waits_until_enough_is_ready(tmp_path):
    since = []
    stage, shop, controller = made(tmp_path, f"deploy: {{{SCALE}, {CAPACITY}}}")

    def count(now):
        if not since and any(words[1] == "50" for words in shop.ran):
            since.append(now)
        return 26.0 if since and now > since[0] + 20 else 5.0

    assert controller(ready=count).drive() is Outcome.GOOD
    moves = [event for event in stage.journal.events() if event.kind == "intended"]
    half = next(event.t for event in moves if event.data["share"] > 0.49)
    assert half > since[0] + 20, "130/s are needed for one half"
    assert any("5 ready replicas carry 50/s" in text for text in stage.lines.shown)


@pytest.mark.parametrize(
    ("ready", "why"), [(0.0, "0 ready replicas carry 0/s"), (None, "how much is ready is not known")]
)
def test_not_ready_within_the_longest_wait_is_held_and_said(tmp_path, ready, why):
    stage, _, controller = made(tmp_path, f"deploy: {{{SCALE}, {CAPACITY}}}")
    assert controller(ready=lambda now: ready).drive() is Outcome.HELD
    told = state_of(stage).sentence
    assert why in told and "longer than 60 s" in told
    assert stage.router.served.weights["standard"] == 0


def test_evidence_of_harm_does_not_wait_for_a_command(tmp_path):
    stage, shop, _ = made(tmp_path, f"deploy: {{{SCALE}}}")
    shop.takes = 1e9
    first = itertools.count()
    launch = shop.launch

    def slow_later(*args):
        shop.takes = 1.0 if next(first) == 0 else 1e9
        if shop.takes > 1:
            stage.world.candidate_errors = 0.5
        return launch(*args)

    assert stage.controller(launch=slow_later).drive() is Outcome.BAD
    assert stage.router.served.all_stable


def test_a_scale_command_that_fails_is_tried_again(tmp_path):
    _, shop, controller = made(tmp_path, f"deploy: {{{SCALE}}}")
    shop.fails["scale"] = 3
    assert controller().drive() is Outcome.GOOD
    assert shop.ran[0] == shop.ran[1] == shop.ran[2] == shop.ran[3]


@pytest.mark.parametrize(
    ("ready", "share", "missing"),
    [(13.0, 0.5, False), (12.9, 0.5, True), (None, 0.01, True), (26.0, 1.0, False), (0.0, 0.05, True)],
)
def test_ready_capacity_is_share_times_peak_and_head_room(ready, share, missing):
    capacity = Capacity(peak="200/s", head_room="30%", ready="up", per_replica="10/s")
    assert bool(lacking(capacity, ready, share)) is missing


# after a way back


def test_data_steps_run_when_traffic_is_safe_and_then_the_candidate_is_stopped(tmp_path):
    stage, shop, controller = made(tmp_path, STEPS + "deploy: {stop: {run: [stop]}}")
    stage.world.candidate_errors = 0.3
    safe = []
    launch = shop.launch
    watch = lambda *args: (safe.append(stage.router.served.all_stable), launch(*args))[1]  # noqa: E731
    assert controller(launch=watch).drive() is Outcome.BAD
    assert shop.names() == ["rows", "rows-verify", "columns", "columns-verify", "stop"]
    assert all(safe)
    assert "not finished" not in state_of(stage).sentence


@pytest.mark.parametrize(
    ("failing", "ran", "told"),
    [
        ("rows", ["rows", "rows-undo"], "rows (exit code 1; undone), columns"),
        ("rows-verify", ["rows", "rows-verify", "rows-undo"], "rows (exit code 1; undone), columns"),
        ("columns", ["rows", "rows-verify", "columns"], "columns (exit code 1; nothing takes it back)"),
    ],
)
def test_a_failing_step_is_undone_and_told_and_the_outcome_stays(tmp_path, failing, ran, told):
    stage, shop, controller = made(tmp_path, STEPS)
    stage.world.candidate_errors = 0.3
    shop.fails[failing] = 9
    assert controller().drive() is Outcome.BAD
    assert shop.names() == ran
    assert state_of(stage).outcome == "rolled-back"
    assert state_of(stage).sentence.endswith(f"; steps not finished: {told}")


def test_a_promoted_release_runs_no_step_and_stops_the_candidate_once_stable_has_it(tmp_path):
    _, shop, controller = made(tmp_path, STEPS + "deploy: {promote: {run: ['true']}, stop: {run: [stop]}}")
    assert controller().drive() is Outcome.GOOD
    assert shop.names() == ["stop"]
    _, shop, controller = made(tmp_path / "kept", "deploy: {stop: {run: [stop]}}")
    assert controller().drive() is Outcome.GOOD
    assert shop.names() == [], "it keeps all traffic"


def test_an_abort_without_a_controller_runs_the_steps_too(tmp_path):
    _, shop, controller = made(tmp_path, STEPS)
    assert controller().take_back("no") is Outcome.NOT_EVIDENCE
    assert shop.names() == ["rows", "rows-verify", "columns", "columns-verify"]


# crashes

EVERYTHING = f"""
schema: {{expand: {{run: [expand]}}, contract: {{run: [contract]}}, wait: 7d}}
deploy: {{start: {{run: [start]}}, {SCALE}, {CAPACITY}, stop: {{run: [stop]}}}}
{STEPS}
"""


@pytest.mark.slow
@pytest.mark.drill
@pytest.mark.parametrize(
    ("errors", "fails", "outcome"),
    [(0.0, "", Outcome.GOOD), (0.3, "", Outcome.BAD), (0.3, "rows-verify", Outcome.BAD)],
)
def test_every_crash_point_ends_as_without_the_crash(tmp_path, errors, fails, outcome):
    folders = (tmp_path / str(number) for number in itertools.count())
    whole = _run(next(folders), errors, fails, Fuse(0))
    assert whole["outcome"] is outcome and whole["points"] > 60
    for at in range(1, whole["points"] + 1):
        crashed = _run(next(folders), errors, fails, Fuse(at))
        what = f"killed at point {at} of {whole['points']}"
        assert crashed["outcome"] is outcome, what
        assert crashed["weights"] == whole["weights"], what
        assert crashed["done"] == whole["done"], what
        assert crashed["sentence"].partition("; steps")[2] == whole["sentence"].partition("; steps")[2], what
        assert len(crashed["ran"]) <= len(whole["ran"]) + 1, f"{what}: at most the one that ran is run again"


def _run(folder, errors, fails, fuse):
    stage, shop, controller = made(folder, EVERYTHING, ready=lambda now: 26.0)
    stage.world.candidate_errors = errors
    if fails:
        shop.fails[fails] = 99
    shop.point, shop.takes = fuse.point, 1.0
    fragile = {
        "journal": FragileJournal(stage.journal, fuse),
        "router": FragileRouter(stage.router, fuse),
        "evidence": FragileEvidence(stage.evidence, fuse),
    }
    try:
        outcome = controller(**fragile).drive()
    except Killed:
        fuse.at = 0
        stage.world.last = stage.evidence.intervals[-1].end if stage.evidence.intervals else None
        outcome = controller().drive()
    _never_wider_than_intended(stage)
    state = state_of(stage)
    return {
        "outcome": outcome,
        "points": fuse.passed,
        "weights": dict(stage.router.served.weights),
        "done": {name: job.status for name, job in state.jobs.items()},
        "sentence": state.sentence,
        "ran": shop.ran,
    }


# plans

ONE = "    - {name: a, run: [x], verify: [y]}"


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("deploy: {scale: {run: [scale, all]}}", 0, "expected {share} or {percent}"),
        ("deploy:\n  start: {run: [start, '{share}']}", 1, "nothing stands for {share} here"),
        ("deploy:\n  capacity: {peak: 200/s, ready: up}", 1, "per_replica"),
        ("rollback:\n  steps:\n    - {name: a, run: [x]}", 2, "verify"),
        (f"rollback:\n  steps:\n{ONE}\n{ONE}", 3, "two steps are named 'a'"),
        ("schema: {expand: {run: [x]}, wait: 3d}", 0, "expected a contract"),
        ("prepared: {within: 30d, runbooks: []}", 0, "runbooks"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_line(text, line, why):
    with pytest.raises(ConfigError) as error:
        parse_plan(PLAN + text, "p.yaml")
    told = str(error.value)
    assert why in told
    assert f"p.yaml:{PLAN.count(chr(10)) + 1 + line}" in told


def test_a_whole_plan_is_taken():
    plan = parse_plan(PLAN + EVERYTHING + "prepared: {within: 30d, runbooks: [go-back]}", "p")
    assert plan.schema_change is not None and plan.schema_change.wait == 7 * 86400
    assert plan.prepared is not None and plan.prepared.within == 30 * 86400


def test_check_explains_what_happens_beyond_traffic():
    plan = parse_plan(PLAN + EVERYTHING + "prepared: {within: 30d, runbooks: [go-back]}", "p")
    told = dict(plan_rows(plan)[2][1])
    assert told["starts only if rehearsed"] == "go-back: run well within 30 days"
    assert told["a step waits for"].startswith("share x 260/s ready")
    assert told["back on stable, step 1"] == "rows: rows; verify: rows-verify; undo: rows-undo"
    assert told["schema, 7 days after promotion"] == "contract (at most 600 s)"


def test_people_hear_of_a_step_that_was_not_finished_after_a_retreat_too(tmp_path):
    text = QUICK.replace("blind: 60s", "blind: 8s")
    stage, shop, controller = made(tmp_path, STEPS, text)
    shop.fails["rows"] = 9
    begin = stage.clock.now()
    stage.world.silent = lambda now: now > begin + 6
    assert controller().drive() is Outcome.NOT_EVIDENCE
    events = list(stage.journal.events())
    told = [news(event, fold(events[:number])) for number, event in enumerate(events)]
    assert told[-1] is not None and "steps not finished: rows" in told[-1][1]
