"""What one poll is worth: log likelihood ratios of every gate's bets, all gates at once.

The forms stand in files of their own; here they meet the gates. Results are by the place of the gate in the
poll, and not yet divided by a dispersion.
"""

from __future__ import annotations

import numpy as np

from rollout.judge import conversion, error_ratio, latency, margin, no_worse, ramp, slo
from rollout.judge.arrays import Arms, Floats
from rollout.judge.layout import Layout
from rollout.judge.poll import Poll


def comparisons(poll: Poll) -> dict[int, Floats]:
    """Candidate against baseline, (B, S, J)."""
    found: dict[int, Floats] = {}
    layouts, ratios = poll.places.layouts, poll.places.ratios
    if ratios.places:
        n_c, x_c, n_b, x_b, _ = poll.counts(ratios)
        value = error_ratio.log_l(n_c, x_c, n_b, x_b, poll.places.ratio_r0)
        found.update({k: value[..., row, :] for row, k in enumerate(ratios.places)})
    if poll.places.slow.places:
        found.update(_slower(poll))
    for k, layout in enumerate(layouts):
        # These bet on a rate foreseen from the past; without a past there is no bet.
        if layout.spec.kind == "absolute-margin":
            found[k] = margin.log_l(*_plain(poll, k), layout.spec.margin)
        elif layout.spec.kind == "conversion":
            drop = conversion.log_l(*_plain(poll, k), layout.spec.ratio)
            found[k] = np.where(poll.past_n[..., k, None] > 0, drop, 0.0)
    return found


def _plain(poll: Poll, k: int) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    at = poll.places.first[k]
    return poll.n_c[..., k], poll.x_c[..., at], poll.n_b[..., k], poll.x_b[..., at], poll.past[..., at]


def _slower(poll: Poll) -> dict[int, Floats]:
    """At every bucket edge of every gate with a histogram."""
    group, layouts = poll.places.slow, poll.places.layouts
    value = latency.log_l(*poll.counts(group), poll.places.slow_r0)
    value = np.where((poll.past_n[..., group.gates] > 0)[..., None], value, 0.0)
    found, begin = {}, 0
    for k in group.places:
        end = begin + layouts[k].width
        found[k] = value[..., begin:end, :].reshape(*value.shape[:2], -1)
        begin = end
    return found


def limits(poll: Poll) -> dict[int, Floats]:
    """Candidate against an absolute limit, (B, S, J)."""
    found: dict[int, Floats] = {}
    for limit, group in poll.places.limits:
        value = slo.log_l(poll.n_c[..., group.gates], poll.x_c[..., group.columns], limit)
        found.update({k: value[..., row, :] for row, k in enumerate(group.places)})
    return found


def service(layout: Layout, arms: Arms) -> Floats:
    """Both arms together against the limit, and stable alone; (B, 2, J)."""
    assert layout.limit is not None
    x_c, x_b = (bad[..., layout.at_limit].sum(axis=1) for bad in (arms.x_c, arms.x_b))
    n_c, n_b = arms.n_c.sum(axis=1), arms.n_b.sum(axis=1)
    # Cause not separated means that stable fails too. Where stable serves nothing (share 100 %), the
    # candidate is the service.
    alone = n_b > 0
    n = np.array([n_c + n_b, np.where(alone, n_b, n_c)])
    x = np.array([x_c + x_b, np.where(alone, x_b, x_c)])
    return slo.log_l(n, x, layout.limit).transpose(1, 0, 2)


def harms(poll: Poll, shares: tuple[float, ...]) -> dict[int, Floats]:
    """Against every excess on the ramp's grid, (B, D)."""
    group, layouts = poll.places.harm, poll.places.layouts
    if not group.places:
        return {}
    sizes, d = ramp.grids(tuple(layouts[k].spec.harm for k in group.places), shares)
    n_c, x_c, n_b, x_b, b = (each.transpose(2, 0, 1) for each in poll.counts(group))
    value = ramp.log_excess(n_c, x_c, n_b, x_b, b, d[:, None, :])
    return {k: value[row, :, : sizes[row]] for row, k in enumerate(group.places)}


def proofs(layout: Layout, arms: Arms) -> Floats:
    """Form h, "no worse than": (B, J)."""
    spec, k = layout.spec, layout.at_promotion
    if spec.kind == "slo":
        assert spec.floor is not None
        value = no_worse.log_l_limit(arms.n_c, arms.x_c[..., k], spec.floor)
    else:
        value = no_worse.log_l(arms.n_c, arms.x_c[..., k], arms.n_b, arms.x_b[..., k], spec.promotion_ratio)
    result: Floats = value.sum(axis=1)
    return result
