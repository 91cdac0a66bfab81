"""Two runs over the same questions, and a score against what a repository's test holds."""

from __future__ import annotations

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.core.errors import UsageError
from seatrial.core.record import replace
from seatrial.core.verdict import Verdict
from seatrial.measure.accuracy.compare import compare, mcnemar
from seatrial.measure.accuracy.records import DatasetConfig
from seatrial.measure.accuracy.run import AccuracyRun, tally
from seatrial.measure.accuracy.tolerance import judge


@pytest.fixture
def run(prediction, request_config):
    def make(statuses, *, repeats=1, partial="", prompts=None, **request):
        rows = []
        for number, status in enumerate(statuses):
            for repeat in range(repeats):
                this = status[repeat] if isinstance(status, (list, tuple)) else status
                more = {"prompt": prompts[number]} if prompts else {}
                rows.append(prediction(str(number), status=this, subset="ab"[number % 2], repeat=repeat, **more))
        return AccuracyRun(
            request=replace(request_config, **request),
            dataset=DatasetConfig(name="d", source="d"),
            predictions=tuple(rows),
            score=tally("r", "L4", rows, partial=partial),
        )

    return make


def test_mcnemar_is_the_exact_binomial_test():
    # 9 lost, 1 won: p = 2 * (C(10,0) + C(10,1)) / 2**10, by hand 0.021484375.
    assert mcnemar([(True, False)] * 9 + [(False, True)]).p == 0.021484375
    assert mcnemar([(True, True)] * 5).p == 1.0


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_symmetric_and_a_probability(lost, won):
    one = mcnemar([(True, False)] * lost + [(False, True)] * won)
    two = mcnemar([(False, True)] * lost + [(True, False)] * won)
    assert one.p == two.p
    assert 0 < one.p <= 1
    n = lost + won
    assert one.p >= min(1.0, comb(n, min(lost, won)) / 2**n)


def test_many_lost_answers_fail_and_none_pass(run):
    good = run(["correct"] * 40)
    assert compare(good, good).outcome.verdict is Verdict.PASS
    result = compare(good, run(["wrong"] * 10 + ["correct"] * 30))
    assert result.outcome.verdict is Verdict.FAIL
    assert result.facts.test.lost == 10
    assert [(s.name, s.questions) for s in result.facts.subsets] == [("a", 20), ("b", 20)]


def test_a_few_lost_answers_are_inconclusive_not_a_pass(run):
    result = compare(run(["correct"] * 20), run(["wrong"] * 3 + ["correct"] * 17))
    assert result.outcome.verdict is Verdict.INCONCLUSIVE
    assert "too few" in result.outcome.reason


def test_an_improvement_passes(run):
    assert compare(run(["wrong"] * 10), run(["correct"] * 10)).outcome.verdict is Verdict.PASS


def test_extraction_failures_are_told_from_wrong_answers(run):
    result = compare(run(["correct"] * 20), run(["not-extracted"] * 8 + ["correct"] * 12))
    assert {c.kind for c in result.facts.changed} == {"extraction"}
    assert "A302" in {f.code for f in result.findings}


def test_a_question_without_an_answer_is_left_out_and_the_run_is_partial(run):
    result = compare(run(["correct"] * 20), run(["no-answer"] * 8 + ["correct"] * 12, partial="the server died"))
    assert result.facts.questions == 12
    assert result.facts.test.lost == 0
    assert result.outcome.verdict is Verdict.INCONCLUSIVE
    assert "server died" in result.outcome.reason


def test_a_repeat_without_an_answer_makes_no_question_bad_or_unstable(run):
    mixed = [["no-answer"] * 3, ["correct", "no-answer", "correct"], ["wrong", "no-answer", "wrong"], ["correct"] * 3]
    result = compare(run([["correct"] * 3] * 4, repeats=3), run(mixed, repeats=3, partial="some lost"))
    assert (result.facts.stable_bad, result.facts.unstable) == (("2",), ())


def test_scores_of_no_question_are_unknown_and_no_zero(run):
    result = compare(run(["no-answer"] * 3, partial="gone"), run(["correct"] * 3))
    assert (result.facts.first_score, result.facts.second_score) == (None, None)
    assert result.summary.startswith("0 questions: unknown -> unknown, ")
    assert result.outcome.verdict is Verdict.INCONCLUSIVE


def test_repeats_give_stable_and_unstable_bad_cases(run):
    mixed = [["wrong"] * 3, ["correct", "wrong", "correct"], ["correct"] * 3]
    result = compare(run([["correct"] * 3] * 3, repeats=3), run(mixed, repeats=3))
    assert result.facts.stable_bad == ("0",)
    assert result.facts.unstable == ("1",)
    assert result.facts.test.lost == 1


