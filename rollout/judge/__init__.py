"""The judge: evidence in, verdict out. Pure; time is an argument.

    config = JudgeConfig(gates=(GateSpec("errors"),), strata=("high", "standard"))
    state = start(config)
    state, verdict = judge_intervals(config, state, intervals, now)   # after every poll
    state = mark_step(state)                                          # after every change of the share

`verdict.decision`: ROLLBACK beats everything. HOLD with `blamed` set and `share_allowed` 0 is the `service`
gate: both arms fail, the share goes to 0, and a person looks. ADVANCE: the evidence bears
`verdict.share_allowed`, more than the candidate has; at `max_share` it means promote. NOT_EVIDENCE: there is
nothing to judge by.

The bench drives `observe` and `numbers` with thousands of rollouts side by side (arrays.py).
"""

from __future__ import annotations

from rollout.judge.arrays import Arms
from rollout.judge.decide import GateNumbers, Numbers, bound, numbers
from rollout.judge.gate import GateSpec, JudgeConfig
from rollout.judge.observe import BatchEvidence, GateEvidence, mark_step, observe, start
from rollout.judge.ramp import next_share
from rollout.judge.state import GateState, State
from rollout.judge.verdict import judge_intervals

__all__ = [
    "Arms",
    "BatchEvidence",
    "GateEvidence",
    "GateNumbers",
    "GateSpec",
    "GateState",
    "JudgeConfig",
    "Numbers",
    "State",
    "bound",
    "judge_intervals",
    "mark_step",
    "next_share",
    "numbers",
    "observe",
    "start",
]
