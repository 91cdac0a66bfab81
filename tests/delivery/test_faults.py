"""Seeded faults: whatever is changed in a delivery or in the evidence behind it is noticed, and by its own code.

The faults of evidence come twice: as a plain edit (the hashes tell) and with the whole chain of hashes written again by
somebody who knows how (only deriving the verdict again tells).
"""

from __future__ import annotations

# ruff: noqa: E501, PLW0108 - a fault is one line: what is changed, and the code that must tell
import hashlib
import json
import shutil
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
    "not registered": (lambda f: (swap(TXT, "Qwen3-tiny.yaml\n", "")(f), swap(NIGHT, "- Qwen3-tiny\n", "- Three\n")(f)), "Y115"),
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


@pytest.fixture(scope="module")
def place(tmp_path_factory, made, shapes):
    """A whole delivery, made once: workspace, checkout, score file."""
    from delivery_runs import score

    from seatrial.delivery import Order, deliver

    root = tmp_path_factory.mktemp("whole")
    workspace = open_workspace(root / "w", write=True)
    run = Run.read(shutil.copytree(made, workspace.runs_folder / made.name))
    folder = shutil.copytree(shapes("sphinx"), root / "repo")
    (root / "score.json").write_text(json.dumps(score()))
    order = Order(kind="ascend", model="Qwen3-tiny", model_id="org/Qwen3-tiny", languages=("zh", "en"))
    bundle = workspace.root / "deliveries" / f"{run.run_id}-ascend"
    deliver(run, folder, order, bundle=bundle, scores=(root / "score.json",))
    return root


@pytest.fixture
def whole(place, tmp_path):
    """The test's own copy. The delivery record names the checkout, so that goes along."""
    root = shutil.copytree(place, tmp_path / "copy")
    file = next(root.glob("w/.seatrial/deliveries/*/delivery.json"))
    file.write_text(file.read_text().replace(str(place), str(root)))
    git(root / "repo", "update-index", "-q", "--refresh")
    return root


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


BUNDLE = {
    "a verdict turned in the report": (lambda b: _edit(b / "analysis.zh.md", "通过", "未通过"), "Y140"),
    "a figure turned in the report": (
        lambda b: _edit(b / "analysis.en.md", "| Layers | 2 |", "| Layers | 90417 |"),
        "Y131",
    ),
    "the runbook removed": (lambda b: (b / "runbook.zh.md").unlink(), "Y140"),
    "a section of the report removed": (lambda b: _edit(b / "analysis.zh.md", "## 8 ", "### 8 "), "Y142"),
    "the run went on afterwards": (lambda b: _head(b), "Y143"),
    "a log the report links to is gone": (lambda b: _no_log(b), "Y141"),
}


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def _head(bundle: Path) -> None:
    run = Run.resume(next((bundle.parent.parent / "runs").iterdir()))
    run.append("note", {"text": "more"})
    run.close()


def _no_log(bundle: Path) -> None:
    run = Run.read(next((bundle.parent.parent / "runs").iterdir()))
    real = run.steps()["real"]
    run.artifact(next(a for a in real.artifacts if a.name == "server.log")).unlink()


@pytest.mark.parametrize("name", BUNDLE)
def test_a_fault_in_the_report_beside_the_evidence_is_caught(name, whole):
    fault, code = BUNDLE[name]
    fault(bundle_of(whole))
    report = check_delivery(whole / "repo", open_workspace(whole / "w", write=False))
    assert code in {f.code for f in report.findings if f.severity is Severity.ERROR}
    assert verify_bundle(bundle_of(whole)).verdict is Verdict.FAIL


def forge(folder: Path, change) -> None:
    """Change records and artifacts as somebody who knows the format would: all hashes are made to join again.

    `change(bodies, facts)` gets the body of each record by step (or kind) and a way to change a step's facts.
    """
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    bodies = {(e["body"].get("step") if e["kind"] == "step" else e["kind"]): e["body"] for e in lines}

    def keep(ref: dict, data: bytes) -> None:
        digest = hashlib.sha256(data).hexdigest()
        name = digest + Path(ref["file"]).suffix
        (folder / "artifacts" / name).write_bytes(data)
        ref.update(sha256=digest, bytes=len(data), file=name)

    def facts(step: str, edit) -> None:
        ref = bodies[step]["facts"]
        data = json.loads((folder / "artifacts" / ref["file"]).read_text())
        edit(data)
        keep(ref, json.dumps(data).encode())

    def artifact(step: str, name: str, edit) -> None:
        ref = next(a for a in bodies[step]["artifacts"] if a["name"] == name)
        keep(ref, edit((folder / "artifacts" / ref["file"]).read_bytes()))

    change(bodies, facts, artifact)
    previous = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    out = []
    for entry in lines:
        entry["previous"] = previous
        line = json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode()
        previous = hashlib.sha256(line).hexdigest()
        out.append(line)
    (folder / "records.jsonl").write_bytes(b"\n".join(out) + b"\n")
    head = {"schema_version": 1, "records": len(out), "sha256": previous}
    (folder / "head.json").write_text(json.dumps(head))
    used = {a["file"] for b in bodies.values() for a in [*b.get("artifacts", []), *filter(None, [b.get("facts")])]}
    for file in (folder / "artifacts").iterdir():
        if file.name not in used:
            file.unlink()