def test_other_settings_are_shown(run):
    result = compare(run(["correct"] * 8), run(["correct"] * 8, temperature=0.6))
    assert [f.code for f in result.findings] == ["A301"]
    assert "temperature" in result.findings[0].message


def test_a_temperature_that_nobody_states_is_unknown_and_no_zero(run):
    unsaid = run(["correct"] * 8, temperature=None)
    told = compare(run(["correct"] * 8), unsaid).facts.differences
    assert told == ("temperature is 0.0 in the first run, unknown in the second",)
    assert compare(unsaid, unsaid).facts.differences == ("temperature is unknown in both runs",)


def test_other_questions_are_refused(run, prediction):
    with pytest.raises(UsageError, match="other words"):
        compare(run(["correct"] * 2, prompts=["a", "b"]), run(["correct"] * 2, prompts=["c", "d"]))
    other = run(["correct"])
    moved = replace(other, predictions=(replace(other.predictions[0], id="x"),))
    with pytest.raises(UsageError, match="no question in common"):
        compare(other, moved)


def test_what_changed_is_what_the_repeats_say_together(run):
    first = [["wrong", "correct", "correct"]] + [["correct"] * 3] * 7
    second = [["correct", "wrong", "not-extracted"]] + [["correct"] * 3] * 7
    facts = compare(run(first, repeats=3), run(second, repeats=3)).facts
    assert (facts.test.lost, facts.test.won) == (1, 0)
    (changed,) = facts.changed
    assert (changed.how, changed.kind) == ("lost", "answer")


def test_what_counts_as_too_few_goes_by_alpha(run):
    # Seven lost and none won: p = 0.0156, the least that seven can give, is no loss at 1 % and no proof of none either.
    sides = run(["correct"] * 20), run(["wrong"] * 7 + ["correct"] * 13)
    assert compare(*sides).outcome.verdict is Verdict.FAIL
    result = compare(*sides, alpha=0.01)
    assert result.outcome.verdict is Verdict.INCONCLUSIVE
    assert "too few" in result.outcome.reason


@pytest.mark.parametrize("number", [1, 5])
def test_so_few_questions_that_no_loss_could_show_prove_nothing(run, number):
    same = run(["correct"] * number)
    result = compare(same, same)
    assert result.outcome.verdict is Verdict.INCONCLUSIVE
    assert f"{number} questions" in result.outcome.reason


def test_two_runs_without_one_right_answer_prove_nothing(run):
    bad = run(["wrong"] * 20)
    result = compare(bad, bad)
    assert result.outcome.verdict is Verdict.INCONCLUSIVE
    assert "no question is right in either run" in result.outcome.reason


def test_questions_with_other_words_are_no_pairs(run):
    words = [f"question {n}" for n in range(20)]
    first = run(["correct"] * 20, prompts=words)
    second = run(["correct"] * 14 + ["wrong"] * 6, prompts=[*words[:14], *(f"other {n}" for n in range(6))])
    result = compare(first, second)
    assert (result.facts.questions, result.facts.test.lost) == (14, 0)
    assert result.outcome.verdict is Verdict.INCONCLUSIVE
    assert "6 questions have other words" in result.outcome.reason


def test_a_subset_of_the_questions_is_inconclusive(run):
    assert compare(run(["correct"] * 8), run(["correct"] * 6)).outcome.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("value", "expected", "rule", "verdict"),
    [
        (0.765, 0.765, "lm-eval", "pass"),
        (0.73, 0.765, "lm-eval", "pass"),
        (0.72, 0.765, "lm-eval", "fail"),
        (0.82, 0.765, "lm-eval", "fail"),  # two-sided: an improvement of 7 % fails there
        (0.76, 0.80, "reward-model", "pass"),
        (0.95, 0.80, "reward-model", "pass"),
        (0.75, 0.80, "reward-model", "fail"),
        (0.036, 0.035, "asr", "pass"),
        (0.037, 0.035, "asr", "fail"),
        (0.01, 0.035, "asr", "pass"),
    ],
)
def test_a_tolerance_rule_judges_as_the_repository_does(value, expected, rule, verdict):
    assert judge(value, expected, rule).verdict.value == verdict


def test_an_improvement_that_fails_says_what_to_do():
    assert "if higher is better" in judge(0.85, 0.765, "lm-eval").reason


def test_a_percentage_against_a_fraction_and_an_unknown_rule_are_refused():
    with pytest.raises(UsageError, match="percentage"):
        judge(76.5, 0.765, "lm-eval")
    with pytest.raises(UsageError, match="no tolerance rule"):
        judge(1, 1, "mine")
