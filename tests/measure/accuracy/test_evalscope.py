"""What evalscope 1.14.1 left of nine questions to a stand-in server (its prose and paths cut), and how it is driven."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from seatrial.core.errors import FileFormatError, UsageError
from seatrial.measure.accuracy.outside import evalscope_command, keep
from seatrial.measure.accuracy.read_evalscope import read_evalscope

REAL = Path(__file__).parent / "evalscope"


def test_choices_are_read_with_their_score_and_every_answer():
    found = read_evalscope(REAL, "general_mcq")
    assert (found.tool, found.version) == ("evalscope", "1.14.1")
    assert [(f.metric, f.value, f.n, f.higher_is_better) for f in found.figures] == [("accuracy,mean", 0.5, 4, True)]
    assert [p.status for p in found.predictions] == ["wrong", "correct", "wrong", "correct"]
    first = found.predictions[0]
    assert (first.id, first.expected, first.extracted, first.text) == ("general_mcq/ships/0", "B", "A", "答案：A")
    assert "Which is ship 0?" in first.prompt
    assert found.dropped == ()


def test_a_metric_that_evalscope_could_not_compute_is_dropped_and_makes_the_run_partial(tmp_path, request_config):
    report = json.loads((REAL / "reports" / "tiny" / "general_qa.json").read_text())
    zeros = [m for m in report["metrics"] if m["identity"]["name"] == "bleu"]
    assert [m["score"] for m in zeros] == [0.0] * 4  # what evalscope itself says
    found = read_evalscope(REAL, "general_qa")
    assert found.figures
    assert not [f for f in found.figures if f.metric.startswith("bleu")]
    (reason,) = found.dropped
    assert reason.startswith("BLEU could not be computed: LookupError: Resource 'punkt_tab' not found")
    assert [p.status for p in found.predictions] == ["correct", "no-answer", "wrong", "correct", "wrong"]
    score = keep(tmp_path / "run", found, request=request_config, level="L4", limit=None, source="x")
    assert score.status == "partial"
    assert "punkt_tab" in score.reason
    assert "1 of 5 questions have no answer" in score.reason


def test_an_answer_that_the_judge_did_not_score_is_not_a_wrong_one(tmp_path):
    shutil.copytree(REAL, tmp_path / "run")
    file = tmp_path / "run" / "reviews" / "tiny" / "general_mcq_ships.jsonl"
    file.write_text(file.read_text().replace('"status": "success"', '"status": "error"', 1))
    row = read_evalscope(tmp_path / "run", "general_mcq").predictions[0]
    assert (row.status, row.trouble) == ("no-answer", "evalscope could not score it: error")


@pytest.mark.parametrize("broken", ["[]", '{"metrics": 3}', "{"])
def test_a_folder_that_is_not_evalscopes_is_refused(tmp_path, broken):
    with pytest.raises(FileFormatError, match=r"no reports/\*/sums\.json"):
        read_evalscope(tmp_path, "sums")
    (tmp_path / "reports" / "m").mkdir(parents=True)
    (tmp_path / "reports" / "m" / "sums.json").write_text(broken)
    with pytest.raises(FileFormatError, match=r"sums\.json"):
        read_evalscope(tmp_path, "sums")


def test_the_command_names_the_users_files_as_subsets(tmp_path):
    for name in ("ships_val.jsonl", "ships_dev.jsonl", "sums.jsonl"):
        (tmp_path / name).write_text("{}")
    argv = evalscope_command(
        Path("py"), "http://h:1", "m", task="general_mcq", output=tmp_path / "out", data=tmp_path, limit=3
    )
    settings = json.loads(argv[argv.index("--dataset-args") + 1])
    assert settings["general_mcq"]["subset_list"] == ["ships", "sums"]
    assert argv[argv.index("--api-url") + 1] == "http://h:1/v1"
    assert argv[-2:] == ("--limit", "3")
    with pytest.raises(UsageError, match=r"no \*\.jsonl"):
        evalscope_command(Path("py"), "http://h:1", "m", task="x", output=tmp_path, data=tmp_path / "none")
