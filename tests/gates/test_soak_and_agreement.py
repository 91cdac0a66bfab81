"""Many requests, and the same requests twice."""

from __future__ import annotations

import pytest

from seatrial.core.verdict import Verdict
from seatrial.gates.agree import Greedy, compare
from seatrial.gates.agreement import agreement
from seatrial.gates.soak import soak


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
    # Two requests of the gate itself come first; a few more are under way when it dies.
    assert 110 <= result.facts.died_at <= 300
    assert "died after" in result.outcome.reason


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
    assert (compiled.first, compiled.second) == ("eager", "compiled")
    assert result.outcome.verdict is verdict, result.outcome.reason
    # The first of a batch may be through before the second comes.
    assert found.equal == equal if fault == "" else found.equal <= 2
    if fault == "":
        assert compiled.equal == 8
    if fault:
        assert found.divergences[0].place == 2
    if fault == "batch-fault":
        assert "token 2 of prompt" in result.outcome.reason


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
    found = compare("eager", "graph", [one], [other])
    assert (found.equal, found.divergences[0].place) == (0, 1)
    assert found.divergences[0].margin == pytest.approx(0.05)
    assert found.worst_logprob == pytest.approx(0.05)
    assert found.beyond_rounding() == []
    short = Greedy(tokens=("a",), logprobs=(-0.1,), top=({},))
    assert compare("x", "y", [one], [short]).divergences[0].second == ""
