"""A score against the value a receiving repository's test holds, judged as that test would.

The rules of vllm-ascend's `tests/e2e/models` (read 2026-11): `lm_eval` uses `numpy.isclose(value, expected,
rtol=0.05)`, which is two-sided, so an improvement by 6 % fails there; reward models pass from `0.95 * expected` up;
speech recognition passes up to a word error rate of `1.03 * expected`.
"""

from __future__ import annotations

from collections.abc import Callable

from seatrial.core.errors import UsageError
from seatrial.core.record import Record
from seatrial.core.verdict import Outcome, failed, passed

ATOL = 1e-8  # numpy.isclose's default


class Rule(Record):
    """`accepts(value, expected, tolerance)`; `tolerance` is the repository's own number."""

    name: str
    says: str
    tolerance: float
    accepts: Callable[[float, float, float], bool]


RULES = {
    "lm-eval": Rule(
        name="lm-eval",
        says="|value - expected| <= 1e-8 + {0} * |expected| (two-sided: better also fails)",
        tolerance=0.05,
        accepts=lambda value, expected, rtol: abs(value - expected) <= ATOL + rtol * abs(expected),
    ),
    "reward-model": Rule(
        name="reward-model",
        says="value >= (1 - {0}) * expected",
        tolerance=0.05,
        accepts=lambda value, expected, share: value >= (1 - share) * expected,
    ),
    "asr": Rule(
        name="asr",
        says="word error rate <= (1 + {0}) * expected",
        tolerance=0.03,
        accepts=lambda value, expected, share: value <= (1 + share) * expected,
    ),
}


def judge(value: float, expected: float, rule: str, tolerance: float | None = None) -> Outcome:
    """Would the repository's test accept the value? Raises UsageError for an unknown rule or unlike scales."""
    if rule not in RULES:
        raise UsageError(f"there is no tolerance rule {rule!r}", mend=f"Known: {', '.join(sorted(RULES))}.")
    chosen = RULES[rule]
    if (
        (value > 1.5) != (expected > 1.5)
        and min(value, expected) > 0
        and max(value, expected) / min(value, expected) > 20
    ):
        raise UsageError(
            f"{value:g} and {expected:g} look like a percentage and a fraction", mend="Give both on the same scale."
        )
    bound = chosen.tolerance if tolerance is None else tolerance
    says = chosen.says.format(f"{bound:g}")
    if chosen.accepts(value, expected, bound):
        return passed(f"{value:g} against {expected:g}: {says}")
    higher = rule == "lm-eval" and value > expected
    note = "; if higher is better for this metric, the value held there can be raised" if higher else ""
    return failed(f"{value:g} against {expected:g}: {says} does not hold{note}")
