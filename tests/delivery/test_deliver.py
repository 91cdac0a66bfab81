"""A run is delivered: exact in each repository's dialect, one commit, twice is once."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkouts import files_of, git, snapshot, snapshot_of
from delivery_runs import DATA, make_run, recorded

from seatrial.core.verdict import Verdict
from seatrial.delivery import check_delivery
from seatrial.delivery.yaml_dialect import dialect_of
from seatrial.evidence import Run

SHAPES = {"sphinx": "ascend", "mkdocs": "ascend", "flat": "ascend", "kunlun": "kunlun", "generic": "generic"}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_delivery_is_one_signed_commit_that_the_linter_passes_and_a_second_one_changes_nothing(
    shape, run, repo, scores, hand_over, workspace
):
    folder = repo(shape)
    kind = SHAPES[shape]
    first = hand_over(run, folder, kind, scores=scores, model_id="org/Qwen3-tiny")
    assert first.state == "committed"
    assert git(folder, "rev-list", "--count", "main..HEAD").strip() == "1"
    assert git(folder, "log", "-1", "--format=%b").strip().endswith("Signed-off-by: A Sailor <sailor@example.org>")
    assert git(folder, "status", "--short") == ""
    assert git(folder, "branch", "--show-current").strip() == "feature/add-qwen3-tiny"
    report = check_delivery(folder, workspace)
    assert report.verdict is Verdict.PASS, report.findings
    assert report.files
    before, bundle = snapshot(folder), snapshot_of(Path(first.bundle))
    second = hand_over(run, folder, kind, scores=scores, model_id="org/Qwen3-tiny")
    assert second.state == "unchanged"
    assert snapshot(folder) == before
    assert snapshot_of(Path(first.bundle)) == bundle


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_delivered_is_exactly_the_golden_text(shape, run, repo, scores, hand_over, request):
    folder = repo(shape)
    result = hand_over(run, folder, SHAPES[shape], scores=scores, model_id="org/Qwen3-tiny", languages=("zh", "en"))
    said = git(folder, "show", "--format=%s%n%n%b", "HEAD")
    bundle = Path(result.bundle)
    said += "".join(f"==== {p.name}\n{p.read_text()}" for p in sorted(bundle.glob("*.md")))
    said = "\n".join(line for line in said.splitlines() if not line.startswith("index ")) + "\n"
    # The hash of the records' last line holds the time at which the test ran.
    said = said.replace(run.log.hashes[-1], "<hash>")
    golden = DATA / f"golden-{shape}.txt"
    if request.config.getoption("--golden"):
        golden.write_text(said)
    assert said == golden.read_text()


def test_without_a_result_no_accuracy_test_is_written_and_the_reason_is_said(run, repo, hand_over):
    folder = repo("sphinx")
    result = hand_over(run, folder)
    assert not (folder / "tests/e2e/models/configs/Qwen3-tiny.yaml").exists()
    assert [d.reason for d in result.delivered.dropped] == ["no accuracy result is recorded, and no metric is made up"]


def test_a_run_on_no_ascend_series_is_put_into_no_nightly_group_and_the_linter_says_so(
    run, repo, scores, hand_over, workspace
):
    folder = repo("sphinx")
    result = hand_over(run, folder, scores=scores, model_id="org/Qwen3-tiny")
    reasons = {d.what: d.reason for d in result.delivered.dropped}
    assert "target cpu is no Ascend series" in reasons["nightly registration"]
    assert ".github" not in git(folder, "show", "--name-only", "--format=", "HEAD")
    report = check_delivery(folder, workspace)
    assert report.verdict is Verdict.PASS
    assert [f.code for f in report.findings] == ["Y117"]


def test_a_score_of_another_tool_is_reported_and_never_put_into_a_test_that_runs_lm_eval(
    run, repo, hand_over, tmp_path
):
    import json

    from delivery_runs import score

    file = tmp_path / "own.json"
    file.write_text(json.dumps(score(tool="seatrial", metric="accuracy", task="sums", dataset="sums")))
    folder = repo("sphinx")
    result = hand_over(run, folder, scores=(file,), model_id="org/Qwen3-tiny")
    assert not (folder / "tests/e2e/models/configs/Qwen3-tiny.yaml").exists()
    assert "runs lm-eval, and the recorded result is of seatrial" in result.delivered.dropped[0].reason
    assert "| sums | accuracy | 0.7354 |" in (Path(result.bundle) / "analysis.zh.md").read_text()


@pytest.mark.parametrize(
    "changes",
    [
        {"level": "L3"},
        {"complete": False, "partial_reason": "12 requests failed"},
        {"limit": 100},
        {"model": "another-model"},
    ],
)
def test_a_partial_score_or_one_of_another_model_is_never_quoted(changes, run, repo, hand_over, tmp_path):
    import json

    from delivery_runs import score

    file = tmp_path / "partial.json"
    file.write_text(json.dumps(score(**changes)))
    folder = repo("sphinx")
    result = hand_over(run, folder, scores=(file,), model_id="org/Qwen3-tiny")
    assert not (folder / "tests/e2e/models/configs/Qwen3-tiny.yaml").exists()
    assert "gsm8k exact_match" in result.delivered.dropped[0].reason


def test_a_chat_template_that_the_score_does_not_state_is_not_delivered_as_none(run, repo, hand_over, tmp_path):
    import json

    from delivery_runs import score

    file = tmp_path / "unsaid.json"
    file.write_text(json.dumps(score(request={"api_url": "unknown", "model": "qwen3", "chat_template": None})))
    folder = repo("sphinx")
    hand_over(run, folder, scores=(file,), model_id="org/Qwen3-tiny")
    text = (folder / "tests/e2e/models/configs/Qwen3-tiny.yaml").read_text()
    assert "num_fewshot: 5" in text
    assert "apply_chat_template" not in text


def test_on_its_own_series_matrix_and_nightly_group_show_what_the_records_say(workspace, repo, scores, hand_over):
    what = recorded()
    what["manifest"]["target"] |= {"platform": "ascend", "name": "ascend-a2"}
    run = Run.read(make_run(workspace, what).folder)
    folder = repo("sphinx")
    hand_over(run, folder, scores=scores, model_id="org/Qwen3-tiny")
    nightly = git(folder, "diff", "-U0", "main", "HEAD", "--", ".github/workflows/configs/nightly_config.yaml")
    assert nightly.splitlines()[-1] == "+          - Qwen3-tiny"
    table = (folder / "docs/source/user_guide/support_matrix/supported_models.md").read_text()
    row = next(line for line in table.splitlines() if line.startswith("| Qwen3-tiny |"))
    cells = [c.strip() for c in row.strip("|").split("|")]
    link = "[Qwen3-tiny](../../tutorials/models/Qwen3-tiny.md)"
    assert cells == [
        "Qwen3-tiny",
        "✅",
        "",
        "✅",
        "Atlas A2 Series",
        "🟡",
        "✅",
        "🟡",
        "✅",
        "✅",
        "❌",
        "",
        "512",
        link,
    ]
    assert "Nothing on this page was run" not in (folder / "docs/source/tutorials/models/Qwen3-tiny.md").read_text()
    assert check_delivery(folder, workspace).verdict is Verdict.PASS


def test_a_class_of_the_plugin_is_registered_and_its_file_still_parses(workspace, repo, hand_over):
    from seatrial.delivery.kunlun import registrations

    what = recorded()
    served = what["steps"]["support"]["facts"]["served_by"]
    served |= {"class_path": "vllm_kunlun.models.qwen3:Qwen3ForCausalLM", "owner": "vllm-kunlun"}
    run = Run.read(make_run(workspace, what).folder)
    folder = repo("kunlun")
    hand_over(run, folder, "kunlun")
    calls = registrations((folder / "vllm_kunlun/models/__init__.py").read_text())
    added = calls[-1]
    assert (added.architecture, added.target) == ("Qwen3ForCausalLM", "vllm_kunlun.models.qwen3:Qwen3ForCausalLM")
    assert len(calls) == 3


def test_no_commit_leaves_the_index_staged_and_doing_it_twice_changes_nothing(run, repo, hand_over, workspace):
    folder = repo("mkdocs")
    assert hand_over(run, folder, commit=False).state == "staged"
    staged = git(folder, "diff", "--cached", "--name-only").split()
    assert "docs/source/tutorials/models/Qwen3-tiny.md" in staged
    assert git(folder, "diff", "--name-only") == ""
    assert git(folder, "rev-list", "--count", "HEAD").strip() == "1"
    before = snapshot(folder)
    assert hand_over(run, folder, commit=False).state == "unchanged"
    assert snapshot(folder) == before


def test_the_dialect_is_read_from_the_code_and_scopes_of_loops_are_kept_apart():
    serve = dialect_of(files_of("sphinx")["tests/e2e/models/test_lm_eval_correctness.py"], "t")
    flat = dialect_of(files_of("flat")["tests/e2e/models/test_lm_eval_correctness.py"], "t")
    assert (serve.kind, flat.kind) == ("serve", "flat")
    assert serve.place("enforce_eager") == "serve.enforce_eager"
    assert flat.place("enforce_eager") == "enforce_eager"
    assert "enforce_eager" not in serve.read
    assert serve.read["tasks[].metrics[].value"] is True
    assert serve.read["hardware"] is False


def test_two_checkouts_of_one_run_keep_a_bundle_each(run, repo, workspace, hand_over):
    from seatrial.delivery.deliver import bundle_folder

    one, two = repo("sphinx"), repo("mkdocs")
    first = bundle_folder(workspace.root, run.run_id, "ascend", one)
    assert Path(hand_over(run, one).bundle) == first
    assert bundle_folder(workspace.root, run.run_id, "ascend", one) == first
    assert bundle_folder(workspace.root, run.run_id, "ascend", two) != first


def test_scores_are_read_as_the_accuracy_run_records_them(tmp_path):
    import json

    from delivery_runs import score

    from seatrial.core.errors import FileFormatError
    from seatrial.delivery.scores import read_scores

    def read(*documents, name="s.json"):
        files = []
        for number, document in enumerate(documents):
            (tmp_path / str(number)).mkdir(exist_ok=True)
            files.append(tmp_path / str(number) / name)
            files[-1].write_text(json.dumps(document))
        return read_scores(tuple(files))

    # What a later version adds is left alone; what contradicts itself is no record.
    assert len(read(score(added_later=1)).quoted) == 2
    for wrong in ({"n": 0}, {"complete": True, "partial_reason": "x"}, {"complete": False}, {"level": "L9"}):
        with pytest.raises(FileFormatError):
            read(score(**wrong))
    # Of two results nobody chooses the better one; a document without a figure says why.
    two = read(score(metric="acc"), score(metric="acc", value=0.9))
    assert two.quoted == ()
    assert "two results" in two.refused[0]
    none = read({**score(), "scores": [], "level": "L2", "reason": "L2 is never a conclusion"})
    assert none.refused == ("the result of level L2 has no figure: L2 is never a conclusion",)
    # A score beside other answers than it counts is refused.
    (tmp_path / "0" / "raw_predictions.jsonl").write_text("")
    with pytest.raises(FileFormatError):
        read(score(), name="score.json")