def _verdict(step, word):
    return lambda b, f, a: b[step]["outcome"].update(verdict=word, reason="" if word == "pass" else "said so")


def _answer(text):
    def edit(data: bytes) -> bytes:
        document = json.loads(data)
        document["choices"][0]["message"]["content"] = text
        return json.dumps(document).encode()

    return edit


def _row(name, **changes):
    def change(b, f, a):
        def edit(facts):
            next(r for r in facts["rows"] if r["name"] == name).update(changes)

        f("features", edit)

    return change


FORGED = {
    "a failed gate called passed": (lambda b, f, a: f("real", lambda d: d.update(ending="false-ready", reason="x")), "Y202"),
    "a passed gate called failed": (_verdict("dummy", "fail"), "Y202"),
    "dummy weights in the real gate": (lambda b, f, a: f("real", lambda d: d["command"]["argv"].extend(["--load-format", "dummy"])), "Y206"),
    "real weights in the dummy gate": (lambda b, f, a: f("dummy", lambda d: d["command"].update(argv=[w for w in d["command"]["argv"] if w not in ("--load-format", "dummy")])), "Y206"),
    "an empty answer": (lambda b, f, a: a("real", "response-text.json", _answer("")), "Y203"),
    "another answer": (lambda b, f, a: a("real", "response-text.json", _answer("a fine and readable sentence")), "Y204"),
    "an error page for an answer": (lambda b, f, a: a("real", "response-text.json", lambda d: b'{"error": "no"}'), "Y203"),
    "a request to another model": (lambda b, f, a: a("real", "request-text.json", lambda d: d.replace(b"qwen3", b"other")), "Y203"),
    "a status turned to 200": (lambda b, f, a: f("real", lambda d: d["requests"][0].update(trouble="HTTP 500: broken")), "Y203"),
    "more tokens than were answered": (lambda b, f, a: f("real", lambda d: d["requests"][0].update(completion_tokens=99)), "Y204"),
    "the log emptied": (lambda b, f, a: a("real", "server.log", lambda d: b""), "Y205"),
    "the log of something else": (lambda b, f, a: a("real", "server.log", lambda d: b"INFO all is well\n" * 2000), "Y205"),
    "a worker's death left out": (lambda b, f, a: f("real", lambda d: d.update(worker_deaths=["Worker_TP1 ended by SIGKILL"])), "Y205"),
    "a process left behind": (lambda b, f, a: f("real", lambda d: d.update(processes_left=[4711])), "Y202"),
    "another model listed": (lambda b, f, a: a("real", "models.json", lambda d: d.replace(b"qwen3", b"other")), "Y207"),
    "tensors that do not add up": (lambda b, f, a: f("dry", lambda d: d["sums"].update(bytes_placed=1)), "Y208"),
    "unexplained bytes passed over": (lambda b, f, a: f("dry", lambda d: d["sums"].update(bytes_unexplained=98304, bytes_placed=295808)), "Y208"),
    "an inspected fault passed over": (lambda b, f, a: f("inspect", lambda d: d["architecture"].update(layers=None)), "Y209"),
    "an engine of another version": (lambda b, f, a: f("engine", lambda d: d.update(vllm_version="0.11.0")), "Y209"),
    "support without a proof": (_row("lora", status="supported", reason="", proofs=[]), "Y210"),
    "a proof that no log holds": (_row("tensor-parallel", proofs=[{"where": "server.log line 49", "says": "TP rank 7"}]), "Y210"),
    "a status without a reason": (_row("mtp", reason=""), "Y210"),
    "a longer context than was served": (lambda b, f, a: f("capacity", lambda d: d.update(longest=131072)), "Y211"),
    "a baseline that was not served": (lambda b, f, a: f("capacity", lambda d: d["trials"][0].update(served=False)), "Y211"),
    "requests of a trial unanswered": (lambda b, f, a: f("capacity", lambda d: d["trials"][1]["whole_context"].update(answered=0)), "Y211"),
    "the run's verdict flipped": (lambda b, f, a: b["finished"].update(verdict="inconclusive"), "Y212"),
    "signed off with a failed step": (lambda b, f, a: (b["dry"]["outcome"].update(verdict="fail", reason="x"), b["finished"].update(signed_off=True)), "Y212"),
    "a cut model signed off": (lambda b, f, a: f("real", lambda d: d.update(layers=1)), "Y212"),
}  # fmt: skip


SOAK = {"asked_for": 100, "sent": 100, "answered": 100, "troubles": {}, "died_at": None, "median_s": 0.1, "p99_s": 0.2,
        "seconds": 12.5, "memory": [], "growth": None}  # fmt: skip


