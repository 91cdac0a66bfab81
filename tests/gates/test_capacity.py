"""The capacity sweep: the baseline first, its cause if it fails, then the longest context that really serves."""

from __future__ import annotations

import json

import pytest

from seatrial.core.verdict import Verdict
from seatrial.gates.capacity import GRAIN, Trial, _search, capacity


@pytest.fixture
def sweep(stand_in_target, engine_home, checkpoint, tmp_path, alive):
    def go(fault: str, bound=None, **more):
        fields = {"model_type": "qwen3"} | ({"max_position_embeddings": bound} if bound else {})
        (checkpoint / "config.json").write_text(json.dumps(fields))
        target = stand_in_target(fault)
        result = capacity(
            checkpoint, target, python=engine_home, stage="real", scratch=tmp_path / "s", sequences=16, **more
        )
        assert alive() == []
        return result

    return go


def test_a_baseline_that_serves_goes_on_to_more_sequences(sweep):
    result = sweep("", context=2048)
    facts = result.facts
    assert result.outcome.verdict is Verdict.PASS
    assert [(t.context, t.sequences, t.served) for t in facts.trials] == [
        (2048, 16, True),
        (2048, 32, True),
        (2048, 64, True),
    ]
    assert (facts.longest, facts.most_sequences) == (2048, 64)
    assert facts.trials[0].kv_tokens == 9000
    assert facts.trials[0].together.answered == 32
    assert facts.trials[0].together.most_running == 3


def test_a_baseline_that_does_not_fit_has_a_cause_and_the_logs_estimate_is_tried_next(sweep):
    result = sweep("fits=3000", context=131072)
    facts = result.facts
    assert result.outcome.verdict is Verdict.FAIL
    assert "max seq len (131072)" in facts.root_cause
    assert [t.context for t in facts.trials][:2] == [131072, 3000]
    assert 3000 <= facts.longest < 3000 + 256 + 1
    assert not facts.baseline_served


def test_the_models_own_bound_ends_the_search(sweep):
    facts = sweep("ends=4096", bound=4096, context=131072).facts
    assert [t.context for t in facts.trials if t.sequences == 16] == [131072, 4096]
    assert (facts.declared_context, facts.longest) == (4096, 4096)


def test_a_bound_of_the_config_that_the_engine_goes_beyond_does_not_end_the_search(sweep):
    facts = sweep("fits=3000", bound=1024, context=4096).facts
    assert facts.declared_context == 1024
    assert 3000 - GRAIN < facts.longest <= 3000
    # With a scaled rotation the engine's own end is not the declared one.
    facts = sweep("ends=8192", bound=1024, context=131072).facts
    assert [t.context for t in facts.trials if t.sequences == 16] == [131072, 8192]
    assert facts.longest == 8192


def test_a_killed_sweep_goes_on_where_it_was(sweep):
    kept = []
    first = sweep("fits=3000", context=131072, keep=lambda trial, log: kept.append(trial)).facts
    assert tuple(kept) == first.trials
    made = []
    again = sweep("die-at-start", context=131072, done=kept, keep=made.append).facts
    assert made == []
    assert again.longest == first.longest


def test_nothing_that_serves_is_no_context_and_no_zero(sweep):
    facts = sweep("die-at-start", context=600).facts
    assert facts.longest is None
    assert facts.most_sequences is None
    assert "with exit code 7" in facts.root_cause


@pytest.mark.parametrize(("want", "fits"), [(400, 150), (1300, 1025), (131072, 5000)])
def test_the_search_ends_within_a_grain_though_no_whole_grain_lies_between(want, fits):
    tried = []

    def trial(length: int, count: int) -> Trial:
        tried.append(length)
        return Trial(context=length, sequences=count, served=length <= fits, cause="" if length <= fits else "x")

    found = _search(trial, Trial(context=want, sequences=1, served=False, cause="x", estimate=fits - 20), want, 1, None)
    assert found is not None
    assert max(t for t in tried if t <= fits) == found
    assert min([want, *(t for t in tried if t > fits)]) - found <= GRAIN or len(tried) == 8
