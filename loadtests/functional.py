"""The functional suite: every journey once, every answer checked; no rates, and a verdict of its own. Pure.

Implementation guides: functional tests are 30 % of the tests, beside stress and business scenarios. What is
judged is whether the service does its work, not how fast: PASS where every journey was made to its end and
every answer was right, FAIL where one was not, INVALID where a journey was not made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loadtests.checks import Check
from loadtests.health import SCOPE, WorkerEnd
from loadtests.journeys.catalogue import Journey
from loadtests.plan import Plan, Walk
from loadtests.profile import Stop
from loadtests.recording import Recording, broken_journeys
from loadtests.verdict import Word, in_order
from loadtests.wording import counted


def functional_plan(plan: Plan, every: Mapping[str, Journey]) -> Plan:
    """Each journey of each channel once as a known customer (where there are any), and once as anybody where
    anybody may make it. One walk is one bin of a second: where in the schedule it stands, not when."""
    walks: list[Walk] = []
    for channel in plan.channels:
        if channel.http:
            walks.append(Walk(channel=channel.name, journey="http", known=False))
        for name in channel.journeys:
            if plan.tokens is not None:
                walks.append(Walk(channel=channel.name, journey=name, known=True))
            if not every[name].known:
                walks.append(Walk(channel=channel.name, journey=name, known=False))
    return plan.model_copy(
        update={
            "kind": "functional",
            "walks": tuple(walks),
            "workers": 1,
            "duration": float(len(walks)),
            "warmup": 0.0,
            "bin": 1.0,
            "calibration": 0.0,
            "extend": 0.0,
            "looks": 1,
            "stop": Stop(windows=0),
        }
    )


def judge_functional(
    plan: Plan,
    recording: Recording,
    ends: Sequence[WorkerEnd],
    stopped: str = "",
    every: Mapping[str, Journey] | None = None,
) -> tuple[Word, list[Check]]:
    """The word, and one rule per walk. `every`: the journeys by name, to compare their number of requests."""
    walks = [_walk(plan, recording, place, walk, every or {}) for place, walk in enumerate(plan.walks)]
    sound = _sound(recording, ends, stopped)
    checks = [*sound, *walks]
    word: Word = "PASS"
    if any(check.state == "broken" for check in walks):
        word = "FAIL"  # a wrong answer is one, whatever became of the rest
    elif not walks or any(check.state == "invalid" for check in checks):
        word = "INVALID"
    if word == "PASS":
        requests = sum(int(each.measured or 0) for each in walks)
        were = "was" if len(walks) == 1 else "were"
        text = f"{counted(len(walks), 'journey')} of {counted(requests, 'request')} {were} made"
        walks.insert(0, _check("all", "kept", len(walks), f"{text}, every answer as it must be", len(walks)))
    return word, in_order(word, [*walks, *sound] if word != "INVALID" else checks)


def _walk(plan: Plan, recording: Recording, place: int, walk: Walk, every: Mapping[str, Journey]) -> Check:
    scope = f"{walk.channel}/{walk.title}"
    mine = {
        key[3]: cell for key, cell in recording.cells.items() if key[:3] == (place, walk.channel, walk.title)
    }
    whole = mine.pop("", None)
    requests = sum(cell.number for cell in mine.values())
    if whole is None:
        for broken in broken_journeys(recording):
            if (broken.channel, broken.journey) == (walk.channel, walk.title):
                return _check(scope, "invalid", None, broken.sentence)
        return _check(scope, "invalid", None, f"{scope}: was not made, or its end is not known: run it again")
    if whole.failed:
        reasons = [
            f"{step or 'the journey'}: {reason}"
            for (channel, journey, step, reason) in recording.failures
            if (channel, journey) == (walk.channel, walk.title)
        ]
        why = reasons[0] if reasons else "its reason was not recorded"
        return _check(scope, "broken", requests, f"{scope}: failed at request {requests}, {why}")
    steps = _steps(plan, walk, every)
    if steps is not None and requests != steps:
        stated = f"{steps} {'is' if steps == 1 else 'are'} stated"
        made = counted(requests, "request")
        text = f"{scope}: made {made} where {stated}: its rate would be wrong"
        return _check(scope, "broken", requests, text, steps)
    return _check(scope, "kept", requests, f"{scope}: made to its end, requests: {requests}", steps)


def _steps(plan: Plan, walk: Walk, every: Mapping[str, Journey]) -> int | None:
    if walk.journey == "http":
        return next((len(each.http) for each in plan.channels if each.name == walk.channel), None)
    return every[walk.journey].steps if walk.journey in every else None


def _sound(recording: Recording, ends: Sequence[WorkerEnd], stopped: str) -> list[Check]:
    """Whether the walks were made to the end, and by whom we think."""
    said = []
    if stopped:
        said.append(f"the run was ended early: {stopped}")
    end = next((each for each in ends if each.worker == 0), WorkerEnd(0, None, "was never started"))
    if 0 not in recording.finals:
        said.append(f"the final report is missing ({end.note or f'exit code {end.exit_code}'})")
    elif recording.finals[0] and not stopped:
        said.append("the walks were interrupted")
    elif end.exit_code != 0:
        said.append(f"the worker ended with exit code {end.exit_code} {end.note}".rstrip())
    if recording.damaged:
        said.append(f"{recording.damaged} lines of the recording are damaged")
    return [
        Check(
            rule="final report",
            scope=SCOPE,
            state="invalid",
            measured=None,
            allowed=None,
            sentence=f"{text}: run it again, to its end",
        )
        for text in said
    ]


def _check(
    scope: str, state: str, measured: float | None, sentence: str, allowed: float | None = None
) -> Check:
    return Check.model_validate(
        {
            "rule": "journey",
            "scope": scope,
            "state": state,
            "measured": measured,
            "allowed": allowed,
            "sentence": sentence,
        }
    )
