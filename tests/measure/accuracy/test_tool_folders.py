"""Folders of evalscope and AISBench as they are found: neighbours with longer names, repeats, cut files, two models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from seatrial.cli.accuracy import command
from seatrial.core.errors import FileFormatError, UsageError
from seatrial.delivery.scores import read_scores
from seatrial.measure.accuracy.outside import keep
from seatrial.measure.accuracy.read_aisbench import read_aisbench
from seatrial.measure.accuracy.read_evalscope import read_evalscope
from seatrial.measure.accuracy.read_lm_eval import read_lm_eval
from seatrial.measure.accuracy.run import read_run

REAL = Path(__file__).parent / "evalscope"


@pytest.fixture
def scope(tmp_path):
    """A copy of the real run, and its file of four choices."""
    shutil.copytree(REAL, tmp_path / "run")
    return tmp_path / "run"


def reviews(scope):
    return scope / "reviews" / "tiny" / "general_mcq_ships.jsonl"


def test_answers_of_a_task_with_a_longer_name_are_not_this_tasks(scope):
    report = scope / "reports" / "tiny" / "general_mcq.json"
    (report.parent / "general_mcq_pro.json").write_text(report.read_text())
    shutil.copy(reviews(scope), reviews(scope).parent / "general_mcq_pro_law.jsonl")
    found = read_evalscope(scope, "general_mcq")
    assert {p.subset for p in found.predictions} == {"ships"}
    assert [p.id for p in read_evalscope(scope, "general_mcq_pro").predictions] == [
        f"general_mcq_pro/law/{n}" for n in range(4)
    ]


def test_repeats_of_a_question_are_one_question(scope, tmp_path, request_config):
    rows = [json.loads(line) for line in reviews(scope).read_text().splitlines()]
    for number, row in enumerate(rows):
        # Two generations of two questions, as evalscope numbers them: every one has an index of its own.
        row["sample_score"] |= {"group_id": number // 2}
        del row["sample_score"]["generation_index"]
    reviews(scope).write_text("".join(json.dumps(r) + "\n" for r in rows))
    whole = read_evalscope(scope, "general_mcq")
    found = whole.predictions
    assert [(p.id, p.repeat) for p in found] == [(f"general_mcq/ships/{n // 2}", n % 2) for n in range(4)]
    # evalscope's own `num` counts all generations.
    (score,) = keep(tmp_path / "kept", whole, request=request_config, level="L4", limit=None, source="x").scores
    assert (score.n, score.answers) == (2, 4)
    assert read_scores((tmp_path / "kept",)).quoted == (score,)


def test_a_review_that_was_written_twice_counts_once_as_it_was_written_last(scope):
    lines = reviews(scope).read_text().splitlines()
    first = json.loads(lines[0])
    first["sample_score"]["score"] |= {"prediction": "the later one"}
    reviews(scope).write_text("\n".join([*lines, json.dumps(first)]))
    found = read_evalscope(scope, "general_mcq").predictions
    assert len(found) == 4
    assert found[0].text == "the later one"


@pytest.mark.parametrize("summary", [True, False])
def test_reviews_that_are_cut_short_are_a_partial_run(scope, tmp_path, request_config, summary):
    if not summary:  # as before evalscope counted its requests
        report = scope / "reports" / "tiny" / "general_mcq.json"
        document = json.loads(report.read_text())
        del document["execution_summary"]
        report.write_text(json.dumps(document))
    reviews(scope).write_text("\n".join(reviews(scope).read_text().splitlines()[:3]))
    found = read_evalscope(scope, "general_mcq")
    score = keep(tmp_path / "kept", found, request=request_config, level="L4", limit=None, source="x")
    assert (score.status, score.reason) == ("partial", "3 of 4 answers of general_mcq are kept (reviews/)")


def test_the_question_of_an_earlier_version_is_its_input(scope):
    rows = [json.loads(line) for line in reviews(scope).read_text().splitlines()]
    for row in rows:
        row["input"] = f"question {row['index']}"
        del row["messages"]
    reviews(scope).write_text("\n".join(map(json.dumps, rows)))
    assert [p.prompt for p in read_evalscope(scope, "general_mcq").predictions][:2] == ["question 0", "question 1"]


def test_two_models_in_one_folder_are_not_mixed(scope, tmp_path):
    shutil.copytree(scope / "reports" / "tiny", scope / "reports" / "zebra")
    with pytest.raises(FileFormatError, match="2 models: tiny, zebra"):
        read_evalscope(scope, "general_mcq")
    for model in ("a", "b"):
        folder = tmp_path / "o" / "results" / model
        folder.mkdir(parents=True)
        details = {"0": {"correct": True, "predictions": "4", "origin_prediction": "4"}}
        (folder / "sums.json").write_text(json.dumps({"accuracy": 100.0, "details": details}))
    with pytest.raises(FileFormatError, match="2 models: a, b"):
        read_aisbench(tmp_path / "o")


def test_a_figure_that_is_no_number_is_dropped_with_its_name(scope, tmp_path):
    report = scope / "reports" / "tiny" / "general_mcq.json"
    report.write_text(report.read_text().replace('"score": 0.5', '"score": NaN'))
    found = read_evalscope(scope, "general_mcq")
    assert (found.figures, found.dropped) == ((), ("accuracy,mean is no finite number",))
    folder = tmp_path / "o" / "results" / "m"
    folder.mkdir(parents=True)
    details = {"0": {"correct": True, "predictions": "4", "origin_prediction": "4"}}
    (folder / "sums.json").write_text(json.dumps({"accuracy": float("nan"), "details": details}))
    ais = read_aisbench(tmp_path / "o")
    assert (ais.figures, ais.dropped) == ((), ("sums accuracy is no finite number",))


def test_the_first_questions_of_a_task_are_not_the_whole_task(scope, tmp_path, request_config):
    folder = tmp_path / "lm" / "m"
    folder.mkdir(parents=True)
    document = {"results": {"sums": {"exact_match,none": 1.0}}, "n-samples": {"sums": {"original": 9, "effective": 1}}}
    (folder / "results_2026.json").write_text(json.dumps(document))
    row = {"doc_id": 0, "resps": [["4"]], "filtered_resps": ["4"], "metrics": ["exact_match"], "exact_match": 1.0}
    (folder / "samples_sums_2026.jsonl").write_text(json.dumps(row))
    config = scope / "configs" / "task_config.yaml"
    config.write_text(config.read_text().replace("limit: null", "limit: 4"))
    for number, (found, words) in enumerate(
        (
            (read_lm_eval(tmp_path / "lm", "sums"), "1 of 9 questions of sums were asked"),
            (read_evalscope(scope, "general_mcq"), "evalscope asked with a limit of 4"),
        )
    ):
        whole = keep(tmp_path / f"w{number}", found, request=request_config, level="L5", limit=None, source="x")
        assert (whole.status, whole.reason) == ("partial", words)
        assert not any(s.conclusive for s in whole.scores)
        # Who says so gets a whole result of that many.
        first = keep(tmp_path / f"f{number}", found, request=request_config, level="L3", limit=4, source="x")
        assert first.status == "complete"


def test_evalscope_needs_its_tasks_name_and_takes_it_as_it_stands(scope, tmp_path):
    words = ["import", str(scope), "--tool", "evalscope", "--level", "L4", "--model", "m", "--workspace", str(tmp_path)]
    with pytest.raises(UsageError, match="evalscope keeps a report for each task"):
        CliRunner().invoke(command, words, catch_exceptions=False)
    with pytest.raises(FileFormatError, match=r"no reports/\*/general_\*\.json"):
        read_evalscope(scope, "general_*")


def test_a_run_that_was_sampled_is_not_imported_as_greedy(scope, tmp_path):
    folder = tmp_path / "lm" / "m"
    folder.mkdir(parents=True)
    document = {"results": {"sums": {"exact_match,none": 1.0}}, "n-samples": {"sums": {"original": 1, "effective": 1}}}
    (folder / "results_2026.json").write_text(json.dumps(document))
    row = {"doc_id": 0, "resps": [["4"]], "filtered_resps": ["4"], "metrics": ["exact_match"], "exact_match": 1.0}
    row["arguments"] = {"gen_args_0": {"arg_0": "2 + 2?", "arg_1": {"until": [], "temperature": 0.6}}}
    (folder / "samples_sums_2026.jsonl").write_text(json.dumps(row))
    config = scope / "configs" / "task_config.yaml"
    config.write_text(config.read_text() + "generation_config:\n  max_tokens: 64\n  temperature: 0.6\n")
    for tool, place, task in (("lm-eval", tmp_path / "lm", "sums"), ("evalscope", scope, "general_mcq")):
        words = ["import", str(place), "--tool", tool, "--task", task, "--level", "L4", "--model", "m"]
        words += ["--workspace", str(tmp_path), "--out", str(tmp_path / tool)]
        CliRunner().invoke(command, words, catch_exceptions=False)
        assert read_run(tmp_path / tool).request.temperature == 0.6


def bare(tmp_path):
    """What lm-eval leaves of one question without its settings; the folder."""
    folder = tmp_path / "lm" / "m"
    folder.mkdir(parents=True)
    document = {"results": {"sums": {"exact_match,none": 1.0}}, "n-samples": {"sums": {"original": 1, "effective": 1}}}
    (folder / "results_2026.json").write_text(json.dumps(document))
    row = {"doc_id": 0, "resps": [["4"]], "filtered_resps": ["4"], "metrics": ["exact_match"], "exact_match": 1.0}
    (folder / "samples_sums_2026.jsonl").write_text(json.dumps(row))
    return tmp_path / "lm"


def imported(place, tool, task, tmp_path):
    words = ["import", str(place), "--tool", tool, "--task", task, "--level", "L4", "--model", "m"]
    words += ["--workspace", str(tmp_path), "--out", str(tmp_path / f"{tool}-files"), "--json"]
    done = CliRunner().invoke(command, words, catch_exceptions=False)
    return json.loads(done.stdout), read_run(tmp_path / f"{tool}-files").request


def test_what_no_tool_states_of_its_requests_is_unknown_and_neither_zero_nor_no(scope, tmp_path):
    for tool, place, task in (("lm-eval", bare(tmp_path), "sums"), ("evalscope", scope, "general_mcq")):
        told, request = imported(place, tool, task, tmp_path)
        assert (request.temperature, request.stream, request.concurrency) == (None, None, None)
        assert told["scores"][0]["request"]["temperature"] is None
    assert read_lm_eval(tmp_path / "lm", "sums").chat is None
    assert read_evalscope(scope, "general_mcq").chat is True


@pytest.mark.parametrize(
    ("more", "chat"),
    [
        ({"config": {"model": "local-completions"}, "chat_template": None}, False),
        ({"config": {"model": "local-completions"}, "chat_template": "{{ messages }}"}, True),
        ({"config": {"model": "local-chat-completions"}, "chat_template": ""}, True),
        ({"config": {"model": "local-completions"}}, None),
    ],
)
def test_lm_eval_says_whether_questions_went_through_the_chat_template(tmp_path, more, chat):
    (file,) = bare(tmp_path).rglob("results_*.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), **more}))
    assert read_lm_eval(tmp_path / "lm", "sums").chat is chat


def test_a_run_that_was_kept_with_a_zero_reads_as_it_stands(scope, tmp_path):
    imported(scope, "evalscope", "general_mcq", tmp_path)
    file = tmp_path / "evalscope-files" / "request_config.json"
    document = json.loads(file.read_text()) | {"temperature": 0.0, "chat_template": False, "stream": False}
    file.write_text(json.dumps(document | {"concurrency": 1}))
    assert read_run(file.parent).request.temperature == 0.0
