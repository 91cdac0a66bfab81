"""Many requests, and the same requests twice."""

from __future__ import annotations

from types import SimpleNamespace

import psutil
import pytest

from seatrial.core.verdict import Verdict
from seatrial.gates.agree import Greedy, compare
from seatrial.gates.agreement import AgreementFacts, agreement, judge
from seatrial.gates.soak import MemorySample, _resident, growth, soak


@pytest.fixture
def run(stand_in_target, engine_home, checkpoint, tmp_path, alive):
    def go(step, fault: str, **more):
        target = stand_in_target(fault)
        result = step(checkpoint, target, python=engine_home, stage="real", scratch=tmp_path / "s", **more)
        assert alive() == []
        return result

    return go


def test_a_soak_that_holds_counts_answers_and_memory(run):
    result = run(soak, "", requests=450)
    facts = result.facts
    assert (facts.sent, facts.answered, facts.died_at, facts.troubles) == (450, 450, None, {})
    assert result.outcome.verdict in (Verdict.PASS, Verdict.INCONCLUSIVE)
    assert facts.growth is not None
    assert len(facts.memory) == 10
    assert all(sample.bytes > 1_000_000 for sample in facts.memory)
    assert 0 < facts.median_s <= facts.p99_s


def test_a_decoder_that_dies_after_a_while_is_told_with_the_number(run):
    result = run(soak, "crash-after=120", requests=400)
    assert result.outcome.verdict is Verdict.FAIL
    # Two requests of the gate itself come first, and up to three more are under way when it gives its last answer. The
    # first without one may be any of the batch it dies in: a batch of fifty begins when the one before it is answered.
    assert 118 <= result.facts.answered <= 118 + 3
    assert 100 <= result.facts.died_at <= 118 + 3
    assert "died after" in result.outcome.reason


@pytest.mark.parametrize(("fault", "total"), [(psutil.AccessDenied, None), (psutil.NoSuchProcess, 7), (None, 14)])
def test_memory_that_cannot_be_read_is_unknown_and_not_less(monkeypatch, fault, total):
    class Process:
        def __init__(self, pid):
            self.pid = pid

        def memory_info(self):
            if fault is not None and self.pid == 2:
                raise fault(self.pid)
            return SimpleNamespace(rss=7)

    monkeypatch.setattr("seatrial.gates.soak.psutil.Process", Process)
    assert _resident([1, 2]) == total
    assert _resident([]) is None


def test_a_soak_whose_memory_nobody_could_read_does_not_pass(run, monkeypatch):
    monkeypatch.setattr("seatrial.gates.soak._resident", lambda pids: None)
    result = run(soak, "", requests=60)
    assert result.facts.answered == 60
    assert result.outcome.verdict is Verdict.INCONCLUSIVE
    assert result.outcome.reason == "the memory could not be read in 3 of 3 looks at it"


def test_growth_is_of_the_samples_that_are_known():
    def samples(*numbers):
        return [MemorySample(requests=50 * n, bytes=b) for n, b in enumerate(numbers)]

    flat = [10, 10, 20, 20, 20, 20, 22, 22]
    assert growth(samples(*flat), None) == pytest.approx(0.1)
    assert growth(samples(*flat[:4], None, None, *flat[4:]), None) == pytest.approx(0.1)
    assert growth(samples(*flat[:7], None), None) is None
    assert growth(samples(*flat), 300) is None
    # The quarters are of the looks, not of those that could be read: warming up is not the first of the known ones.
    assert growth(samples(*[None] * 92, *[20] * 8), None) is None
    assert growth(samples(*[None] * 8, *[20] * 8, *[30] * 16), None) == pytest.approx(0.5)
    assert growth(samples(*[20] * 24, *[None] * 8), None) is None


def test_an_engine_that_is_dead_behind_a_server_that_answers_is_told_with_the_number(run):
    result = run(soak, "sick-after=80", requests=400)
    assert result.outcome.verdict is Verdict.FAIL
    assert result.facts.sent == 100
    assert 78 <= result.facts.answered <= 78 + 3  # two answers were the gate's
    assert 50 <= result.facts.died_at <= 78 + 3
    assert "died after" in result.outcome.reason


def test_a_soak_of_a_server_whose_gate_fails_does_not_pass(run):
    result = run(soak, "nan", requests=60)
    assert (result.facts.answered, result.facts.died_at) == (60, None)
    assert result.outcome.verdict is Verdict.FAIL
    assert "not numbers" in result.outcome.reason


def test_answers_without_a_token_are_no_agreement(run):
    result = run(agreement, "no-tokens")
    assert result.outcome.verdict is Verdict.INCONCLUSIVE
    assert "cannot be compared: 0 tokens" in result.outcome.reason
    assert {c.equal for c in result.facts.comparisons} == {0}


def test_log_probabilities_that_are_not_numbers_are_no_rounding(run):
    result = run(agreement, "nan")
    assert result.outcome.verdict is Verdict.INCONCLUSIVE
    assert "not numbers" in result.outcome.reason


def test_a_server_that_never_comes_up_gives_no_soak(run):
    result = run(soak, "die-at-start", requests=10)
    assert result.outcome.verdict is Verdict.INCONCLUSIVE
    assert "server.log" in {a.name for a in result.attachments}