@pytest.mark.parametrize(
    ("verdict", "changes", "code"),
    [
        ("pass", {}, None),
        ("pass", {"answered": 99}, "Y214"),
        ("pass", {"died_at": 40}, "Y214"),
        ("fail", {}, "Y214"),
        ("fail", {"answered": 3}, None),
    ],
)
def test_a_soak_is_held_against_its_requests(verdict, changes, code, workspace):
    from delivery_runs import make_run, recorded

    what = recorded()
    reason = "" if verdict == "pass" else "as said"
    step = {
        **what["steps"]["capacity"],
        "outcome": {"verdict": verdict, "reason": reason},
        "facts": {**SOAK, **changes},
    }
    what["steps"] = {"inspect": what["steps"]["inspect"], "soak": step}
    what["manifest"]["arguments"]["stages"] = []
    found = verify_bundle(make_run(workspace, what).folder).runs[0].findings
    assert [f.code for f in found if f.severity is Severity.ERROR] == ([code] if code else [])


@pytest.mark.parametrize("name", FORGED)
def test_forged_evidence_whose_hashes_all_join_is_caught_by_deriving_the_verdict_again(name, run):
    change, code = FORGED[name]
    forge(run.folder, change)
    report = verify_bundle(run.folder)
    assert not [f for f in report.runs[0].findings if f.code.startswith("V") and f.severity is Severity.ERROR]
    assert report.verdict is Verdict.FAIL
    assert code in {f.code for f in report.runs[0].findings if f.severity is Severity.ERROR}, report.runs[0].findings


def _record(line, old, new):
    def fault(folder: Path) -> None:
        file = folder / "records.jsonl"
        lines = file.read_text().split("\n")
        assert old in lines[line]
        lines[line] = lines[line].replace(old, new, 1)
        file.write_text("\n".join(lines))

    return fault


def _drop_line(folder: Path) -> None:
    file = folder / "records.jsonl"
    lines = file.read_text().split("\n")
    del lines[3]
    file.write_text("\n".join(lines))


def _artifact(folder: Path) -> Path:
    return max((folder / "artifacts").iterdir(), key=lambda p: p.stat().st_size)


PLAIN = {
    "a verdict edited in place": (_record(4, '"pass"', '"fail"'), "V001"),
    "a hash edited": (_record(2, '"sha256":"', '"sha256":"0'), "V001"),
    "a record removed": (_drop_line, "V001"),
    "the last record removed": (lambda f: (f / "records.jsonl").write_text("\n".join((f / "records.jsonl").read_text().split("\n")[:-2]) + "\n"), "V003"),
    "the manifest edited": (lambda f: (f / "manifest.json").write_text((f / "manifest.json").read_text().replace("0.32.0", "0.33.0")), "V001"),
    "an artifact removed": (lambda f: _artifact(f).unlink(), "V004"),
    "an artifact edited": (lambda f: _artifact(f).write_text("short"), "V005"),
    "an artifact turned into a link": (lambda f: (lambda p: (p.unlink(), p.symlink_to("/etc/hostname")))(_artifact(f)), "V005"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_edit_of_the_evidence_is_caught_by_its_hash(name, run):
    fault, code = PLAIN[name]
    fault(run.folder)
    report = verify_bundle(run.folder)
    assert report.verdict is Verdict.FAIL
    assert code in {f.code for f in report.runs[0].findings}


def test_at_least_thirty_faults_are_seeded():
    assert len(DELIVERED) + len(BUNDLE) + len(FORGED) + len(PLAIN) >= 30


def test_an_archive_of_the_evidence_verifies_and_one_that_climbs_out_is_refused(run, tmp_path):
    import io
    import tarfile

    from seatrial.core.errors import FileFormatError

    whole = tmp_path / "run.tgz"
    with tarfile.open(whole, "w:gz") as archive:
        archive.add(run.folder, arcname=run.run_id)
    assert verify_bundle(whole).verdict is Verdict.PASS
    climbing = tmp_path / "bad.tar"
    with tarfile.open(climbing, "w") as archive:
        member = tarfile.TarInfo("../../escaped.txt")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(FileFormatError, match="no plain file inside"):
        verify_bundle(climbing)
    assert not (tmp_path.parent / "escaped.txt").exists()


def test_figures_are_looked_up_in_the_records_and_not_in_the_text_itself(run):
    from seatrial.delivery.evidence_view import EvidenceView
    from seatrial.delivery.figures import numbers_of, unfounded

    numbers = numbers_of(EvidenceView(run))
    true = "就绪用时 40.7 s，197.1 k 参数，上下文 4,096，HTTP 200，512 token，见第 `Qwen3` 节。"
    assert unfounded(true, numbers) == []
    false = "就绪用时 41.9 s，197.3 k 参数，上下文 4,097，吞吐 5321.7 token/s，加速 2.41 倍。"
    assert [f.figure for f in unfounded(false, numbers)] == ["41.9", "197.3", "4,097", "5321.7", "2.41"]
