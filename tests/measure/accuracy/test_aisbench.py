"""AISBench's files as its source writes them: answers as lines, failed requests apart, judgements or none."""

from __future__ import annotations

import json

import pytest

from seatrial.measure.accuracy.outside import keep
from seatrial.measure.accuracy.read_aisbench import read_aisbench


@pytest.fixture
def left(tmp_path):
    """A run folder of five questions to one model: answers by id, figures, details; the fourth request failed."""
    results, predictions = (tmp_path / "o" / k / "vllm-api-general-chat" for k in ("results", "predictions"))
    results.mkdir(parents=True)
    predictions.mkdir(parents=True)
    gold, said = ["4", "6", "8", "10", "12"], ["It is 4.", "It is 7.", "eight", None, "12"]
    taken = ["4", "7", "", "", "12"]
    rows = [
        {"data_abbr": "gsm8k", "id": n, "success": True, "uuid": f"u{n}", "prediction": text, "gold": gold[n]}
        | {"origin_prompt": [{"role": "HUMAN", "prompt": f"{n + 2} + {n + 2}?"}], "input_tokens": 5, "output_tokens": 3}
        for n, text in enumerate(said)
        if text is not None
    ]

    def make(*, details=True, **more):
        # Lines come in the order in which answers arrived.
        (predictions / "gsm8k.jsonl").write_text("".join(json.dumps(r) + "\n" for r in reversed(rows)))
        lost = {"data_abbr": "gsm8k", "id": 3, "input": "5 + 5?", "error_info": "connection reset"}
        (predictions / "gsm8k_failed.jsonl").write_text(json.dumps(lost) + "\n" + json.dumps(lost) + "\n")
        document = {"accuracy": 40.0, "extract_rate": 60.0, "type": "GEN", **more}
        if details:
            document["details"] = {
                # Lists of one: icl_base_evaluator.py flattens the repeats of every question, of which there is one.
                str(n): {"prompt": "", "origin_prediction": text or "", "predictions": [taken[n]]}
                | {"references": [gold[n]], "correct": [taken[n] == gold[n]]}
                for n, text in enumerate(said)
            }
        (results / "gsm8k.json").write_text(json.dumps(document))
        return tmp_path / "o"

    return make


def test_answers_meet_their_judgement_by_id_and_failed_requests_have_no_answer(left, tmp_path, request_config):
    found = read_aisbench(left())
    assert [p.status for p in found.predictions] == ["correct", "wrong", "not-extracted", "no-answer", "correct"]
    assert [p.id for p in found.predictions] == [f"gsm8k/{n}" for n in range(5)]
    assert found.predictions[1].prompt == "3 + 3?"
    assert found.predictions[3].trouble == "connection reset"
    assert [(f.metric, f.value, f.n) for f in found.figures] == [("accuracy", 0.4, 5)]
    score = keep(tmp_path / "run", found, request=request_config, level="L4", limit=None, source="x")
    assert (score.status, score.num_no_answer, score.scores[0].conclusive) == ("partial", 1, False)


def test_without_details_no_answer_is_called_wrong_and_the_figure_is_not_whole(left, tmp_path, request_config):
    found = read_aisbench(left(details=False))
    assert [p.status for p in found.predictions] == ["no-answer"]
    assert "4 answers are kept, which of them are right is not" in found.missing
    score = keep(tmp_path / "run", found, request=request_config, level="L4", limit=None, source="x")
    assert (score.scores[0].value, score.scores[0].n, score.scores[0].complete) == (0.4, 5, False)


def test_several_answers_to_a_question_have_figures_and_no_judgement_of_their_own(tmp_path):
    results, predictions = (tmp_path / "o" / k / "m" for k in ("results", "predictions"))
    results.mkdir(parents=True)
    predictions.mkdir(parents=True)
    lines = [{"id": i // 2, "success": True, "prediction": f"text {i}", "gold": "4"} for i in range(4)]
    (predictions / "aime.jsonl").write_text("".join(json.dumps(r) + "\n" for r in lines))
    grouped = [{"example_abbr": f"aime_{i}", "pred": ["4", "5"], "correct": [True, False]} for i in range(2)]
    document = {"accuracy (2 runs average)": 50.0, "avg@2": 50.0, "pass@2": 100.0, "details": grouped}
    (results / "aime.json").write_text(json.dumps(document))
    found = read_aisbench(tmp_path / "o")
    assert found.predictions == ()
    assert [(f.metric, f.value) for f in found.figures][1:] == [("avg@2", 0.5), ("pass@2", 1.0)]
    assert "several to a question, and AISBench keeps no judgement of a single one" in found.missing


def test_questions_judged_by_perplexity_have_their_choice_as_answer(tmp_path):
    folder = tmp_path / "o" / "results" / "m"
    folder.mkdir(parents=True)
    one = {"origin_prediction": {"A": {"PPL": 1.2}, "B": {"PPL": 1.4}}, "predictions": "A", "references": "A"}
    document = {"accuracy": 100.0, "correct_bpb": 12.5, "type": "PPL", "details": {"0": {**one, "correct": True}}}
    (folder / "piqa.json").write_text(json.dumps(document))
    found = read_aisbench(tmp_path / "o")
    assert [(p.status, p.text, p.extracted) for p in found.predictions] == [("correct", "A", "A")]
    assert [f.metric for f in found.figures] == ["accuracy"]
