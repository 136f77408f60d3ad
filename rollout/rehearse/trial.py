"""The A/A stage of a rehearsal: how soon would the first customers be told apart from the others?

Both groups are served by stable, so it is a little simulation of its own, before there is any candidate.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from rollout.judge import (
    Arms,
    BatchEvidence,
    GateEvidence,
    JudgeConfig,
    numbers,
    observe,
    start,
)
from rollout.judge.aa import REVERSED, both_ways, compared_gates
from rollout.judge.arrays import Floats
from rollout.plan import Plan
from rollout.rehearse.draw import Defect, Source, drawn
from rollout.rehearse.flow import Flow
from rollout.sources import testers_count

FINENESS = 60
"""Looks in the stage at most; more would only name the moment more finely."""


def told_apart(
    plan: Plan,
    flow: Flow,
    config: JudgeConfig,
    found: list[Source],
    weights: Floats,
    odd: Defect,
    random: np.random.Generator,
    runs: int,
) -> Floats:
    """Seconds into the A/A stage until they are found to differ, (runs,), infinite where they are not.

    `weights` (S,): the parts of the cohorts that are chosen first; `odd`: what is wrong with them by
    themselves. Only gates that count by the proxy's clusters can compare.
    """
    never = np.full(runs, np.inf)
    able = {spec.name for spec in compared_gates(config) if testers_count(plan.gates[spec.name])}
    compared = [each for each in found if each.spec.name in able]
    if plan.comparison is None or not compared:
        return never
    parts = np.array(list(flow.cohorts.values()))
    both = both_ways(dataclasses.replace(config, strata=tuple(flow.cohorts)))
    poll = plan.observation.poll
    seconds = poll * max(1, round(plan.comparison.bake / poll / FINENESS))
    state, differ, t = start(both, runs), never, plan.observation.settle
    while t < plan.comparison.bake - 1e-9:
        length = min(seconds, plan.comparison.bake - t)
        n = np.broadcast_to(flow.rate * parts * length, (runs, parts.size))
        arms = drawn(compared, random, n * weights, n * (1.0 - weights), odd)
        evidence = {}
        for source in compared:
            name, each = source.spec.name, arms[source.spec.name]
            mirrored = Arms(each.n_b, each.x_b, each.n_c, each.x_c)
            for way, counts in ((name, each), (name + REVERSED, mirrored)):
                evidence[way] = GateEvidence(t, t + length, counts, source.edges)
        state = observe(both, state, BatchEvidence(evidence))
        t += length
        differ = np.where(numbers(both, state).rollback, np.minimum(differ, t), differ)
    return differ
