"""The permutation test against its definition, its rates of false alarms, ties, and what needs numpy."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.measure.made import side

from seatrial.core.errors import SeatrialError
from seatrial.measure.compare import statistics
from seatrial.measure.compare.statistics import compare, interleaved, is_tie
from seatrial.measure.compare.verdict import judge
from seatrial.measure.load.counters import speculative
from seatrial.measure.load.metrics import percentile

FIGURES = st.lists(st.floats(50, 150), min_size=4, max_size=6)


@settings(max_examples=25)
@given(FIGURES, FIGURES)
def test_p_is_the_share_of_deals_at_least_as_far_apart(a, b):
    pool, n = a + b, len(a)
    seen = abs(np.mean(a) - np.mean(b))
    count = hits = 0
    for chosen in itertools.combinations(range(len(pool)), n):
        left = [pool[i] for i in chosen]
        right = [pool[i] for i in range(len(pool)) if i not in chosen]
        count += 1
        hits += abs(np.mean(left) - np.mean(right)) >= seen * (1 - 1e-12) - 1e-12
    assert compare(a, b).p == pytest.approx(hits / count, abs=2 / count)


def test_four_runs_a_side_are_the_fewest_that_can_convince():
    assert compare([1, 1.01, 1.02], [2, 2.01, 2.02]).p is None
    assert compare([1, 1.01, 1.02, 1.03], [2, 2.01, 2.02, 2.03]).p == pytest.approx(2 / 70)
    judged = judge(side([100.0] * 3), side([200.0] * 3, label="B", **{"flag.x": "1"}), under_test=["flag.x"])
    assert judged.answer == "inconclusive"
    assert "no verdict under 4" in judged.reason


@pytest.mark.parametrize("size", [1e-3, 350.123, 1e4, 1e6])
@pytest.mark.parametrize("spread", [1e-2, 1e-4, 1e-6])
def test_rounding_never_makes_p_smaller_than_the_two_deals_that_were_seen(size, spread):
    dice = np.random.default_rng(1)
    for _ in range(20):
        low, high = dice.random((2, 4)) * spread
        assert compare(list(size * (1 + low)), list(size * (1 + 2 * spread + high))).p == pytest.approx(2 / 70)


@pytest.mark.parametrize("noise", [0.02, 0.05])
@pytest.mark.parametrize("runs", [4, 5])
def test_the_same_against_the_same_alarms_in_at_most_one_of_twenty(noise, runs):
    dice = np.random.default_rng(17)
    trials = 600
    alarms = 0
    for _ in range(trials):
        a, b = dice.lognormal(0, noise, (2, runs))
        alarms += (statistics._permutation(np, a, b, 0)[0]) < statistics.ALPHA
    # 5 % of 600 is 30; three standard errors above is 46.
    assert alarms <= 46


def test_a_true_change_of_five_percent_is_mostly_seen_at_two_percent_noise():
    dice = np.random.default_rng(3)
    seen = 0
    for _ in range(200):
        a, b = dice.lognormal(0, 0.02, 5), 1.05 * dice.lognormal(0, 0.02, 5)
        seen += statistics._permutation(np, a, b, 0)[0] < statistics.ALPHA
    assert seen > 160


def test_the_interval_and_the_detectable_effect_cover_the_noise():
    found = compare([100, 102, 98, 101], [110, 112, 108, 111])
    assert found.low < 0.1 < found.high
    assert found.change == pytest.approx(0.0998, abs=1e-3)
    assert 0 < found.detectable < 0.1


def test_many_runs_are_drawn_and_say_so():
    dice = np.random.default_rng(0)
    a, b = dice.lognormal(0, 0.02, (2, 14))
    found = compare(list(a), list(b * 1.2))
    assert not found.exact
    assert found.p < 0.001


@pytest.mark.parametrize("bad", [[], [0.0], [-1.0], [float("nan")], [float("inf")]])
def test_figures_that_are_none_are_refused(bad):
    with pytest.raises(ValueError, match="positive finite"):
        compare(bad, [1.0])


def test_a_tie_is_within_one_percent_in_every_pair_of_three_runs():
    assert is_tie([100, 101, 99], [100.5, 101.5, 98.5])
    assert not is_tie([100, 101], [100.5, 101.5])
    assert not is_tie([100, 101, 99], [99, 102, 100])
    judged = judge(
        side([100.0, 100.1, 99.9, 100.0]), side([100.5] * 4, label="B", **{"flag.x": "1"}), under_test=["flag.x"]
    )
    assert judged.answer == "inconclusive"
    assert "a tie within 1 %" in judged.reason


def test_worse_is_a_fail_with_the_other_side_as_winner():
    judged = judge(
        side([100.0, 101, 99, 100]), side([80.0, 81, 79, 80], label="B", **{"flag.x": "1"}), under_test=["flag.x"]
    )
    assert judged.answer == "fail"
    assert judged.winner == "A"


def test_runs_take_turns():
    assert interleaved(3) == "ABABAB"


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.floats(0, 100))
def test_percentiles_are_numpys(values, percent):
    assert percentile(sorted(values), percent) == pytest.approx(
        float(np.percentile(values, percent)), rel=1e-9, abs=1e-9
    )


def test_without_numpy_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(SeatrialError) as caught:
        compare([1.0, 2.0], [1.0, 2.0])
    assert "pip install 'seatrial[bench]'" in caught.value.one_line()


VLLM = "".join(
    f'vllm:spec_decode_num_{name}_total{{{{e="0"}}}} {{}}\n' for name in ("drafts", "draft_tokens", "accepted_tokens")
)


def test_the_accept_rate_is_accepted_over_drafted_between_two_looks():
    found = speculative(VLLM.format(10, 30, 20), VLLM.format(20, 60, 35), 3)
    assert found.accept_rate == 0.5
    assert found.tokens_per_iteration == 2.5
    assert found.note == ""


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (VLLM.format(20, 60, 35), VLLM.format(10, 30, 20), "backwards"),
        (VLLM.format(0, 0, 0), VLLM.format(1, 3, 9), "contradict"),
        ("", VLLM.format(1, 3, 2), "missing"),
        (VLLM.format(0, 0, 0), VLLM.format(0, 0, 0), "nothing was drafted"),
        (VLLM.format(0, 0, 0), VLLM.format(10, 300, 200), "cannot be with 3"),
    ],
)
def test_counters_that_cannot_be_are_named(before, after, words):
    found = speculative(before, after, 3)
    assert words in found.note


def test_a_server_without_such_counters_says_nothing():
    assert speculative("a 1\n", "a 2\n") is None


def test_xllms_own_page_is_read():
    text = "speculative_num_accepted_tokens_total : {}\nspeculative_num_draft_tokens_total : {}\n"
    assert speculative(text.format(0, 0), text.format(30, 60)).accept_rate == 0.5
