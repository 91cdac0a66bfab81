"""A score that a delivery quotes follows from the answers beside it, and a recorded accuracy run is its evidence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from accuracy_runs import accuracy_run, edit
from checkouts import git
from delivery_runs import recorded
from forgery import forge

from seatrial.core.errors import FileFormatError, UsageError
from seatrial.core.finding import Severity
from seatrial.core.record import from_plain
from seatrial.core.step import Attachment, StepResult
from seatrial.core.verdict import Verdict, passed
from seatrial.delivery import check_delivery
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.scores import read_scores
from seatrial.delivery.sources import named
from seatrial.delivery.verify import verify_bundle
from seatrial.evidence import Manifest, Run
from seatrial.measure.accuracy.run import FILES


def _first(**changes):
    return lambda rows: rows[0].update(changes)


FAULTS = {
    "a figure raised": ("score.json", lambda d: d["scores"][0].update(value=0.9)),
    "more questions than were asked": ("score.json", lambda d: d["scores"][0].update(n=1319)),
    "more answers than there are": ("score.json", lambda d: d["scores"][0].update(answers=12)),
    "more correct answers": ("score.json", lambda d: d.update(num_correct=12)),
    "a subset raised": ("score.json", lambda d: d["subsets"][0].update(correct=12, score=1.0)),
    "an answer dropped": ("raw_predictions.jsonl", lambda rows: rows.pop()),
    "a wrong answer turned": ("raw_predictions.jsonl", lambda rows: rows[2].update(status="correct")),
    "a metric of one answer turned": ("raw_predictions.jsonl", lambda rows: rows[2]["metrics"].update(exact_match=1.0)),
    "an answer without text": ("raw_predictions.jsonl", _first(text="")),
    "a failed case left out": ("failed_cases.jsonl", lambda rows: rows.pop()),
    "a lost question in a complete run": ("raw_predictions.jsonl", _first(status="no-answer")),
    "part of the task called the whole": ("dataset_config.json", lambda d: d.update(total=1319)),
    "a limit passed over": ("dataset_config.json", lambda d: d.update(limit=6)),
    "other questions": ("dataset_config.json", lambda d: d.update(questions_sha256="0" * 64)),
    "the level of another document": ("score.json", lambda d: d["scores"][0].update(level="L5")),
}  # fmt: skip


def test_a_score_whose_answers_lie_beside_it_is_counted_again_and_agrees(tmp_path):
    read = read_scores((accuracy_run(tmp_path / "a"),))
    assert [(s.metric, s.n) for s in read.quoted] == [
        ("exact_match,strict-match", 6),
        ("exact_match,flexible-extract", 6),
    ]
    assert [round(s.value, 4) for s in read.quoted] == [0.5, 0.6667]
    assert read.left == ()
    assert sorted(read.documents[0]) == sorted(FILES)


@pytest.mark.parametrize("name", FAULTS)
def test_a_score_that_its_own_answers_contradict_is_no_result(name, tmp_path):
    folder = accuracy_run(tmp_path / "a")
    file, change = FAULTS[name]
    edit(folder, file, change)
    with pytest.raises(FileFormatError, match="contradicts the answers"):
        read_scores((folder,))


def test_an_answer_of_our_own_questions_is_judged_again_from_its_text(tmp_path):
    from seatrial.measure.accuracy.records import AccuracyScore, DatasetConfig, Prediction, RequestConfig
    from seatrial.measure.accuracy.run import RunWriter, tally

    def write(folder: Path, text: str, pattern: str = "") -> Path:
        request = RequestConfig(api_url="u", model="m")
        row = Prediction(id="1", prompt="2+2?", expected="4", text=text, extracted="4", status="correct")
        score = AccuracyScore(
            run_id="r", model="m", task="t", dataset="t", metric="accuracy", value=1.0, n=1, level="L5", complete=True,
            tool="seatrial", tool_version="0", request=request,
        )  # fmt: skip
        with RunWriter(folder, request, DatasetConfig(name="t", source="t", asked=1, answer_pattern=pattern)) as out:
            out.add(row)
            out.finish(tally("r", "L5", [row], scores=(score,)))
        return folder

    assert read_scores((write(tmp_path / "good", "The answer is 4"),)).quoted
    assert read_scores((write(tmp_path / "taken", "so: 4", pattern="(a+)+$"),)).quoted
    for number, (text, pattern) in enumerate((("The answer is 5", ""), ("five", "(a+)+$"))):
        with pytest.raises(FileFormatError, match="contradicts"):
            read_scores((write(tmp_path / str(number), text, pattern),))


def test_figures_that_only_the_tool_can_compute_are_said_and_not_called_counted(tmp_path):
    folder = accuracy_run(tmp_path / "a")
    edit(folder, "score.json", lambda d: d["scores"][0].update(metric="bleu,none"))
    assert read_scores((folder,)).left == ("sums bleu,none: only lm-eval can compute it again",)


def test_a_figure_of_aisbench_whose_answers_were_judged_elsewhere_is_said_and_contradicts_nothing(tmp_path):
    from seatrial.measure.accuracy.outside import keep
    from seatrial.measure.accuracy.read_aisbench import read_aisbench
    from seatrial.measure.accuracy.records import RequestConfig

    results, said = (tmp_path / "o" / kind / "m" for kind in ("results", "predictions"))
    for folder in (results, said):
        folder.mkdir(parents=True)
    # Without --dump-eval-details; one of ten requests failed, so that it alone has a row of its own.
    (results / "sums.json").write_text(json.dumps({"accuracy": 50.0, "type": "GEN"}))
    rows = [{"id": n, "success": True, "prediction": f"It is {n}.", "gold": str(n)} for n in range(9)]
    (said / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (said / "sums_failed.jsonl").write_text(json.dumps({"id": 9, "input": "?", "error_info": "reset"}) + "\n")
    request = RequestConfig(api_url="u", model="m")
    keep(tmp_path / "run", read_aisbench(tmp_path / "o"), request=request, level="L4", limit=None, source="x")
    read = read_scores((tmp_path / "run",))
    assert read.left == ("sums accuracy: 1 of 10 judged answers are kept",)
    for forged in ({"complete": True, "partial_reason": ""}, {"value": 0.95}):
        edit(tmp_path / "run", "score.json", lambda d, forged=forged: d["scores"][0].update(forged))
        with pytest.raises(FileFormatError, match="contradicts the answers"):
            read_scores((tmp_path / "run",))
        edit(tmp_path / "run", "score.json", lambda d: d["scores"][0].update(complete=False, partial_reason="x"))


@pytest.fixture
def scored_run(workspace, tmp_path):
    """A recorded accuracy run: one step `accuracy-L4` with the five files attached."""

    def make(name="20261121-030000-accuracy-qwen3-0a0a", *, level="L4", inputs=None, model="qwen3", finish=True) -> Run:
        plain = {
            "schema_version": 1, "run_id": name, "created_at": "2026-11-21T03:00:00Z", "seatrial_version": "0.1.0",
            "arguments_given": [], "checkpoint": "/models/Qwen3-tiny", "python": "", "git": [], "environment": {},
            "environment_other_names": [], **recorded()["manifest"], "arguments": {"kind": "accuracy"},
        }  # fmt: skip
        plain["inputs"] = inputs if inputs is not None else {"model": plain["inputs"]["checkpoint"]}
        run = Run.create(workspace.runs_folder / name, from_plain(Manifest, plain, where="manifest"))
        folder = accuracy_run(tmp_path / name, level=level, model=model)
        files = tuple(Attachment(name=n, path=str(folder / n)) for n in FILES)
        step = StepResult(step=f"accuracy-{level}", outcome=passed(), summary="", facts={}, attachments=files)
        run.store(step, inputs="i", started_at="t", duration_s=1.0)
        if finish:
            run.append("finished", {"verdict": "pass", "signed_off": False, "reason": "", "kind": "accuracy"})
        run.close()
        return Run.read(run.folder)

    return make


def test_a_recorded_accuracy_run_is_delivered_as_the_repositorys_test_and_goes_along(
    run, repo, hand_over, workspace, scored_run
):
    from ruamel.yaml import YAML

    scored = scored_run()
    sources = named(scored.run_id, workspace, EvidenceView(run))
    folder = repo("sphinx")
    done = hand_over(run, folder, scores=sources, model_id="org/Qwen3-tiny")
    assert done.state == "committed"
    text = (folder / "tests/e2e/models/configs/Qwen3-tiny.yaml").read_text()
    metrics = {m["name"]: m["value"] for m in YAML(typ="safe").load(text)["tasks"][0]["metrics"]}
    assert metrics == {"exact_match,strict-match": 0.5, "exact_match,flexible-extract": 4 / 6}
    assert [a.run_id for a in done.delivered.accuracy] == [scored.run_id]
    bundle = Path(done.bundle)
    assert sorted(p.name for p in (bundle / "accuracy-1").iterdir()) == sorted(FILES)
    assert check_delivery(folder, workspace).verdict is Verdict.PASS
    whole = verify_bundle(bundle)
    assert whole.verdict is Verdict.PASS, whole
    assert {r.run_id for r in whole.runs} == {run.run_id, scored.run_id}
    before = git(folder, "rev-parse", "HEAD")
    assert hand_over(run, folder, scores=sources, model_id="org/Qwen3-tiny").state == "unchanged"
    assert git(folder, "rev-parse", "HEAD") == before


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"inputs": {"model": "another"}}, "is of another checkpoint"),
        ({"finish": False}, "is unfinished"),
        ({"level": "L3"}, "no whole task"),
        ({"model": "somebody-else"}, "of the model 'somebody-else'"),
    ],
)
def test_an_accuracy_run_that_proves_nothing_of_this_one_is_dropped_with_the_reason(
    changes, why, run, repo, hand_over, workspace, scored_run
):
    sources = named(scored_run(**changes).run_id, workspace, EvidenceView(run))
    done = hand_over(run, repo("sphinx"), scores=sources, model_id="org/Qwen3-tiny")
    assert why in next(d.reason for d in done.delivered.dropped if d.what == "accuracy test")


def test_what_is_named_and_no_accuracy_run_is_refused_in_words(run, workspace, scored_run):
    scored = scored_run()
    view = EvidenceView(run)
    with pytest.raises(UsageError, match="no such file"):
        named("nowhere/score.json", workspace, view)
    with pytest.raises(UsageError, match="no accuracy result"):
        named(run.run_id, workspace, view)
    with pytest.raises(UsageError, match="no run"):
        named("20990101", workspace, view)
    next(scored.artifacts_folder.glob("*.jsonl")).write_text("")
    with pytest.raises(FileFormatError, match="not whole"):
        named(scored.run_id, workspace, view)


def _in_score(change):
    def fault(b, f, a):
        def edited(data: bytes) -> bytes:
            document = json.loads(data)
            change(document)
            return json.dumps(document).encode()

        a("accuracy-L4", "score.json", edited)

    return fault


def _without(name):
    def fault(b, f, a):
        step = b["accuracy-L4"]
        step.update(artifacts=[ref for ref in step["artifacts"] if ref["name"] != name])

    return fault


FORGED = {
    **{f"{name} left out": _without(name) for name in FILES},
    "a figure raised": _in_score(lambda d: d["scores"][0].update(value=0.9)),
    "more right answers": _in_score(lambda d: d.update(num_correct=12)),
    "partial, and passed": _in_score(lambda d: d.update(status="partial", reason="two were lost", scores=[])),
    "answers taken away": lambda b, f, a: a("accuracy-L4", "raw_predictions.jsonl", lambda d: d[: d.rindex(b"{")]),
    "no score at all": lambda b, f, a: b["accuracy-L4"].update(artifacts=[]),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_accuracy_evidence_is_caught_by_counting_again(name, scored_run):
    run = scored_run()
    assert verify_bundle(run.folder).verdict is Verdict.PASS
    forge(run.folder, FORGED[name])
    report = verify_bundle(run.folder)
    assert report.verdict is Verdict.FAIL
    assert "Y217" in {f.code for f in report.runs[0].findings if f.severity is Severity.ERROR}, report


def test_an_accuracy_run_forged_after_the_delivery_is_noticed_there(run, repo, hand_over, workspace, scored_run):
    scored = scored_run()
    folder = repo("sphinx")
    sources = named(scored.run_id, workspace, EvidenceView(run))
    done = hand_over(run, folder, scores=sources, model_id="org/Qwen3-tiny")
    forge(scored.folder, lambda b, f, a: b["accuracy-L4"].update(summary="better"))
    codes = {f.code for f in check_delivery(folder, workspace).findings if f.severity is Severity.ERROR}
    assert "Y144" in codes
    assert verify_bundle(Path(done.bundle)).verdict is Verdict.FAIL


@pytest.mark.parametrize("name", ["../elsewhere", "/etc", "a/b", "", ".hidden"])
def test_a_bundle_whose_record_names_no_plain_run_is_refused(name, run, repo, hand_over):
    done = hand_over(run, repo("sphinx"))
    file = Path(done.bundle) / "delivery.json"
    document = json.loads(file.read_text())
    for change in ({"run_id": name}, {"accuracy": [{"run_id": name, "head_sha256": "0"}]}):
        file.write_text(json.dumps({**document, **change}))
        with pytest.raises(FileFormatError, match="name of a run"):
            verify_bundle(Path(done.bundle))
    if name.startswith(("/", "..")):
        changed = [{**document["bundle"][0], "path": f"{name}/passwd"}]
        file.write_text(json.dumps({**document, "bundle": changed}))
        with pytest.raises(FileFormatError, match="leads out"):
            verify_bundle(Path(done.bundle))
