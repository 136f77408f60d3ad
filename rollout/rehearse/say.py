"""A rehearsal in sentences. Pure."""

from __future__ import annotations

from rollout.rehearse.decide import words
from rollout.rehearse.run import BUDGET, GOOD, ODD, ODD_COHORT, Rehearsal


def conclusions(rehearsal: Rehearsal) -> list[str]:
    """What it comes to, in sentences."""
    good = rehearsal.release(GOOD)
    lines = [
        f"false rollback: {good.rolled_back:.1%} of {good.runs} good releases "
        f"(at most {good.rolled_back_upper:.1%} at 95 %); promised at most {rehearsal.alpha:.1%}"
    ]
    for each in rehearsal.releases:
        if each.name == BUDGET:
            lines.append(
                f"false promotion: {each.promoted:.1%} of {each.runs} releases with an {each.name}; "
                f"promised at most {rehearsal.beta:.0%}"
            )
    if good.median is None:
        lines.append(
            f"a good release is promoted in {good.promoted:.0%} of the rollouts; the others are held"
        )
    else:
        late = "not in 90 % of them" if good.ninetieth is None else f"90 % by {words(good.ninetieth)}"
        lines.append(f"a good release serves everybody after {words(good.median)} (median; {late})")
    lines += _comparison(rehearsal)
    lines += [
        f"{each.name}: rolled back in {each.rolled_back:.0%} of the rollouts, because a rollback also needs "
        f"the limit to be broken ({each.keeps})"
        for each in rehearsal.releases
        if each.keeps and each.rolled_back < 1
    ]
    lines += [gate.sentence for gate in rehearsal.gates if gate.cannot]
    lines += [f"{name}: a gauge, of which nothing is known before" for name in rehearsal.not_rehearsed]
    flow = rehearsal.flow
    assumed = [name for name, gate in flow.gates.items() if not gate.known]
    if assumed:
        lines.append(f"assumed, not measured: traffic or bad rate of {', '.join(assumed)} (--rate, --base)")
    return lines


def _comparison(rehearsal: Rehearsal) -> list[str]:
    """What the A/A stage is worth; nothing where the plan has none."""
    odd = [each for each in rehearsal.releases if each.name == ODD]
    if not odd:
        return []
    good = rehearsal.release(GOOD)
    return [
        f"the A/A stage stops {odd[0].retreated:.0%} of the rollouts whose first customers fail "
        f"{ODD_COHORT:g} times as often on stable already ({odd[0].rolled_back:.0%} are then rolled back "
        f"without any fault of the release), and {good.retreated:.1%} of those whose customers are alike"
    ]
