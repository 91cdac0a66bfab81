"""Seeded faults of evidence: plain edits (the hashes tell), and the whole chain of hashes written again by somebody who
knows how (only deriving the verdict again tells).
"""

from __future__ import annotations

# ruff: noqa: E501 - a fault is one line: what is changed, and the code that must tell
import json
from pathlib import Path

import pytest
from forgery import forge

from seatrial.core.finding import Severity
from seatrial.core.verdict import Verdict
from seatrial.delivery.verify import verify_bundle


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
    "facts that are none": (lambda b, f, a: f("real", lambda d: d.clear()), "Y201"),
    "an account that is none": (lambda b, f, a: f("dry", lambda d: d.update(sums="all of it")), "Y201"),
    "a step without inputs called a pass": (lambda b, f, a: (b["real"].update(inputs="", artifacts=[]), f("real", lambda d: d.update(ending="false-ready", reason="x"))), "Y201"),
    "an engine's answer left out": (lambda b, f, a: f("engine", lambda d: d.clear()), "Y209"),
    "an engine that cannot be imported": (lambda b, f, a: f("engine", lambda d: d.update(vllm_error="ImportError: no")), "Y209"),
    "an engine on another platform": (lambda b, f, a: f("engine", lambda d: d.update(device_type="cuda")), "Y209"),
    "a registry's answer left out": (lambda b, f, a: f("support", lambda d: d.clear()), "Y201"),
    "an architecture that nothing serves": (lambda b, f, a: f("support", lambda d: d.update(served_by=None, road="none", states=[])), "Y209"),
    "features without rows": (lambda b, f, a: f("features", lambda d: d.update(rows=[])), "Y210"),
    "features without a base run": (lambda b, f, a: f("features", lambda d: d.update(starts={})), "Y210"),
    "a proof that says nothing": (_row("lora", status="supported", reason="", start="base", proofs=[{}]), "Y210"),
    "support by a start that was not made": (_row("lora", status="supported", reason="", start="lora", proofs=[{"where": "response", "says": "x"}]), "Y210"),
    "a matrix that passed called open": (_verdict("features", "inconclusive"), "Y210"),
    "a capacity without facts": (lambda b, f, a: f("capacity", lambda d: d.clear()), "Y201"),
    "a capacity that passed called open": (_verdict("capacity", "inconclusive"), "Y211"),
    "a baseline that fails, and passed": (lambda b, f, a: f("capacity", lambda d: (d.update(baseline_served=False, longest=None, most_sequences=None, root_cause="x"), [t.update(served=False) for t in d["trials"]])), "Y211"),
    "more sequences than were served": (lambda b, f, a: f("capacity", lambda d: d.update(most_sequences=4096)), "Y211"),
    "requests at once unanswered": (lambda b, f, a: f("capacity", lambda d: d["trials"][0]["together"].update(answered=0)), "Y211"),
    "requests at once left out": (lambda b, f, a: f("capacity", lambda d: d["trials"][0].update(together=None)), "Y211"),
    "a cut model signed off": (lambda b, f, a: f("real", lambda d: d.update(layers=1)), "Y212"),
}  # fmt: skip


SOAK = {"asked_for": 100, "sent": 100, "answered": 100, "troubles": {}, "died_at": None, "median_s": 0.1, "p99_s": 0.2,
        "seconds": 12.5, "memory": [], "growth": None}  # fmt: skip
RISEN = [{"requests": 50 * n, "bytes": 3000 if n > 5 else 2000} for n in range(8)]
GROWN = [{"requests": 50 * n, "bytes": 2400 if n > 5 else 2000} for n in range(8)]
UNREAD = [{"requests": 50 * n, "bytes": None} for n in range(8)]
HUGE = [{"requests": 50 * n, "bytes": 10**400 if n > 5 else 2000} for n in range(8)]


