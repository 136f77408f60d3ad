"""Where an account comes from: a rollout of this workspace, or an evidence file with its plan."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from huidu.foundation.errors import UsageError
from rollout.controller.fold import RolloutState
from rollout.controller.judgement import SAME
from rollout.dispersed import judged_with
from rollout.evidence_file import Recording, read_evidence
from rollout.explain.account import Account, account
from rollout.failing import capture, kept
from rollout.folder import journaled
from rollout.plan.file import load_plan, parse_plan
from rollout.replay import Replayed, config_of, replay


def of_evidence(path: Path, plan: Path | None) -> Account:
    """The account of a recording; without `plan`, by the journal that lies beside it. Raises ConfigError."""
    folder = path.parent
    if plan is None and (folder / "journal.sqlite").exists():
        return of_rollout(folder)
    if plan is None:
        raise UsageError(
            "an evidence file alone does not say by which plan it is to be judged",
            where=str(path),
            remedy="--plan PLAN, or the name of a rollout",
        )
    loaded = load_plan(plan)
    recording = read_evidence(path, loaded.gates)
    return account(replay(config_of(loaded, recording), recording, path), path.name)


def has_evidence(folder: Path, state: RolloutState) -> bool:
    """Whether anything was judged yet."""
    return state.judging is not None and state.evidence_lines > 0 and (folder / "evidence.jsonl").exists()


def of_rollout(folder: Path) -> Account:
    """The account of the rollout in `folder`. Raises UsageError where it has no evidence yet."""
    state = journaled(folder)
    if state is None:
        raise UsageError(f"no rollout has started in {folder}")
    evidence = folder / "evidence.jsonl"
    plan = parse_plan(str(state.started["plan_text"]), str(state.started["plan_file"]))
    if state.judging is None or not has_evidence(folder, state):
        raise UsageError(
            f"{folder.name} has no evidence yet: nothing was judged",
            remedy="huidu rollout status " + folder.name,
        )
    recording = _judged(read_evidence(evidence, plan.gates), state.evidence_lines)
    shares = tuple(state.judging["shares"])
    config = judged_with(plan, tuple(state.started["cohorts"]), shares, state.judging)
    replayed = replay(config, recording, evidence)
    outcome = state.outcome or state.resting or "running"
    # A rollout that ended or rests left it there; else it is asked for now, while something still knows it.
    failing = kept(folder) if state.outcome or state.resting else None
    failing = failing or capture(folder, state, time.time())
    return account(replayed, folder.name, outcome, state.sentence, _remarks(state, replayed), failing)


def _judged(recording: Recording, count: int) -> Recording:
    """Only what the journal says was judged; what stands behind it was gathered by a process that died."""
    if len(recording.intervals) <= count:
        return recording
    last = recording.intervals[count]
    end = next(number for number, record in enumerate(recording.records) if record is last)
    return dataclasses.replace(recording, records=recording.records[:end], lines=recording.lines[:end])


def _remarks(state: RolloutState, replayed: Replayed) -> list[str]:
    """Where the evidence gives other numbers today than were journaled."""
    now = replayed.looks[-1].verdict.gates
    return [
        f"judged again, {name} has log E {now[name].log_e:.6g}; the journal says {gate['log_e']:.6g}"
        for name, gate in state.last.get("gates", {}).items()
        if name in now and abs(now[name].log_e - gate["log_e"]) > SAME * max(1.0, abs(gate["log_e"]))
    ]
