"""A rung is kept as a run: its level, five files and verdict, read back by compare, check, delivery and loop."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner
from tests.measure.accuracy.server import StandIn

from seatrial.cli.accuracy import command
from seatrial.core.errors import EngineError, Stopped, UsageError
from seatrial.delivery.scores import read_scores
from seatrial.evidence import Run, list_runs, open_workspace, verify_run
from seatrial.measure.accuracy.answers import Asked, served
from seatrial.measure.accuracy.level import LevelFacts
from seatrial.measure.accuracy.run import FILES
from seatrial.measure.accuracy.serving import address, client_at
from seatrial.workflow.accuracy import AccuracyJob, accuracy_step, kept_files, read_kept, run_accuracy
from seatrial.workflow.loop import accuracy_from


def adds(prompt, _):
    one, two = re.findall(r"\d+", prompt)
    return f"The answer is {int(one) + int(two)}."


@pytest.fixture
def rung(tmp_path):
    """Asks a stand-in by the command; gives the exit code, the JSON document and the kept run."""
    (tmp_path / "tiny").mkdir()
    data = tmp_path / "sums.jsonl"
    data.write_text("\n".join(json.dumps({"question": f"{i} + {i}?", "answer": str(2 * i)}) for i in range(6)))

    def ask(reply=adds, level="L4", **more):
        words = ["run", str(tmp_path / "tiny"), "--level", level, "--chat", "--workspace", str(tmp_path), "--json"]
        words += ["--dataset", str(data)] if level >= "L3" else []
        with StandIn(reply, **more) as stand_in:
            done = CliRunner().invoke(command, [*words, "--url", stand_in.url], catch_exceptions=False)
        document = json.loads(done.stdout)
        workspace = open_workspace(tmp_path, write=False)
        return done.exit_code, document, Run.read(workspace.run_folder(document["run_id"]))

    return ask


def test_a_rung_is_a_run_with_its_level_five_files_and_verdict(rung, tmp_path):
    code, document, run = rung()
    assert code == 0
    assert run.manifest.arguments["kind"] == "accuracy"
    assert run.manifest.arguments["options"]["level"] == "L4"
    assert set(run.manifest.inputs) == {"dataset", "model"}
    (stored,) = run.steps().values()
    assert stored.step == "accuracy-L4"
    assert stored.outcome.verdict.value == "pass"
    assert {ref.name for ref in stored.artifacts} == set(FILES)
    facts = json.loads(run.artifact(stored.facts).read_bytes())
    assert (facts["level"], facts["score"]["scores"][0]["value"]) == ("L4", 1.0)
    assert set(facts) == set(LevelFacts.__struct_fields__)
    assert facts["score"]["run_id"] == document["run_id"] == run.run_id
    assert verify_run(run.folder).verdict.value == "pass"
    (row,) = list_runs(open_workspace(tmp_path, write=False))
    assert (row.state, row.verdict, row.target) == ("finished", "pass", "cpu")
    assert not (tmp_path / ".seatrial" / "scratch" / run.run_id).exists()


def test_a_kept_rung_is_compared_and_checked_by_its_name(rung, tmp_path):
    _, good, run = rung()
    _, bad, _ = rung(lambda prompt, n: "The answer is 7.")
    at = ["--workspace", str(tmp_path)]
    worse = CliRunner().invoke(command, ["compare", good["run_id"], bad["run_id"], *at])
    assert worse.exit_code == 1, worse.output
    assert "6 lost" in worse.output
    assert CliRunner().invoke(command, ["check", good["run_id"], "--expected", "1.0", *at]).exit_code == 0
    assert CliRunner().invoke(command, ["check", good["run_id"], "--expected", "0.5", *at]).exit_code == 1
    with pytest.raises(UsageError, match="there is no run 'absent'"):
        CliRunner().invoke(command, ["check", "absent", "--expected", "1", *at], catch_exceptions=False)
    kept_files(run)["raw_predictions.jsonl"].write_text("")
    with pytest.raises(UsageError, match="was changed"):
        CliRunner().invoke(command, ["check", good["run_id"], "--expected", "1", *at], catch_exceptions=False)


def test_a_delivery_and_the_loop_take_the_kept_score(rung, tmp_path):
    _, _, run = rung()
    scored = read_scores((kept_files(run)["score.json"],), models=("tiny",))
    (quoted,) = scored.quoted
    assert (quoted.value, quoted.run_id) == (1.0, run.run_id)
    event = accuracy_from(open_workspace(tmp_path, write=False), run.run_id, "d")
    assert (event.passed, event.level, event.evidence) == (True, "L4", run.run_id)
    _, _, low = rung(level="L3")
    assert read_scores((kept_files(low)["score.json"],)).quoted == ()


def test_a_partial_rung_is_inconclusive_evidence(rung, tmp_path):
    code, document, run = rung(lambda prompt, n: adds(prompt, n) if n <= 3 else None)
    assert (code, document["verdict"], document["status"]) == (3, "inconclusive", "partial")
    assert run.last("finished").body["verdict"] == "inconclusive"
    with pytest.raises(UsageError, match="inconclusive"):
        accuracy_from(open_workspace(tmp_path, write=False), run.run_id, "d")
    assert read_kept(run).score.num_no_answer == 3


def test_a_smoke_rung_that_is_wrong_fails_and_is_kept(rung):
    code, document, run = rung(lambda prompt, n: "Hello, crew!", level="L2")
    assert (code, document["verdict"]) == (1, "fail")
    assert accuracy_step(run).step == "accuracy-L2"


def test_a_level_whose_prompts_all_have_no_answer_says_nothing_of_the_model(rung):
    code, document, _ = rung(lambda prompt, n: None, level="L2")
    assert (code, document["verdict"]) == (3, "inconclusive")
    assert "no prompt of L2 was answered (first: arithmetic: HTTP 500" in document["verdict_reason"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--level", "L3", "--dataset", "D", "--pattern", "(["], "is no regular expression"),
        (["--level", "L4", "--task", "t", "--tool-python", "absent"], "--tool-python absent is no file"),
        (["--level", "L4", "--task", "t", "--tool-python", "D", "--task-path", "absent"], "is no folder"),
        (["--level", "L4", "--task", "t"], "needs --tool-python"),
        (["--level", "L4", "--dataset", "D", "--limit", "2"], "asks everything"),
        (["--level", "L3", "--dataset", "D", "--task", "t"], "either --dataset or --task"),
        (["--level", "L2", "--url", "ftp://x"], "is no http URL"),
        (["--level", "L4", "--task", "t", "--tool-python", "D", "--tool", "evalscope", "--no-chat"], "chat endpoint"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_a_run_is_begun(words, says, tmp_path):
    data = tmp_path / "d.jsonl"
    data.write_text('{"question": "1 + 1?", "answer": "2"}')
    given = [str(data) if w == "D" else w for w in words]
    more = [] if "--url" in words else ["--url", "http://127.0.0.1:9"]
    with pytest.raises(UsageError, match=re.escape(says)) as caught:
        CliRunner().invoke(
            command, ["run", str(tmp_path), *given, *more, "--workspace", str(tmp_path)], catch_exceptions=False
        )
    assert caught.value.mend
    assert not (tmp_path / ".seatrial").exists()


def test_runs_over_other_questions_are_not_compared(rung, tmp_path):
    _, first, _ = rung()
    (tmp_path / "sums.jsonl").write_text(
        "\n".join(json.dumps({"question": f"{i} + 9?", "answer": "9"}) for i in range(6))
    )
    _, other, _ = rung()
    words = ["compare", first["run_id"], other["run_id"], "--workspace", str(tmp_path)]
    with pytest.raises(UsageError, match="6 of 6 questions have the same id and other words"):
        CliRunner().invoke(command, words, catch_exceptions=False)


def test_a_parity_with_a_server_that_is_gone_says_so(tmp_path):
    with StandIn(adds) as stand_in:
        url = stand_in.url
    with pytest.raises(EngineError, match="did not answer: connection refused") as caught:
        served(client_at(address(url, "tiny"), 2.0), [Asked(text="x")], max_tokens=1)
    assert "Is it up?" in caught.value.mend


def test_an_interrupted_rung_keeps_the_answers_it_has(tmp_path):
    leaves = tmp_path / "out"
    leaves.mkdir()

    def work(run_id, scratch):
        (leaves / "raw_predictions.jsonl").write_text("{}\n")
        raise Stopped(2)

    job = AccuracyJob(kind="accuracy", what="level", checkpoint="m")
    workspace = open_workspace(tmp_path, write=True)
    with pytest.raises(Stopped):
        run_accuracy(job, work, workspace=workspace, located=None, python=None, leaves=leaves)
    (folder,) = workspace.run_folders()
    run = Run.read(folder)
    (left,) = run.last("interrupted").body["left"]
    assert left["name"] == "raw_predictions.jsonl"
    assert verify_run(folder).verdict.value == "pass"
    with pytest.raises(UsageError, match="holds no rung"):
        read_kept(run)


def test_an_import_is_kept_without_a_target(tmp_path):
    results, predictions = tmp_path / "a" / "results" / "m", tmp_path / "a" / "predictions" / "m"
    for folder in (results, predictions):
        folder.mkdir(parents=True)
    details = {"0": {"pred": "A", "correct": True}, "1": {"pred": "B", "correct": False}}
    (results / "ceval.json").write_text(json.dumps({"accuracy": 50.0, "details": details}))
    asked = {k: {"origin_prompt": f"q{k}", "prediction": "text", "gold": "A"} for k in details}
    (predictions / "ceval.json").write_text(json.dumps(asked))
    (tmp_path / "a" / "configs").mkdir()
    (tmp_path / "a" / "configs" / "20260820_101112_77.py").write_text(
        "datasets=[dict(abbr='ceval', reader_cfg=dict())]\n"
    )
    words = ["import", str(tmp_path / "a"), "--tool", "aisbench", "--level", "L4", "--model", "org/tiny"]
    done = CliRunner().invoke(command, [*words, "--workspace", str(tmp_path), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    run = Run.read(open_workspace(tmp_path, write=False).run_folder(json.loads(done.stdout)["run_id"]))
    assert run.manifest.checkpoint == "org/tiny"
    assert read_kept(run).score.scores[0].value == 0.5
