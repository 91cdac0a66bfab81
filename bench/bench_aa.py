"""False alarms and power of the comparison's statistics by simulation, beside the "more than 3 %" rule.

`python bench/bench_aa.py [--trials 2000]`. Runs are lognormal with 2 % and 5 % noise from run to run. False alarm: A
against A is called different; power: a true +5 % is. Must hold: the permutation test at most 5 % (within the error of
the simulation, printed); the naive rule has no such bound.
"""

from __future__ import annotations

import argparse

import numpy as np

from seatrial.measure.compare import statistics as s


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=2000)
    asked = parser.parse_args()
    print(f"{asked.trials} trials a row; one standard error at 5 % is {(0.05 * 0.95 / asked.trials) ** 0.5:.2%}")
    print("noise  runs a side   false alarms: permutation   >3 % rule   power at +5 %   power at +2 %   detectable")
    for noise in (0.02, 0.05):
        for runs in (4, 5, 8):
            dice = np.random.default_rng(1)
            false = naive = five = two = 0
            detectable = []
            for _ in range(asked.trials):
                a, b = dice.lognormal(0, noise, (2, runs))
                false += s._permutation(np, a, b, 0)[0] < s.ALPHA
                naive += abs(b.mean() / a.mean() - 1) > 0.03
                five += s._permutation(np, a, 1.05 * b, 0)[0] < s.ALPHA
                two += s._permutation(np, a, 1.02 * b, 0)[0] < s.ALPHA
                detectable.append(s._detectable(a, b))
            rates = [x / asked.trials for x in (false, naive, five, two)]
            print(
                f"{noise:5.0%}  {runs:11d}   {rates[0]:25.1%}   {rates[1]:9.1%}   {rates[2]:13.1%}   {rates[3]:13.1%}"
                f"   {np.median(detectable):10.1%}"
            )


if __name__ == "__main__":
    main()