@pytest.mark.parametrize(
    ("verdict", "changes", "code"),
    [
        ("pass", {}, None),
        ("pass", {"answered": 99}, "Y214"),
        ("pass", {"died_at": 40}, "Y214"),
        ("fail", {}, "Y214"),
        ("fail", {"answered": 3}, None),
        ("inconclusive", {"answered": 3}, "Y214"),
        ("inconclusive", {"growth": 0.2, "memory": GROWN}, None),
        ("pass", {"growth": 0.2, "memory": GROWN}, "Y214"),
        ("inconclusive", {"growth": 0.2}, "Y214"),
        ("pass", {"growth": 0.01}, "Y214"),
        ("pass", {"memory": UNREAD}, "Y214"),
        ("inconclusive", {"memory": UNREAD}, None),
        ("pass", {"growth": 0.0, "memory": [{"requests": 0, "bytes": "much"}] * 9}, "Y201"),
        ("pass", {"memory": 9}, "Y201"),
        ("pass", {"growth": "none"}, "Y201"),
        ("inconclusive", {"growth": 10**400, "memory": GROWN}, "Y201"),
        ("inconclusive", {"growth": 0.0, "memory": HUGE}, "Y201"),
        ("pass", {"growth": 0.0, "memory": RISEN}, "Y214"),
        ("pass", {"growth": None, "memory": RISEN}, "Y214"),
        ("inconclusive", {"growth": 0.5, "memory": RISEN}, None),
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


def test_a_soak_whose_requests_were_answered_may_fail_for_its_gate_alone(workspace):
    from delivery_runs import make_run, recorded

    what = recorded()
    reason = "the requests were answered, but the server's own gate fails: 1 process was left behind"
    step = {**what["steps"]["capacity"], "outcome": {"verdict": "fail", "reason": reason}, "facts": SOAK}
    what["steps"] = {"inspect": what["steps"]["inspect"], "soak": step}
    what["manifest"]["arguments"]["stages"] = []
    found = verify_bundle(make_run(workspace, what).folder).runs[0].findings
    assert [(f.code, f.severity) for f in found] == [("Y290", Severity.INFO)]


def test_a_dry_run_of_a_checkpoint_without_readable_tensors_is_no_forgery(workspace):
    from delivery_runs import make_run, recorded

    what = recorded()
    what["steps"] = {name: what["steps"][name] for name in ("inspect", "dry")}
    what["steps"]["dry"].update(outcome={"verdict": "inconclusive", "reason": "no tensor"}, facts=None)
    what["manifest"]["arguments"]["stages"] = []
    report = verify_bundle(make_run(workspace, what).folder)
    assert [f for f in report.runs[0].findings if f.severity is Severity.ERROR] == []


@pytest.mark.parametrize("name", FORGED)
def test_forged_evidence_whose_hashes_all_join_is_caught_by_deriving_the_verdict_again(name, run):
    change, code = FORGED[name]
    forge(run.folder, change)
    report = verify_bundle(run.folder)
    assert not [f for f in report.runs[0].findings if f.code.startswith("V") and f.severity is Severity.ERROR]
    assert report.verdict is Verdict.FAIL
    assert code in {f.code for f in report.runs[0].findings if f.severity is Severity.ERROR}, report.runs[0].findings


def test_a_record_that_is_older_than_what_it_follows_is_caught(run):
    file = run.folder / "manifest.json"
    manifest = json.loads(file.read_text())
    file.write_text(json.dumps({**manifest, "created_at": "2099-01-01T00:00:00.000+00:00"}))
    forge(run.folder, lambda b, f, a: None)
    assert "Y213" in {f.code for f in verify_bundle(run.folder).runs[0].findings if f.severity is Severity.ERROR}


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
    strange = tmp_path / "nul.tar"
    with tarfile.open(strange, "w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("x")
        member.pax_headers, member.size = {"path": "a\0b"}, 1
        archive.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(FileFormatError, match="cannot be unpacked"):
        verify_bundle(strange)


def test_a_run_without_any_record_proves_nothing_and_is_told_so(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text("{")
    report = verify_bundle(tmp_path / "run")
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "nothing is recorded" in report.runs[0].findings[0].message