@pytest.mark.parametrize(
    ("fault", "verdict", "equal"),
    [("", Verdict.PASS, 8), ("batch-drift", Verdict.PASS, 0), ("batch-fault", Verdict.FAIL, 0)],
)
def test_a_hairs_breadth_is_rounding_and_a_wide_gap_is_not(run, fault, verdict, equal):
    result = run(agreement, fault)
    found, compiled = result.facts.comparisons
    assert [c.purpose for c in result.commands] == [
        "base: start the server, real weights",
        "compiled: start the server, real weights",
    ]
    assert (compiled.first, compiled.second) == ("eager", "compiled")
    assert result.outcome.verdict is verdict, result.outcome.reason
    assert found.equal == equal
    if fault == "":
        assert compiled.equal == 8
    if fault:
        assert found.divergences[0].place == 2
    if fault == "batch-fault":
        assert "token 2 of prompt" in result.outcome.reason


def test_tokens_written_alike_are_told_apart_by_their_numbers(run):
    result = run(agreement, "twin")
    assert result.facts.comparisons[0].divergences[0].place == 2
    assert result.outcome.verdict is Verdict.FAIL


def test_a_compiled_start_that_answers_otherwise_is_named(run):
    result = run(agreement, "graph-fault")
    assert result.outcome.verdict is Verdict.FAIL
    assert "eager and compiled part at token 2" in result.outcome.reason


def test_an_engine_that_does_not_compile_gives_no_comparison(run):
    result = run(agreement, "never-compiles")
    assert [(c.first, c.second) for c in result.facts.comparisons] == [("batch 1", "batch 8")]
    assert result.outcome.verdict is Verdict.INCONCLUSIVE
    assert "does not compile here" in result.facts.not_compared[0]


def test_the_first_divergence_has_its_place_and_margin():
    one = Greedy(tokens=("a", "b", "c"), logprobs=(-0.1, -0.2, -0.3), top=({}, {"b": -0.2, "x": -0.25}, {}))
    other = Greedy(tokens=("a", "x", "c"), logprobs=(-0.15, -0.2, -0.3), top=({}, {}, {}))
    # The other run's best at that place do not hold the first run's token: it was sure of its own.
    found = compare("eager", "graph", [one], [other])
    assert (found.equal, found.divergences[0].place) == (0, 1)
    assert found.divergences[0].margin == pytest.approx(0.05)
    assert found.divergences[0].other_margin is None
    assert found.worst_logprob == pytest.approx(0.05)
    assert found.beyond_rounding() == [found.divergences[0]]
    short = Greedy(tokens=("a",), logprobs=(-0.1,), top=({},))
    assert compare("x", "y", [one], [short]).divergences[0].second == ""


def parting(first: dict[str, float], second: dict[str, float], *rows: dict[str, float]):
    """Two runs that agree on as many tokens as there are `rows`, then see `first` and `second`."""
    same = tuple("s" for _ in rows)
    one = Greedy(tokens=(*same, "b"), logprobs=(0.0,) * (len(rows) + 1), top=(*rows, first))
    other = Greedy(tokens=(*same, "x"), logprobs=(0.0,) * (len(rows) + 1), top=(*rows, second))
    return compare("eager", "graph", [one], [other])


def test_a_run_that_was_sure_is_a_fault_though_the_other_was_not():
    found = parting({"b": -0.3, "x": -0.31}, {"x": -0.1, "b": -2.6})
    assert found.divergences[0].other_margin == pytest.approx(2.5)
    assert found.beyond_rounding()
    assert parting({"b": -0.3, "x": -0.31}, {"x": -0.3, "b": -0.34}).beyond_rounding() == []


@pytest.mark.parametrize(
    ("step", "offset", "beyond"), [(0.125, 0.0, False), (0.25, 0.0, False), (0.0625, 0.0, True), (0.125, 0.013, True)]
)
def test_what_rounding_is_follows_from_the_step_of_the_logits(step, offset, beyond):
    """A margin of 0.25 is two steps of a bfloat16 logit between 16 and 32, and many of a float32 one."""
    start = -0.7312
    rows = [{c: start - step * n * (k + 1) - offset * n**2 for n, c in enumerate("srtuv")} for k in range(9)]
    found = parting({"b": -0.5, "x": -0.75}, {"x": -0.5, "b": -0.5}, *rows)
    assert found.step == (0.0 if offset else pytest.approx(step, abs=3 * step))
    assert bool(found.beyond_rounding()) is beyond


def test_a_model_whose_places_are_all_ties_shows_no_step():
    tied = {"a": -1.0, "b": -1.0, "c": -1.0, "d": -1.0}
    assert parting(tied, tied, tied).step == 0.0


def test_a_fault_is_a_fault_though_something_else_was_not_compared():
    parted = parting({"b": -0.1, "x": -3.0}, {"x": -0.1, "b": -3.0})
    facts = AgreementFacts(stage="real", comparisons=(parted,), not_compared=("TP 1 and TP 2: it died",))
    assert judge(facts).verdict is Verdict.FAIL
    alike = compare("x", "y", [], [])
    assert (
        judge(AgreementFacts(stage="real", comparisons=(alike,), not_compared=("z",))).verdict is Verdict.INCONCLUSIVE
    )
