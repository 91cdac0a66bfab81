"""Is a difference between two sets of runs more than their noise? On run-level means, exactly, with numpy only.

The unit is a run, since requests of one run share its luck: the permutation test goes through every way in which the
runs could have been dealt to the two sides (Fisher; exact, two-sided, on the difference of means). Under four runs a
side no such test can reach p < 0.05 (2 / C(6, 3) = 0.1), so there is no verdict. The interval is a percentile bootstrap
of the ratio of means, the minimum detectable effect the smallest change a test of this size and noise would see with
80 % power (normal approximation, 2.8 standard errors for alpha 0.05).
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from seatrial.core.errors import SeatrialError
from seatrial.core.record import Record

if TYPE_CHECKING:
    import numpy

ALPHA = 0.05
FEWEST = 4
TIE = 0.01
TIE_RUNS = 3
POWER_FACTOR = 1.959964 + 0.841621  # z for alpha 0.05 two-sided, plus z for 80 % power
EXACT_UP_TO = 200_000  # ways to deal the runs; 10 + 10 are 184,756
DRAWN = 20_000
RESAMPLED = 4_000
ROUNDING = 1e-12


class Comparison(Record):
    """B against A of one figure. `change` is (mean B - mean A) / mean A; the interval and `detectable` are fractions.

    `p` None: under four runs a side. `exact` false: the ways were drawn, not counted. `cv_*` is the run-to-run
    coefficient of variation.
    """

    n_a: int
    n_b: int
    mean_a: float
    mean_b: float
    change: float
    low: float | None
    high: float | None
    p: float | None
    exact: bool
    detectable: float | None
    cv_a: float | None
    cv_b: float | None


def load_numpy() -> Any:
    """numpy, or an error that says how to get it."""
    try:
        import numpy
    except ImportError as exc:
        raise SeatrialError(
            "comparing runs needs numpy, which is not installed", mend="pip install 'seatrial[bench]'"
        ) from exc
    return numpy


def compare(a: Sequence[float], b: Sequence[float], *, seed: int = 0) -> Comparison:
    """Two sides' run-level figures; raises ValueError for an empty side or what is no positive finite number."""
    for side in (a, b):
        if not side or not all(math.isfinite(v) and v > 0 for v in side):
            raise ValueError("a side's figures must be positive finite numbers, at least one")
    np = load_numpy()
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    mean_a, mean_b = float(x.mean()), float(y.mean())
    enough = min(len(a), len(b)) >= FEWEST
    p, exact = _permutation(np, x, y, seed) if enough else (None, True)
    low, high = _bootstrap(np, x, y, seed) if min(len(a), len(b)) >= 2 else (None, None)
    return Comparison(
        n_a=len(a),
        n_b=len(b),
        mean_a=mean_a,
        mean_b=mean_b,
        change=(mean_b - mean_a) / mean_a,
        low=low,
        high=high,
        p=p,
        exact=exact,
        detectable=_detectable(x, y) if min(len(a), len(b)) >= 2 else None,
        cv_a=float(x.std(ddof=1)) / mean_a if len(a) > 1 else None,
        cv_b=float(y.std(ddof=1)) / mean_b if len(b) > 1 else None,
    )


def _permutation(np: Any, x: numpy.ndarray, y: numpy.ndarray, seed: int) -> Any:
    """(p, exact): the share of deals whose difference of means is at least the one seen."""
    pool = np.concatenate([x, y])
    n, m = len(x), len(y)
    total = float(pool.sum())
    seen = abs(x.mean() - y.mean())
    # Deals that differ only by rounding count as equal, in favour of "no difference". The rounding is that of sums of
    # the figures, so it goes by their size, however small the difference is.
    floor = seen - ROUNDING * float(np.abs(pool).max())
    if math.comb(n + m, n) <= EXACT_UP_TO:
        rows = np.fromiter(itertools.chain.from_iterable(itertools.combinations(range(n + m), n)), dtype=np.int32)
        sums = pool[rows.reshape(-1, n)].sum(axis=1)
        differences = np.abs(sums / n - (total - sums) / m)
        return float((differences >= floor).mean()), True
    dice = np.random.default_rng(seed)
    order = dice.permuted(np.tile(pool, (DRAWN, 1)), axis=1)
    sums = order[:, :n].sum(axis=1)
    differences = np.abs(sums / n - (total - sums) / m)
    return float(((differences >= floor).sum() + 1) / (DRAWN + 1)), False


def _bootstrap(np: Any, x: numpy.ndarray, y: numpy.ndarray, seed: int) -> Any:
    dice = np.random.default_rng(seed)
    means_a = x[dice.integers(0, len(x), (RESAMPLED, len(x)))].mean(axis=1)
    means_b = y[dice.integers(0, len(y), (RESAMPLED, len(y)))].mean(axis=1)
    low, high = np.quantile(means_b / means_a - 1, [0.025, 0.975])
    return float(low), float(high)


def _detectable(x: numpy.ndarray, y: numpy.ndarray) -> float:
    error = math.sqrt(float(x.var(ddof=1)) / len(x) + float(y.var(ddof=1)) / len(y))
    return POWER_FACTOR * error / float(x.mean())


def is_tie(a: Sequence[float], b: Sequence[float]) -> bool:
    """Within 1 %, stable over at least three runs a side: means and every pair of runs in their order."""
    if min(len(a), len(b)) < TIE_RUNS or len(a) != len(b):
        return False
    means = abs(sum(b) / len(b) / (sum(a) / len(a)) - 1)
    return means <= TIE and all(abs(y / x - 1) <= TIE for x, y in zip(a, b, strict=True))


def interleaved(runs: int) -> str:
    """The order of `runs` a side: A B A B …, so that a drift of the machine falls on both."""
    return "AB" * runs


def resample_order(seed: int, runs: int) -> str:
    """A balanced random order in pairs (AB or BA), for machines whose drift keeps time with the runs."""
    dice = random.Random(seed)  # noqa: S311
    return "".join(dice.choice(("AB", "BA")) for _ in range(runs))
