"""`huidu rollout replay`: thin; read, judge again, print."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from huidu.foundation.document import parse_duration
from huidu.foundation.errors import UsageError
from huidu.foundation.terminal import Terminal
from huidu.model.evidence import Counts
from rollout.evidence_file import Recording, format_time, read_evidence
from rollout.explain.account import counted_until
from rollout.judge.explain import count
from rollout.plan.file import load_plan, plan_hash, plan_text
from rollout.replay import Replayed, config_of, log_e_by_interval, sentence_of
from rollout.replay import replay as judge_again

if TYPE_CHECKING:
    from rollout.replay_peers import PeerName, PeerReplay

INTERVALS = {"flagger": 60.0, "argo": 300.0, "kayenta": 3600.0}
"""Seconds, as documented: Flagger's interval 1m, Argo's template 5m, Spinnaker's best practices 1 h."""


@click.command()
@click.argument("evidence", type=click.Path(path_type=Path))
@click.option("--plan", required=True, type=click.Path(path_type=Path), help="A file, or a plan that ships.")
@click.option("--as", "peer", type=click.Choice(list(INTERVALS)), help="What that tool would have done.")
@click.option("--interval", help="With --as: the tool's interval, e.g. 1m (default: as it is documented).")
@click.option("--json", "as_json", is_flag=True, help="Print every log E to standard output.")
def replay(evidence: Path, plan: Path, peer: PeerName | None, interval: str | None, as_json: bool) -> None:
    """Judge recorded EVIDENCE again by PLAN; exit 0 advance, 1 rollback, 3 hold, 4 not evidence."""
    terminal = Terminal(sys.stdout)
    loaded = load_plan(plan)
    recording = read_evidence(evidence, loaded.gates)
    if recording.header and recording.header.plan not in ("", plan_hash(plan_text(plan))):
        Terminal().say("note: it was recorded under another plan (or another wording of it)", "yellow")
    config = config_of(loaded, recording)
    replayed = judge_again(config, recording, evidence)
    if peer is not None:
        from rollout.replay_peers import replay_as  # scipy.stats takes half a second to import

        asked = replay_as(peer, config, recording.intervals, _seconds(interval) or INTERVALS[peer])
        if as_json:
            click.echo(json.dumps(peer_as_json(asked, replayed)))
        else:
            _tell_peer(terminal, peer, asked, replayed)
        raise SystemExit(asked.outcome.code)
    if as_json:
        click.echo(json.dumps(as_plain(replayed)))
    else:
        _tell(terminal, replayed, recording)
    raise SystemExit(replayed.outcome.code)


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        found = float(parse_duration(text))
    except ValueError:
        raise UsageError(f"--interval {text!r} is not a duration", remedy="e.g. 30s, 1m, 1h") from None
    if not 0 < found < float("inf"):
        raise UsageError(f"--interval {text!r} is not possible", remedy="e.g. 30s, 1m, 1h")
    return found


def as_plain(replayed: Replayed) -> dict[str, Any]:
    """For pipelines. `log_e`: one value for each interval of the gate, `t` when it ended. `canary` and
    `baseline` were judged; `counted`: all that the evidence holds until then, one arm alone as well."""
    last = replayed.looks[-1].verdict.gates
    at_decision = replayed.decided.verdict.gates
    gates = {}
    seen = counted_until(replayed)
    for name, values in log_e_by_interval(replayed).items():
        now = at_decision[name]
        gates[name] = {
            "log_e": [value for _, value in values],
            "t": [format_time(t) for t, _ in values],
            "bound": last[name].bound,
            "decision": now.decision.value,
            "harm_upper": now.harm_upper,
            "canary": {"total": now.canary.total, "bad": now.canary.bad},
            "baseline": {"total": now.baseline.total, "bad": now.baseline.bad},
            "counted": {arm: {"total": of.total, "bad": of.bad} for arm, of in seen[name].items()},
            "stratum": now.stratum,
            "dispersion": now.dispersion,
            "dispersion_from": now.dispersion_from,
            "sentence": now.sentence,
        }
    return {
        "verdict": replayed.verdict,
        "decided": format_time(replayed.decided.t),
        "blamed_gate": replayed.decided.verdict.blamed,
        "share": replayed.decided.share,
        "share_from": replayed.share_from,
        "share_allowed": replayed.decided.verdict.share_allowed,
        "sentence": sentence_of(replayed),
        "gates": gates,
    }


def peer_as_json(asked: PeerReplay, replayed: Replayed) -> dict[str, Any]:
    """The tool's way, and when this judge decided."""
    decision = asked.decision
    return {
        "as": decision.peer,
        "settings": asked.settings,
        "verdict": decision.outcome.word,
        "seconds": decision.at,
        "why": decision.why,
        "moments": [{"t": m.at, "weight": m.weight, "sentence": m.sentence} for m in decision.moments],
        "assumed": asked.assumed,
        "huidu": {"verdict": replayed.verdict, "seconds": replayed.decided.t - asked.started},
    }


def _tell(terminal: Terminal, replayed: Replayed, recording: Recording) -> None:
    rows = []
    seen = counted_until(replayed)
    for name, values in log_e_by_interval(replayed).items():
        gate = replayed.decided.verdict.gates[name]
        rows.append(
            (
                name,
                str(len(values)),
                _counts(gate.canary, seen[name]["canary"]),
                _counts(gate.baseline, seen[name]["baseline"]),
                f"{gate.log_e:.3f}",
                f"{gate.bound:.3f}",
                f"{gate.dispersion:g} ({gate.dispersion_from})",
            )
        )
    terminal.table(
        ("gate", "intervals", "bad in the candidate", "bad in stable", "log E", "bound", "dispersion"), rows
    )
    out = sum(1 for interval in recording.intervals if interval.excluded)
    if out:
        intervals = len(recording.intervals)
        was = "interval was" if intervals == 1 else "intervals were"
        terminal.say(f"{out} of {intervals} {was} left out")
    at = format_time(replayed.decided.t)
    terminal.say(f"{replayed.verdict} at {at}: {sentence_of(replayed)}", "bold")
    terminal.say(f"share {replayed.decided.share:.2%}, taken from {replayed.share_from}")


def _counts(judged: Counts, seen: Counts) -> str:
    """What was judged; where nothing was, what the evidence holds."""
    if judged.total > 0:
        return f"{count(judged.bad)} of {count(judged.total)}"
    return f"{count(seen.bad)} of {count(seen.total)}, not used" if seen.total > 0 else "nothing"


def _tell_peer(terminal: Terminal, name: PeerName, asked: PeerReplay, replayed: Replayed) -> None:
    decision = asked.decision
    terminal.say(f"{decision.peer}, {asked.settings}")
    rows = [
        (f"{m.at:.0f} s", "-" if m.weight is None else f"{m.weight:g} %", m.sentence)
        for m in decision.moments
    ]
    terminal.table(("after", "weight", "what it does"), rows)
    terminal.say(f"{decision.outcome.word} after {decision.at:.0f} s: {decision.why}", "bold")
    if decision.outcome.word == "running":
        terminal.say(
            f"documented interval: {INTERVALS[name]:g} s; --interval 30s shows what a shorter one does"
        )
    seconds = replayed.decided.t - asked.started
    if asked.assumed:
        terminal.say(f"note: {asked.assumed}")
    terminal.say(f"huidu: {replayed.verdict} after {seconds:.0f} s: {sentence_of(replayed)}")
