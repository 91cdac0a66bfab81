"""Seeded faults in what was delivered and in the report beside the evidence: each is noticed by its own code."""

from __future__ import annotations

# ruff: noqa: E501 - a fault is one line: what is changed, and the code that must tell
import json
from pathlib import Path

import pytest
from checkouts import git

from seatrial.core.finding import Severity
from seatrial.core.verdict import Verdict
from seatrial.delivery import check_delivery
from seatrial.delivery.verify import verify_bundle
from seatrial.evidence import Run, open_workspace

PAGE = "docs/source/tutorials/models/Qwen3-tiny.md"
YAML = "tests/e2e/models/configs/Qwen3-tiny.yaml"
TXT = "tests/e2e/models/configs/accuracy.txt"
NIGHT = ".github/workflows/configs/nightly_config.yaml"
INDEX = "docs/source/tutorials/models/index.md"
TABLE = "docs/source/user_guide/support_matrix/supported_models.md"


def swap(path, old, new, times=1):
    """A fault: `old` in a file becomes `new`, and the commit is amended so that only the content tells."""

    def fault(folder: Path) -> None:
        text = (folder / path).read_text()
        assert old in text, f"{old!r} is not in {path}"
        (folder / path).write_text(text.replace(old, new, times))
        git(folder, "commit", "-qa", "--amend", "--no-edit", "--allow-empty")

    return fault


def cut(path, start, end):
    """A fault: the text from `start` up to `end` is gone."""

    def fault(folder: Path) -> None:
        text = (folder / path).read_text()
        head, _, rest = text.partition(start)
        (folder / path).write_text(head + end + rest.partition(end)[2])
        git(folder, "commit", "-qa", "--amend", "--no-edit")

    return fault


def second_commit(folder: Path) -> None:
    (folder / PAGE).write_text((folder / PAGE).read_text() + "\nMore.\n")
    git(folder, "commit", "-qas", "-m", "More")


def no_sign_off(folder: Path) -> None:
    git(folder, "commit", "-q", "--amend", "-m", "[Doc][Misc] Add Qwen3-tiny")


def other_sign_off(folder: Path) -> None:
    git(folder, "commit", "-q", "--amend", "-m", "[Doc][Misc] Add it\n\nSigned-off-by: Somebody Else <e@example.org>")


def plain_subject(folder: Path) -> None:
    git(folder, "commit", "-qs", "--amend", "-m", "add a model")


def stranger(folder: Path) -> None:
    (folder / "vllm_ascend/extra.py").write_text("x = 1\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--amend", "--no-edit")


def not_utf8(folder: Path) -> None:
    (folder / PAGE).write_bytes((folder / PAGE).read_bytes() + b"\xff\xfe")
    git(folder, "commit", "-qa", "--amend", "--no-edit")


def removed(folder: Path) -> None:
    git(folder, "rm", "-q", PAGE)
    git(folder, "commit", "-q", "--amend", "--no-edit")


def uncommitted(folder: Path) -> None:
    (folder / PAGE).write_text((folder / PAGE).read_text() + "\nLate.\n")


DELIVERED = {
    "a second commit": (second_commit, "Y101"),
    "no sign-off": (no_sign_off, "Y102"),
    "signed off by somebody else": (other_sign_off, "Y102"),
    "subject without the prefix": (plain_subject, "Y103"),
    "a file of something else": (stranger, "Y104"),
    "the tutorial removed": (removed, "Y105"),
    "changed after the commit": (uncommitted, "Y105"),
    "a page that is not UTF-8": (not_utf8, "Y106"),
    "YAML broken": (swap(YAML, "serve:", "serve: ["), "Y110"),
    "task without metrics": (cut(YAML, "  metrics:", "\nnum_fewshot"), "Y111"),
    "a dead key": (swap(YAML, "num_fewshot: 5", "num_fewshot: 5\nblock_size: 128"), "Y112"),
    "an option of the other dialect": (swap(YAML, "num_fewshot: 5", "num_fewshot: 5\nenforce_eager: true"), "Y113"),
    "a wrong metric": (swap(YAML, "0.7354", "0.7454"), "Y114"),
    "a metric nobody recorded": (swap(YAML, "exact_match,strict-match", "acc,none"), "Y114"),
    "other few-shot examples": (swap(YAML, "num_fewshot: 5", "num_fewshot: 8"), "Y114"),
    "not registered": (swap(TXT, "Qwen3-tiny.yaml\n", ""), "Y115"),
    "at night on a series that nobody ran": (swap(NIGHT, "- Older\n", "- Older\n          - Qwen3-tiny\n"), "Y117"),
    "registered and missing": (swap(TXT, "Qwen3-tiny.yaml", "Qwen3-tiny.yaml\nGhost.yaml"), "Y115"),
    "registered twice": (swap(TXT, "Qwen3-tiny.yaml", "Qwen3-tiny.yaml\nQwen3-tiny.yaml"), "Y115"),
    "tensor parallelism that was not run": (swap(YAML, "tensor_parallel_size: 1", "tensor_parallel_size: 4"), "Y116"),
    "context that was not run": (swap(YAML, "max_model_len: 256", "max_model_len: 4096"), "Y116"),
    "another model's name": (swap(YAML, "org/Qwen3-tiny", "org/Qwen3-8B"), "Y116"),
    "a section removed": (cut(PAGE, "## 7 Accuracy Evaluation", "## 8"), "Y120"),
    "a section emptied": (cut(PAGE, "No tuning was", "## 10"), "Y120"),
    "sections out of order": (lambda f: (swap(PAGE, "## 9 Performance Tuning", "## x")(f), swap(PAGE, "## 8 Performance "
                              "Evaluation", "## 9 Performance Tuning")(f), swap(PAGE, "## x", "## 8 Performance Evaluation")(f)),
                              "Y120"),
    "another title": (swap(PAGE, "# Qwen3-tiny\n", "# Qwen3\n"), "Y121"),
    "tabs of MkDocs in Sphinx": (swap(PAGE, "::::{tab-item} A3 series", '=== "A3 series"'), "Y122"),
    "a missing tab": (swap(PAGE, "{tab-item} A2 series", "{tab-item} other"), "Y123"),
    "an unbalanced tab": (swap(PAGE, "\n:::::\n", "\n"), "Y124"),
    "an open code block": (swap(PAGE, "docker pull $IMAGE\n```", "docker pull $IMAGE\n"), "Y124"),
    "the macro of MkDocs": (swap(PAGE, "|vllm_ascend_version|", "{{ vllm_ascend_version }}"), "Y125"),
    "a dead link": (swap(PAGE, "../../installation.md", "../../install.md"), "Y126"),
    "not in the toctree": (swap(INDEX, "Qwen3-tiny.md\n", "Nothing.md\n"), "Y127"),
    "twice in the toctree": (swap(INDEX, "Qwen3-tiny.md\n", "Qwen3-tiny.md\nQwen3-tiny.md\n"), "Y127"),
    "no row in the support matrix": (swap(TABLE, "| Qwen3-tiny |", "| Another |"), "Y128"),
    "a serve flag that was not used": (swap(PAGE, "--max-model-len 256", "--max-model-len 131072"), "Y129"),
    "a serve flag left out": (swap(PAGE, "  --enforce-eager \\\n", ""), "Y129"),
    "a variable left out": (swap(PAGE, "export HF_HUB_OFFLINE=1\n", ""), "Y129"),
    "a request for another model": (swap(PAGE, '"model": "qwen3"', '"model": "qwen"'), "Y130"),
    "a figure nobody measured": (swap(PAGE, "No tuning was measured", "It gained 37.61 %, yet no tuning was measured"), "Y131"),
    "a placeholder": (swap(PAGE, "No tuning was measured", "TODO: no tuning was measured"), "Y132"),
    "a mark without a record": (swap(TABLE, "| Qwen3-tiny | 🟡 |", "| Qwen3-tiny | ✅ |"), "Y133"),
}  # fmt: skip


