"""Which acts the page offers for a rollout just now, and what each of them says before it is done. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from rollout.acts import Act
from rollout.controller.acting import going_back
from rollout.controller.fold import RolloutState
from rollout.controller.petition import approval_of, next_stage
from rollout.ladder import Ladder
from rollout.plan import Plan
from rollout.serve.words import Text, stage_name

_WORDS: Mapping[str, Mapping[str, tuple[str, str, str]]] = yaml.safe_load(
    Path(__file__).with_name("offers.yaml").read_text(encoding="utf-8")
)
_LOUD = ("abort", "promote-now", "adopt")


@dataclass(frozen=True, slots=True)
class Offer:
    """`kind`: an ActKind, or abort. `stage`: to be approved. `loud`: it changes what customers get."""

    kind: str
    label: Text
    means: Text
    button: Text
    stage: str = ""
    loud: bool = False


def offer(kind: str, stage: str = "", lacking: int = 0) -> Offer:
    """The words of one act. `lacking`: how many people have not approved the `stage`. KeyError: unknown."""
    named = stage_name(stage)
    people = "1 person" if lacking == 1 else f"{lacking} people"
    label, means, button = (
        Text(en.format(stage=named.en, lacking=people), zh.format(stage=named.zh, lacking=lacking))
        for en, zh in zip(*_WORDS[kind].values(), strict=True)
    )
    return Offer(kind, label, means, button, stage, kind in _LOUD)


STANDING = {kind: offer(kind) for kind in _WORDS if kind != "approve"}
"""Acts that a form may still ask for when they are no longer offered."""


def offers(
    plan: Plan | None, ladder: Ladder | None, state: RolloutState, emergency: bool, attended: bool = True
) -> tuple[Offer, ...]:
    """What may be done now, in the order of the page. `emergency`: one that nobody acknowledged; that stays
    to be done when the rollout is over. `attended`: whether a process drives it; else nothing widens."""
    if not state.started:
        return ()
    known = (STANDING["acknowledge"],) if emergency else ()
    if state.outcome:
        return known
    if going_back(state) or (state.closing is not None and not state.retreated):
        return (*known, STANDING["abort"])
    waiting = _approval(plan, ladder, state) if plan is not None and ladder is not None else ()
    adopt = (STANDING["adopt"],) if state.proxies.changed and not state.proxies.adopting else ()
    resume = (STANDING["resume"],) if state.paused_by else ()
    widening = (*(resume or (STANDING["pause"],)), STANDING["promote-now"]) if attended else resume
    return (*known, *adopt, *waiting, *widening, STANDING["abort"])


def unheard(said: Sequence[Act], state: RolloutState) -> list[Text]:
    """What waits for a controller's answer; an acknowledgement needs none, and what is over takes no act."""
    return [
        Text(
            f"{act.by}: {each.button.en}{_of(act.stage).en} ({act.why}). It is written down. No controller "
            "has answered yet: it will when one runs.",
            f"{act.by}：{each.button.zh}{_of(act.stage).zh}（{act.why}）。已写入，尚无控制进程答复；运行后将处理。",
        )
        for act in said
        if not state.outcome and act.kind != "acknowledge"
        for each in (STANDING.get(act.kind) or offer(act.kind, act.stage),)
    ]


def _of(stage: str) -> Text:
    named = stage_name(stage)
    return Text(f" “{named.en}”", f"“{named.zh}”") if stage else Text("", "")


def _approval(plan: Plan, ladder: Ladder, state: RolloutState) -> tuple[Offer, ...]:
    stage = next_stage(plan, ladder, state)
    if stage is None:
        return ()
    given = sum(name == stage.name for name, _ in state.approvals)
    return (offer("approve", stage.name, approval_of(plan, stage).needed - given),)
