"""A greedy answer that is not the engine's own best token: the sampler's fault, told apart from the model's."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_accuracy_pages import located, row
from test_bisect_and_ab import Served, greedy, run_matrix
from test_distance_and_parity import IDS, answers, judge

from seatrial.core.record import replace
from seatrial.core.verdict import Verdict
from seatrial.gates.agree import Greedy
from seatrial.measure.accuracy.locate import conclude as located_again
from seatrial.measure.accuracy.parity import conclude
from seatrial.measure.accuracy.sampled import SURE, Sampled, leaking, off_best

DICE = Sampled(prompt=0, place=3, token="9", best="7", margin=1.25)


@given(st.lists(st.dictionaries(st.integers(0, 50), st.floats(-30, 0), min_size=1), max_size=8))
def test_the_best_token_of_every_row_is_never_called_sampled(rows):
    tokens = [max(row, key=lambda t: row[t]) for row in rows]
    assert off_best(tokens, rows) is None


@pytest.mark.parametrize(
    ("token", "values", "margin"),
    [
        (1, {1: -0.5, 2: -0.5}, None),  # a tie of the logits
        (1, {1: -0.5 - SURE / 2, 2: -0.5}, None),  # printed apart
        (1, {1: -0.7, 2: -0.5}, 0.2),
        (3, {1: -0.7, 2: -0.5}, 0.2),  # not even among the candidates: at least this much
        (1, {1: float("-inf"), 2: -0.5}, 1e9),
    ],
)
def test_what_is_no_tie_is_named_with_its_margin(token, values, margin):
    found = off_best([5, token], [{5: -0.1}, values], prompt=4)
    if margin is None:
        assert found is None
    else:
        assert (found.prompt, found.place, found.token, found.best) == (4, 1, str(token), "2")
        assert found.margin == pytest.approx(margin)


def test_places_of_which_the_engine_says_nothing_are_passed_over():
    assert off_best([1, 2], [None, {}]) is None


def parity_of(shift, other):
    """Six answers; in so many of them the sixth token is the second best by the engine's own log-probabilities."""
    engine, reference = answers(shift)
    reference["dtypes"] = {name: rows * 6 for name, rows in reference["dtypes"].items()}
    reference["prompt_ids"] *= 6
    tokens = (*engine.tokens[:5], IDS[1], *engine.tokens[6:])
    asked = [replace(engine, tokens=tokens)] * other + [engine] * (6 - other)
    return judge("c", asked, reference, dtype="bfloat16", truth_dtype="float32", how="t", engine="e")


@pytest.mark.parametrize("other", [1, 6])
def test_parity_gives_sampling_alone_where_the_log_probabilities_are_right(other):
    result = conclude(parity_of(0.01, other))
    assert result.outcome.verdict is Verdict.FAIL
    assert [f.code for f in result.findings] == ["A106"]
    assert f"{other} of 6 greedy answers" in result.outcome.reason
    assert "class: sampling" in result.outcome.reason
    assert "locate" not in result.findings[0].next_step


def test_parity_does_not_excuse_the_model_by_the_sampler():
    result = conclude(parity_of(0.1, 6))
    assert [f.code for f in result.findings] == ["A101", "A102", "A106"]
    assert "class: sampling" not in result.findings[-1].message


def test_parity_names_the_default_that_leaks_into_greedy_requests():
    found = conclude(replace(parity_of(0.01, 2), defaults=("repetition_penalty 1.3",))).findings[0]
    assert "generation_config.json sets repetition_penalty 1.3" in found.message
    assert "--generation-config vllm" in found.next_step
    # It is told where a token shows it, not wherever it stands in a file.
    assert conclude(replace(parity_of(0.01, 0), defaults=("repetition_penalty 1.3",))).findings == ()


@pytest.mark.parametrize(
    ("document", "names"),
    [
        ({"repetition_penalty": 1.3, "temperature": 0.6, "top_p": 0.9}, ("repetition_penalty 1.3",)),
        ({"repetition_penalty": 1.0}, ()),
        ({"repetition_penalty": True}, ()),
        ({"repetition_penalty": "1.3"}, ()),
        ([], ()),
    ],
)
def test_only_the_defaults_that_greedy_decoding_obeys_are_named(tmp_path, document, names):
    (tmp_path / "generation_config.json").write_text(json.dumps(document))
    assert leaking(tmp_path) == names


def test_no_folder_and_no_file_leak_nothing(tmp_path):
    assert leaking(tmp_path) == leaking(tmp_path / "absent") == ()


def test_locate_finds_no_module_and_says_sampling():
    good = located([row("embed_tokens", 0.001)], None)
    assert good.outcome.verdict is Verdict.PASS
    result = located_again(replace(good.facts, sampled=DICE, cause="sampling", cause_by="tokens"))
    assert result.outcome.verdict is Verdict.FAIL
    assert "all 1 matched outputs are within the noise, but" in result.outcome.reason
    assert "1.250 nats below 7, the engine's own best (class: sampling)" in result.outcome.reason
    assert [f.code for f in result.findings] == ["A203"]


def test_locate_names_the_module_first_where_one_is_out():
    bad = row("layers.0.self_attn.o_proj", 0.4)
    facts = located([bad], bad, "weight load", "place").facts
    result = located_again(replace(facts, sampled=DICE))
    assert result.outcome.reason.startswith("layers.0.self_attn.o_proj is the first module")
    assert [f.code for f in result.findings] == ["A201", "A203"]


def other_than_best(tokens):
    """Answers of which the second token is 5 nats below the best."""
    right = greedy(tokens)
    taken = tuple("other" if i == 1 else t for i, t in enumerate(tokens))
    return Greedy(tokens=taken, logprobs=right.logprobs, top=right.top)


def test_ab_gives_a_variant_that_samples_another_class_than_one_that_computes_otherwise(tmp_path):
    served = Served({"base": [greedy("abc")], "tp2": [other_than_best("abc")], "graph": [greedy("axc")]})
    result, cells = run_matrix(served, ("tp2", "graph"), tmp_path)
    by_name = {c.variant.name: c for c in cells}
    assert (by_name["tp2"].state, by_name["tp2"].cause) == ("breaks", "sampling")
    assert (by_name["graph"].state, by_name["graph"].cause) == ("breaks", "graph")
    said = {f.place: f for f in result.findings}
    assert "class: sampling" in said["tp2"].message
    assert "the sampler" in said["tp2"].next_step
    assert "class: graph" in said["graph"].message


def test_ab_fails_where_the_base_setting_itself_is_not_greedy(tmp_path):
    result, cells = run_matrix(Served({"base": [other_than_best("abc")]}), ("tp2",), tmp_path)
    assert cells[0].state == "agrees"
    assert result.outcome.verdict is Verdict.FAIL
    assert [f.code for f in result.findings] == ["A403"]
    assert result.facts.sampled[0].place == 1