def test_the_delivery_the_faults_are_seeded_into_is_clean(whole):
    assert check_delivery(whole / "repo", open_workspace(whole / "w", write=False)).verdict is Verdict.PASS
    assert verify_bundle(whole / "w").verdict is Verdict.PASS
    assert verify_bundle(next(whole.glob("w/.seatrial/deliveries/*"))).verdict is Verdict.PASS


@pytest.mark.parametrize("name", DELIVERED)
def test_a_fault_in_what_was_delivered_is_caught_by_its_own_rule(name, whole):
    fault, code = DELIVERED[name]
    fault(whole / "repo")
    report = check_delivery(whole / "repo", open_workspace(whole / "w", write=False))
    assert report.verdict is Verdict.FAIL
    assert code in {f.code for f in report.findings if f.severity is Severity.ERROR}, report.findings


def bundle_of(root: Path) -> Path:
    return next(root.glob("w/.seatrial/deliveries/*"))


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def _head(bundle: Path) -> None:
    run = Run.resume(next((bundle.parent.parent / "runs").iterdir()))
    run.append("note", {"text": "more"})
    run.close()


def _unnamed(bundle: Path, *names: str) -> None:
    """The record no longer names the files, and one of them says something else."""
    file = bundle / "delivery.json"
    record = json.loads(file.read_text())
    record["bundle"] = [f for f in record["bundle"] if f["path"] not in names]
    file.write_text(json.dumps(record))
    _edit(bundle / names[0], "## 1 ", "99999 tokens/s\n## 1 ")


def _no_log(bundle: Path) -> None:
    run = Run.read(next((bundle.parent.parent / "runs").iterdir()))
    real = run.steps()["real"]
    run.artifact(next(a for a in real.artifacts if a.name == "server.log")).unlink()


BUNDLE = {
    "a verdict turned in the report": (lambda b: _edit(b / "analysis.zh.md", "通过", "未通过"), "Y140"),
    "a figure turned in the report": (
        lambda b: _edit(b / "analysis.en.md", "| Layers | 2 |", "| Layers | 90417 |"),
        "Y131",
    ),
    "the runbook removed": (lambda b: (b / "runbook.zh.md").unlink(), "Y140"),
    "a report that the record does not name": (lambda b: _unnamed(b, "analysis.zh.md"), "Y140"),
    "a record that names no file": (lambda b: _unnamed(b, "analysis.zh.md", "runbook.zh.md", "comment.md"), "Y140"),
    "a report that was put there by hand": (lambda b: (b / "analysis.en.md").write_text("99999 tokens/s"), "Y140"),
    "a section of the report removed": (lambda b: _edit(b / "analysis.zh.md", "## 8 ", "### 8 "), "Y142"),
    "the run went on afterwards": (_head, "Y143"),
    "a quoted score raised": (lambda b: _edit(b / "accuracy-1/score.json", "0.7354", "0.8354"), "Y140"),
    "a log the report links to is gone": (_no_log, "Y141"),
}


@pytest.mark.parametrize("name", BUNDLE)
def test_a_fault_in_the_report_beside_the_evidence_is_caught(name, whole):
    fault, code = BUNDLE[name]
    fault(bundle_of(whole))
    report = check_delivery(whole / "repo", open_workspace(whole / "w", write=False))
    assert code in {f.code for f in report.findings if f.severity is Severity.ERROR}
    assert verify_bundle(bundle_of(whole)).verdict is Verdict.FAIL
