"""How far two next-token distributions are apart, position by position, and whether that is rounding.

The truth is the reference one precision higher than the serving dtype; the *noise* is the reference in the serving
dtype against that truth; the engine is judged by its distance in units of that noise. So nothing is assumed of a
model's depth or of its logits' scale.

KL(truth ‖ other) is taken over the engine's best candidates and one bucket for the rest: by the data-processing
inequality a lower bound of the full divergence, and the same coarse-graining for engine and noise. It is quadratic in a
small error, so amplitudes are square roots.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from seatrial.core.record import Record

QUANTILES = (0.5, 0.75, 0.9)
# Amplitude in units of noise beyond which it is no rounding: bench/accuracy_faults.py shows what good engines measure.
LIMIT = 1.8
# A position is *far* beyond this many times the noise's 90 % quantile (amplitude). A router's near-tie that falls the
# other way makes a position far without any fault, in the noise as in the engine; so their numbers are compared.
FAR = 5.0
SMALLEST = 1e-15  # below this a KL is the rounding of our own sums
FEWEST = 20  # positions; with fewer the quantiles say nothing
MOST = 1e9  # nats; a distance to what is no number, which no document can hold, is kept as this


class Band(Record):
    """The distances of one part (`prefill`, `decode`). `engine` and `noise` are KL at QUANTILES and the largest.

    `amplitudes`: engine over noise at QUANTILES, each against the noise's quantile two standard errors of rank higher.
    `far`, `noise_far`: positions FAR from the truth, of the engine and of the noise.
    """

    part: str
    positions: int
    engine: tuple[float, ...]
    noise: tuple[float, ...]
    amplitudes: tuple[float, ...]
    far: int
    noise_far: int

    @property
    def worst(self) -> float:
        return max(self.amplitudes, default=0.0)

    @property
    def judged(self) -> bool:
        return self.positions >= FEWEST

    @property
    def out(self) -> bool:
        """Is it more than rounding?"""
        return self.judged and (self.worst > LIMIT or self.far_is_more)

    @property
    def far_is_more(self) -> bool:
        """More far positions than chance would make of the noise's number (three Poisson deviations, and three)."""
        return self.far > self.noise_far + 3 * math.sqrt(self.noise_far + 1) + max(3.0, 0.02 * self.positions)


def kl(truth: Sequence[float], other: Sequence[float]) -> float:
    """Nats, from log-probabilities of the same candidates in the same order; infinite if `other` is not a number."""
    if any(math.isnan(x) for x in (*truth, *other)):
        return math.inf
    p = [math.exp(x) for x in truth]
    q = [math.exp(x) for x in other]
    total = sum(a * (x - y) for a, x, y in zip(p, truth, other, strict=True) if a > 0)
    rest_p, rest_q = 1.0 - math.fsum(p), 1.0 - math.fsum(q)
    if rest_p > 1e-9 and rest_q > 1e-9:
        total += rest_p * math.log(rest_p / rest_q)
    elif rest_p > 1e-6:
        total += rest_p * math.log(rest_p / 1e-9)
    return max(total, 0.0)


def band(part: str, engine: Sequence[float], noise: Sequence[float]) -> Band:
    """Judge KLs of the same positions. Where the noise is no number there is nothing to judge by: it is left out."""
    known = [(min(e, MOST), n) for e, n in zip(engine, noise, strict=True) if n < MOST]
    engine, noise = [e for e, _ in known], [n for _, n in known]
    count = len(engine)
    if not count:
        return Band(part=part, positions=0, engine=(), noise=(), amplitudes=(), far=0, noise_far=0)
    e, n = sorted(engine), sorted(noise)
    amplitudes = []
    for share in QUANTILES:
        higher = min(1.0, share + 2 * math.sqrt(share * (1 - share) / count))
        amplitudes.append(_amplitude(_at(e, share), _at(n, higher)))
    border = max(_at(n, 0.9), SMALLEST) * FAR**2
    return Band(
        part=part,
        positions=count,
        engine=(*(_at(e, share) for share in QUANTILES), e[-1]),
        noise=(*(_at(n, share) for share in QUANTILES), n[-1]),
        amplitudes=tuple(amplitudes),
        far=sum(x > border for x in e),
        noise_far=sum(x > border for x in n),
    )


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _amplitude(engine: float, noise: float) -> float:
    return min(math.sqrt(max(engine, SMALLEST) / max(noise, SMALLEST)), 1e6)
