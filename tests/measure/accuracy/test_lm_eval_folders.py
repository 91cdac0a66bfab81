"""Folders of lm-eval as they are found: several runs in one, older versions, metrics that judge no single answer."""

from __future__ import annotations

import json

import pytest

from seatrial.measure.accuracy.outside import keep
from seatrial.measure.accuracy.read_lm_eval import read_lm_eval
from seatrial.measure.accuracy.run import read_run

EARLY, LATE = "2026-11-19T08-00-00.5", "2026-11-20T08-00-00.5"


def sample(doc, metrics, *, text="it is 4", taken="4", filter_="none", old=False):
    row = {"doc_id": doc, "target": "4", "arguments": {"gen_args_0": {"arg_0": f"question {doc}"}}}
    row |= {"resps": [[text]], "filtered_resps": [taken], **metrics}
    return row if old else row | {"filter": filter_, "metrics": list(metrics)}


@pytest.fixture
def left(tmp_path):
    """Writes one run of lm-eval into the folder: its figures and its samples."""

    def make(rows, figures, *, stamp=LATE, model="m", task="sums", counts=None):
        folder = tmp_path / "out" / model
        folder.mkdir(parents=True, exist_ok=True)
        asked = len({row["doc_id"] for row in rows})
        document = {"results": {task: figures}, "lm_eval_version": "0.4.13"}
        document["n-samples"] = {task: {"original": asked, "effective": asked}} if counts is None else counts
        (folder / f"results_{stamp}.json").write_text(json.dumps(document))
        (folder / f"samples_{task}_{stamp}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        return tmp_path / "out"

    return make


def test_the_samples_are_those_of_the_run_whose_figures_are_read(left):
    left([sample(0, {"exact_match": 0.0}, text="earlier")], {"exact_match,none": 0.0}, stamp=EARLY)
    found = read_lm_eval(left([sample(0, {"exact_match": 1.0}, text="later")], {"exact_match,none": 1.0}), "sums")
    assert [f.value for f in found.figures] == [1.0]
    assert [(p.text, p.status) for p in found.predictions] == [("later", "correct")]


def test_the_newest_run_is_the_latest_and_not_the_last_by_the_models_name(left):
    left([sample(0, {"exact_match": 0.0})], {"exact_match,none": 0.0}, stamp=EARLY, model="z")
    found = read_lm_eval(left([sample(0, {"exact_match": 1.0})], {"exact_match,none": 1.0}, model="a"), "sums")
    assert [f.value for f in found.figures] == [1.0]


def test_samples_of_an_earlier_run_do_not_stand_in_for_those_that_are_gone(left):
    left([sample(0, {"exact_match": 1.0})], {"exact_match,none": 1.0}, stamp=EARLY)
    out = left([sample(0, {"exact_match": 1.0})], {"exact_match,none": 1.0})
    (out / "m" / f"samples_sums_{LATE}.jsonl").unlink()
    found = read_lm_eval(out, "sums")
    assert found.predictions == ()
    assert "no sample was kept" in found.missing


def test_a_question_judged_by_two_filters_is_one_question(left):
    rows = [sample(n, {"exact_match": 0.0}, taken="[invalid]", filter_="strict-match") for n in range(3)]
    rows += [sample(n, {"exact_match": 1.0}, filter_="flexible-extract") for n in range(3)]
    figures = {"exact_match,strict-match": 0.0, "exact_match,flexible-extract": 1.0}
    found = read_lm_eval(left(rows, figures), "sums")
    assert [(p.id, p.status) for p in found.predictions] == [
        (f"sums/{n}/strict-match", "not-extracted") for n in range(3)
    ]
    # What the other filter made of it is kept beside it, by lm-eval's own name.
    assert found.predictions[0].metrics == {"exact_match": 0.0, "exact_match,flexible-extract": 1.0}


def test_one_metric_says_which_answers_are_right_and_not_whichever_is_kinder(left):
    rows = [sample(0, {"acc": 0.0, "acc_norm": 1.0}), sample(1, {"acc": 1.0, "acc_norm": 0.0})]
    found = read_lm_eval(left(rows, {"acc,none": 0.5, "acc_norm,none": 0.5}), "sums")
    assert [p.status for p in found.predictions] == ["wrong", "correct"]


def test_a_metric_of_true_and_false_judges_answers(left):
    rows = [sample(n, {"prompt_level_strict_acc": n == 0, "inst_level_strict_acc": [True, False]}) for n in range(2)]
    found = read_lm_eval(left(rows, {"prompt_level_strict_acc,none": 0.5}), "sums")
    assert [p.status for p in found.predictions] == ["correct", "wrong"]


def test_samples_of_versions_that_did_not_list_their_metrics_are_judged_by_the_figures_names(left):
    rows = [sample(0, {"exact_match": 1.0}, old=True), sample(1, {"exact_match": 0.0}, old=True)]
    found = read_lm_eval(left(rows, {"exact_match,strict": 0.5}), "sums")
    assert [p.status for p in found.predictions] == ["correct", "wrong"]


def test_answers_that_no_metric_judges_one_by_one_are_not_called_wrong(left, tmp_path, request_config):
    rows = [sample(n, {"bleu": ["4", "four"], "chrf": 40.0 + n}) for n in range(2)]
    found = read_lm_eval(left(rows, {"bleu,none": 31.0}), "sums")
    assert found.predictions == ()
    assert "2 answers of sums are kept" in found.missing
    assert "bleu, chrf" in found.missing
    score = keep(tmp_path / "run", found, request=request_config, level="L4", limit=None, source="x")
    assert (score.status, [s.n for s in score.scores]) == ("partial", [2])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400], ids=["nan", "inf", "huge"])
def test_a_figure_that_is_no_number_is_dropped_with_its_name_and_the_run_can_be_read_again(
    left, tmp_path, request_config, value
):
    figures = {"exact_match,none": 1.0, "exact_match_stderr,none": value, "perplexity,none": value}
    found = read_lm_eval(left([sample(0, {"exact_match": 1.0, "perplexity": value})], figures), "sums")
    assert [(f.metric, f.stderr) for f in found.figures] == [("exact_match,none", None)]
    score = keep(tmp_path / "run", found, request=request_config, level="L4", limit=None, source="x")
    assert "sums perplexity,none is no finite number" in score.reason
    assert read_run(tmp_path / "run").score == score


@pytest.mark.parametrize(
    "counts", [[], {"sums": 3}, {"sums": {"effective": "many", "original": "all"}}, {"sums": {"effective": 1e300}}]
)
def test_counts_in_another_form_are_unknown_and_no_traceback(left, counts):
    found = read_lm_eval(left([sample(0, {"exact_match": 1.0})], {"exact_match,none": 1.0}, counts=counts), "sums")
    assert (found.total, [f.n for f in found.figures]) == (None, [None])


def test_a_request_without_a_response_is_no_answer_of_four_letters(left):
    row = {**sample(0, {"exact_match": 0.0}), "resps": [[None]], "filtered_resps": [None]}
    (found,) = read_lm_eval(left([row], {"exact_match,none": 0.0}), "sums").predictions
    assert (found.status, found.text) == ("no-answer", "")
