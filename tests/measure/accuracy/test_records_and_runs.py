"""A run's five files: written as it goes, read back whole, and never more than they can carry."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.core.errors import FileFormatError, UsageError
from seatrial.core.record import json_schema, to_plain
from seatrial.measure.accuracy.records import AccuracyScore, DatasetConfig, RequestConfig, Score
from seatrial.measure.accuracy.run import FILES, RunWriter, read_run, tally


def score(**more):
    request = RequestConfig(api_url="http://h:1", model="m")
    words = {"run_id": "r", "model": "m", "task": "t", "dataset": "t", "metric": "acc,none", "value": 0.5, "n": 8}
    words |= {"level": "L4", "complete": True, "tool": "lm-eval", "tool_version": "0.4.13", "request": request}
    return AccuracyScore(**{**words, **more})


@pytest.mark.parametrize("level", ["L0", "L1", "L2"])
def test_a_smoke_level_can_never_carry_a_score(level, prediction):
    made = tally("r", level, [prediction()], scores=(score(),))
    assert made.status == "smoke"
    assert made.scores == ()
    with pytest.raises(ValueError, match="smoke"):
        Score(
            run_id="r", level=level, status="smoke", reason="x", num_total=1, num_correct=1, num_not_extracted=0,
            num_no_answer=0, scores=(score(),),
        )  # fmt: skip
    with pytest.raises(ValueError, match="cannot have the status"):
        Score(
            run_id="r", level=level, status="complete", reason="", num_total=1, num_correct=1, num_not_extracted=0,
            num_no_answer=0,
        )  # fmt: skip


def test_only_a_whole_task_without_a_limit_is_conclusive():
    assert score().conclusive
    assert score(level="L5").conclusive
    assert not score(level="L3").conclusive
    assert not score(limit=8).conclusive
    assert not score(complete=False, partial_reason="2 lost").conclusive


def test_a_score_without_questions_or_with_half_a_reason_is_refused():
    with pytest.raises(ValueError, match="without a question"):
        score(n=0)
    with pytest.raises(ValueError, match="partial_reason"):
        score(complete=False)
    with pytest.raises(ValueError, match="partial_reason"):
        score(partial_reason="some")


def test_a_run_is_written_and_read_back(tmp_path, prediction, request_config):
    rows = [prediction("1"), prediction("2", status="wrong", extracted="41"), prediction("3", status="not-extracted")]
    with RunWriter(tmp_path / "run", request_config, DatasetConfig(name="d", source="d.jsonl")) as writer:
        for row in rows:
            writer.add(row)
        writer.finish(tally("r", "L4", rows))
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == sorted(FILES)
    run = read_run(tmp_path / "run")
    assert run.predictions == tuple(rows)
    assert (run.score.num_correct, run.score.num_not_extracted) == (1, 1)
    failed = (tmp_path / "run" / "failed_cases.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in failed] == ["2", "3"]


def test_a_killed_run_keeps_its_predictions_but_is_no_result(tmp_path, prediction, request_config):
    with RunWriter(tmp_path / "run", request_config, DatasetConfig(name="d", source="d")) as writer:
        writer.add(prediction())
        assert (tmp_path / "run" / "raw_predictions.jsonl").read_text().count("\n") == 1
    with pytest.raises(FileFormatError, match=r"no score\.json"):
        read_run(tmp_path / "run")


def test_a_lost_line_is_noticed(tmp_path, prediction, request_config):
    rows = [prediction("1"), prediction("2")]
    with RunWriter(tmp_path / "run", request_config, DatasetConfig(name="d", source="d")) as writer:
        for row in rows:
            writer.add(row)
        writer.finish(tally("r", "L4", rows))
    file = tmp_path / "run" / "raw_predictions.jsonl"
    file.write_text(file.read_text().splitlines()[0] + "\n")
    with pytest.raises(FileFormatError, match="counts 2 predictions"):
        read_run(tmp_path / "run")
    file.write_text("{}\n")
    with pytest.raises(FileFormatError, match="line 1"):
        read_run(tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("num_correct", 3, "says num_correct 3, the predictions have 1"),
        ("num_not_extracted", 0, "num_not_extracted 0"),
        ("num_no_answer", 1, "num_no_answer 1"),
        ("subsets", [], "subsets"),
        ("value", 1.0, "says accuracy 1, 1 of 3 answers are right"),
    ],
)
def test_a_score_edited_by_hand_is_noticed(tmp_path, prediction, request_config, name, value, words):
    rows = [prediction("1"), prediction("2", status="wrong", extracted="41"), prediction("3", status="not-extracted")]
    own = score(tool="seatrial", metric="accuracy", value=1 / 3, n=3)
    with RunWriter(tmp_path / "run", request_config, DatasetConfig(name="d", source="d")) as writer:
        for row in rows:
            writer.add(row)
        writer.finish(tally("r", "L4", rows, scores=(own,)))
    assert read_run(tmp_path / "run").score.num_correct == 1
    file = tmp_path / "run" / "score.json"
    document = json.loads(file.read_text())
    (document if name in document else document["scores"][0])[name] = value
    file.write_text(json.dumps(document))
    with pytest.raises(FileFormatError, match=words):
        read_run(tmp_path / "run")


def test_a_partial_score_cannot_be_called_whole_by_one_word(tmp_path, prediction, request_config):
    lost = score(complete=False, partial_reason="the server died")
    with RunWriter(tmp_path / "run", request_config, DatasetConfig(name="d", source="d")) as writer:
        writer.add(prediction())
        writer.finish(tally("r", "L4", [prediction()], partial="the server died", scores=(lost,)))
    file = tmp_path / "run" / "score.json"
    file.write_text(file.read_text().replace('"partial"', '"complete"', 1))
    with pytest.raises(FileFormatError, match="is complete, and its acc,none is not"):
        read_run(tmp_path / "run")


def test_a_second_run_into_the_same_folder_is_refused(tmp_path, request_config):
    dataset = DatasetConfig(name="d", source="d")
    with RunWriter(tmp_path / "run", request_config, dataset):
        pass
    with pytest.raises(UsageError, match="already holds"):
        RunWriter(tmp_path / "run", request_config, dataset)


@given(st.lists(st.sampled_from(["correct", "wrong", "not-extracted", "no-answer"]), min_size=1, max_size=30))
def test_every_prediction_is_counted_once(statuses):
    from seatrial.measure.accuracy.records import Prediction

    rows = [
        Prediction(id=str(i), prompt="q", expected="a", text="t", extracted=None, status=s, subset="ab"[i % 2])
        for i, s in enumerate(statuses)
    ]
    made = tally("r", "L4", rows)
    wrong = sum(s == "wrong" for s in statuses)
    assert made.num_correct + made.num_not_extracted + made.num_no_answer + wrong == made.num_total == len(rows)
    assert sum(s.total for s in made.subsets) == len(rows)


@pytest.mark.parametrize("kind", [RequestConfig, DatasetConfig, Score, AccuracyScore])
def test_each_document_has_a_schema_and_a_version(kind):
    schema = json_schema(kind)
    assert "schema_version" in schema["$defs"][kind.__name__]["properties"]
    assert to_plain(score())["schema_version"] == 1
