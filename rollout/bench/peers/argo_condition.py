"""successCondition and failureCondition of Argo Rollouts, over the answer of a Prometheus query.

The answer is a vector, so a condition indexes it: `result[0] >= 0.95`. As in argoproj/argo-rollouts,
utils/evaluate/evaluate.go and metricproviders/prometheus/prometheus.go:

- comparisons with NaN are false (only != is true);
- `result[0]` of an empty vector is an error (index out of range), and so is comparing the vector itself;
- `||` and `&&` stop at the first term that settles them, so `len(result) == 0 || result[0] >= 0.95`
  accepts an empty answer.

Understood: terms `result[0] OP number`, `result OP number`, `isNaN(result[0])`, `len(result) == 0`,
`len(result) > 0`, each of them with a leading `!` too, joined by `&&` and `||`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from huidu.foundation.errors import UsageError
from rollout.bench.peers.peer import Bools, Floats

Compare: TypeAlias = Callable[[Floats, float], Bools]

_COMPARE: dict[str, Compare] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
_COMPARISON = re.compile(rf"result(\[0\])?\s*(>=|<=|==|!=|>|<)\s*{_NUMBER}")
_NAN = re.compile(r"isNaN\(\s*result\[0\]\s*\)")
_LENGTH = re.compile(r"len\(\s*result\s*\)\s*(==|>)\s*0")


@dataclass(frozen=True, slots=True)
class _Term:
    """One term. `indexed` None: it asks for the length, which is never an error."""

    indexed: bool | None
    test: Callable[[Floats, Bools], Bools]
    negated: bool

    def evaluate(self, values: Floats, empty: Bools) -> tuple[Bools, Bools]:
        truth = self.test(values, empty) ^ self.negated
        if self.indexed is None:
            return truth, np.zeros_like(empty)
        return truth, empty.copy() if self.indexed else np.ones_like(empty)


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition, read: terms that must all be true, in alternatives of which one must be."""

    alternatives: tuple[tuple[_Term, ...], ...]

    def evaluate(self, values: Floats, empty: Bools) -> tuple[Bools, Bools]:
        """Where it is true, and where evaluating it is an error; all arrays of one shape."""
        holds = np.zeros_like(empty)
        error = np.zeros_like(empty)
        for alternative in self.alternatives:
            all_true = ~holds & ~error
            for term in alternative:
                truth, broken = term.evaluate(values, empty)
                error |= all_true & broken
                all_true &= truth & ~broken
            holds |= all_true
        return holds & ~error, error


@lru_cache(maxsize=256)
def condition(text: str) -> Condition:
    """Reads a condition as written in an AnalysisTemplate; UsageError when it is not of the forms above."""
    return Condition(
        tuple(
            tuple(_term(part.strip(), text) for part in alternative.split("&&"))
            for alternative in text.split("||")
        )
    )


def _term(text: str, whole: str) -> _Term:
    negated = text.startswith("!")
    body = text[1:].strip() if negated else text
    if match := _COMPARISON.fullmatch(body):
        compare, limit = _COMPARE[match[2]], float(match[3])
        return _Term(bool(match[1]), lambda values, _: compare(values, limit), negated)
    if _NAN.fullmatch(body):
        return _Term(True, lambda values, _: np.isnan(values), negated)
    if match := _LENGTH.fullmatch(body):
        wants_empty = match[1] == "=="
        return _Term(None, lambda _, empty: empty == wants_empty, negated)
    raise UsageError(
        f"the condition {whole!r} has a part that is not understood: {text!r}",
        remedy='write it like "result[0] >= 0.95", "isNaN(result[0])", "len(result) == 0", with && and ||',
    )
