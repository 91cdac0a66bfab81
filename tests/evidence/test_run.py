"""A run keeps what it was given, whatever kills it, and notices any change."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seatrial.cli.runs import command
from seatrial.core.command import Command
from seatrial.core.errors import UsageError, WorkspaceError
from seatrial.core.step import Attachment, StepResult
from seatrial.core.verdict import Verdict, failed, passed
from seatrial.evidence import Run, list_runs, open_workspace, redact, verify_run
from seatrial.evidence.manifest import Manifest, redact_arguments, telling_environment


def manifest(run_id: str) -> Manifest:
    return Manifest(
        schema_version=1,
        run_id=run_id,
        created_at="2026-01-01T00:00:00+00:00",
        seatrial_version="0",
        arguments_given=("run", "x"),
        arguments={"tp": 1},
        checkpoint="x",
        target={"name": "cpu"},
        target_sources=("built-in cpu.toml",),
        python="python",
        versions={"vllm": "0.32.0"},
        git=(),
        hardware={},
        environment={},
        environment_other_names=(),
        inputs={},
    )


def result(tmp_path: Path, step: str, text: str = "log line\n") -> StepResult:
    log = tmp_path / f"{step}.log"
    log.write_text(text)
    return StepResult(
        step=step,
        outcome=passed(),
        summary="fine",
        facts={"tensors": [1, 2, 3]},
        attachments=(Attachment(name=f"{step}.log", path=str(log)),),
        commands=(Command(purpose="by hand", argv=("vllm", "serve", "a b"), env={"X": "1 2"}),),
    )


@pytest.fixture
def workspace(tmp_path):
    return open_workspace(tmp_path / "w", write=True)


@pytest.fixture
def run(workspace, tmp_path):
    made = Run.create(workspace.runs_folder / "20260101-000000-x-0001", manifest("20260101-000000-x-0001"))
    for step in ("inspect", "dry"):
        made.store(result(tmp_path, step, f"log line of {step}\n"), inputs="abc", started_at="t", duration_s=1.0)
    yield made
    made.close()


def test_a_stored_step_reads_back_with_its_artifacts_by_content(run):
    steps = Run.read(run.folder).steps()
    assert list(steps) == ["inspect", "dry"]
    assert run.artifact(steps["dry"].artifacts[0]).read_text() == "log line of dry\n"
    assert json.loads(run.artifact(steps["dry"].facts).read_bytes()) == {"tensors": [1, 2, 3]}
    assert steps["dry"].commands[0].shell() == "X='1 2' vllm serve 'a b'"
    assert run.is_whole(steps["dry"])


def test_the_last_record_of_a_step_counts_and_the_earlier_one_stays_in_the_log(run, tmp_path):
    again = StepResult(step="dry", outcome=failed("a weight is missing"), summary="1 missing", facts={})
    run.store(again, inputs="def", started_at="t", duration_s=1.0)
    assert run.steps()["dry"].outcome.verdict is Verdict.FAIL
    assert len([e for e in run.log.entries if e.kind == "step"]) == 3


def test_an_untouched_run_verifies_and_every_touch_is_named(run):
    run.close()
    assert verify_run(run.folder).verdict is Verdict.PASS
    files = [run.folder / "manifest.json", run.folder / "records.jsonl", *sorted(run.artifacts_folder.iterdir())]
    assert len(files) == 5
    for file in files:
        before = file.read_bytes()
        file.write_bytes(before.replace(b"1", b"2", 1) if b"1" in before else b"X" + before[1:])
        after = verify_run(run.folder)
        assert after.verdict is Verdict.FAIL, file
        assert any(file.name in f.place or file.name in f.message for f in after.findings), after.findings
        file.write_bytes(before)
    (run.artifacts_folder / run.steps()["dry"].facts.file).unlink()
    assert [f.code for f in verify_run(run.folder).findings] == ["V004"]


def test_a_changed_last_record_and_a_cut_log_are_noticed_though_the_chain_holds(run):
    run.close()
    log = run.folder / "records.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-1]) + lines[-1].replace(b"fine", b"FINE"))
    assert verify_run(run.folder).verdict is Verdict.FAIL
    log.write_bytes(b"".join(lines[:-1]))
    assert "missing at the end" in verify_run(run.folder).findings[0].message


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_a_log_cut_at_any_byte_resumes_with_every_whole_record(run, data):
    run.close()
    log, head = run.folder / "records.jsonl", run.folder / "head.json"
    whole, head_before = log.read_bytes(), head.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    complete = whole[:cut].count(b"\n")
    try:
        log.write_bytes(whole[:cut])
        if complete < 1:
            return
        # A kill can come before the head is written, which is then one record behind, or absent at the first one.
        behind = data.draw(st.booleans())
        last = complete - 1 - behind
        head.unlink()
        if last >= 0:
            digest = hashlib.sha256(whole.split(b"\n")[last]).hexdigest()
            head.write_text(json.dumps({"schema_version": 1, "records": last + 1, "sha256": digest}))
        resumed = Run.resume(run.folder)
        kept = [e.kind for e in resumed.log.entries]
        assert kept[:complete] == ["started", "step", "step"][:complete]
        assert ("torn" in kept) == (whole[:cut][-1:] != b"\n")
        resumed.close()
        assert verify_run(run.folder).verdict is Verdict.PASS
    finally:
        log.write_bytes(whole)
        head.write_bytes(head_before)


def test_two_writers_cannot_have_one_run(run):
    with pytest.raises(WorkspaceError, match="another seatrial"):
        Run.resume(run.folder)


def test_a_run_with_a_broken_chain_is_not_resumed(run):
    run.close()
    log = run.folder / "records.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"tp":1', b'"tp":2'))
    with pytest.raises(WorkspaceError, match="cannot be resumed"):
        Run.resume(run.folder)


def test_a_killed_writer_leaves_a_run_that_resumes(workspace, tmp_path):
    """A process that is killed by SIGKILL while it appends as fast as it can."""
    folder = workspace.runs_folder / "20260101-000000-k-0001"
    script = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_run import manifest
from seatrial.evidence import Run
run = Run.create(Path({str(folder)!r}), manifest("k"))
print("go", flush=True)
for n in range(10**6): run.append("note", {{"n": n}})
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env={**os.environ})
    assert process.stdout.readline() == b"go\n"
    while len(Run.read(folder).log.entries) < 20:
        pass
    process.kill()
    process.wait()
    process.stdout.close()
    numbers = [e.body["n"] for e in Run.read(folder).log.entries if e.kind == "note"]
    resumed = Run.resume(folder)
    resumed.close()
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= 19
    assert verify_run(folder).verdict is Verdict.PASS


def test_the_index_is_rebuilt_when_it_is_gone_damaged_or_old(workspace, run):
    run.append("finished", {"verdict": "pass", "signed_off": True, "reason": ""})
    run.close()
    first = list_runs(workspace)
    assert [(r.state, r.verdict, r.signed_off) for r in first] == [("finished", "pass", True)]
    workspace.index_file.write_bytes(b"this is no database at all, but long enough to look like a page" * 99)
    assert list_runs(workspace) == first
    workspace.index_file.unlink()
    assert list_runs(workspace) == first
    resumed = Run.resume(run.folder)
    resumed.close()
    assert list_runs(workspace)[0].state == "unfinished"


def test_an_index_that_cannot_be_replaced_is_done_without(workspace, run):
    run.append("finished", {"verdict": "pass", "signed_off": True, "reason": ""})
    run.close()
    workspace.index_file.mkdir()
    assert [(r.state, r.signed_off) for r in list_runs(workspace)] == [("finished", True)]


def test_no_seal_is_listed_of_records_that_do_not_join(workspace, run):
    run.append("finished", {"verdict": "fail", "signed_off": False, "reason": "it is bad"})
    run.close()
    file = run.folder / "records.jsonl"
    text = file.read_text()
    sealed = text.replace('"verdict":"fail","signed_off":false', '"verdict":"pass","signed_off":true')
    assert sealed != text
    file.write_text(sealed)
    row = list_runs(workspace)[0]
    assert (row.state, row.verdict, row.signed_off) == ("unreadable", "", False)
    assert "is not the one that was written" in row.summary
    words = ["show", run.run_id, "--workspace", str(workspace.root)]
    assert "damaged: records.jsonl line" in CliRunner().invoke(command, words).output
    assert json.loads(CliRunner().invoke(command, [*words, "--json"]).output)["problems"]


def test_an_unreadable_run_is_listed_as_such(workspace, run):
    run.close()
    (run.folder / "manifest.json").write_text("{}")
    row = list_runs(workspace)[0]
    assert row.state == "unreadable"
    assert "manifest.json" in row.summary


def test_an_unwritable_or_full_workspace_is_one_line_with_a_mend(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError) as caught:
        open_workspace(tmp_path / "file", write=True)
    assert "--workspace" in caught.value.one_line()
    monkeypatch.setattr("seatrial.evidence.workspace.NEEDED_BYTES", 10**18)
    with pytest.raises(WorkspaceError, match="free"):
        open_workspace(tmp_path / "w", write=True)


def test_a_full_disk_keeps_every_earlier_record(run, monkeypatch):
    real = os.write

    def full(handle: int, data: bytes) -> int:
        if len(data) > 10:
            real(handle, data[:5])
            raise OSError(28, "No space left on device")
        return real(handle, data)

    monkeypatch.setattr("seatrial.evidence.records.os.write", full)
    with pytest.raises(WorkspaceError, match="No space left"):
        run.append("note", {})
    monkeypatch.undo()
    run.append("note", {"after": True})
    assert [e.kind for e in Run.read(run.folder).log.entries] == ["started", "step", "step", "note"]


def test_runs_are_found_by_a_beginning_and_by_last(workspace, run):
    assert workspace.run_folder("20260101") == workspace.run_folder("last") == run.folder
    with pytest.raises(UsageError, match="there is no run"):
        workspace.run_folder("nope")


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("HF_TOKEN", "abc", "<redacted>"),
        ("VLLM_API_KEY", "abc", "<redacted>"),
        ("PIP_INDEX_URL", "https://me:pw@host/simple", "https://<redacted>@host/simple"),
        ("VLLM_USE_V1", "1", "1"),
        ("TOKENIZERS_PARALLELISM", "false", "false"),
        ("max_num_batched_tokens", "8192", "8192"),
    ],
)
def test_secrets_do_not_reach_the_manifest(name, value, kept):
    assert redact(name, value) == kept


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("serve m --api-key k1 k2 --port 8", "serve m --api-key <redacted> <redacted> --port 8"),
        ("b --arg=--api-key --arg=k1 --arg=--seed --arg=1", "b --arg=--api-key --arg=<redacted> --arg=--seed --arg=1"),
        ("bench --arg --api-key --arg k1 --port 8", "bench --arg --api-key <redacted> <redacted> --port 8"),
        ("ab --a-arg=--api-key --b-arg=--seed --a-arg=k1", "ab --a-arg=--api-key --b-arg=--seed --a-arg=<redacted>"),
        ("b --arg=--api-key=k1 --arg=--dtype --arg=half", "b --arg=--api-key=<redacted> --arg=--dtype --arg=half"),
    ],
)  # fmt: skip
def test_a_secret_is_found_behind_its_flag_however_the_words_are_handed_on(given, kept):
    assert " ".join(redact_arguments(tuple(given.split()))) == kept


def test_a_command_line_loses_its_secrets_and_only_telling_variables_keep_values():
    given = ("run", "x", "--api-key", "s3", "--hf-token=s4", "--url=http://u:p@h/")
    assert redact_arguments(given) == (
        "run", "x", "--api-key", "<redacted>", "--hf-token=<redacted>", "--url=http://<redacted>@h/",
    )  # fmt: skip
    told, others = telling_environment({"VLLM_PORT": "1", "MY_DIARY": "private", "HF_TOKEN": "x"})
    assert told == {"HF_TOKEN": "<redacted>", "VLLM_PORT": "1"}
    assert others == ("MY_DIARY",)


def test_the_last_run_is_the_last_begun_within_one_second_too(tmp_path):
    workspace = open_workspace(tmp_path / "w", write=True)
    begun = []
    for number in range(24):
        name = workspace.new_run_id("b" if number % 2 else "a")
        (workspace.runs_folder / name).mkdir(parents=True)
        (workspace.runs_folder / name / "manifest.json").write_text("{}")
        begun.append(name)
    assert [f.name for f in workspace.run_folders()] == begun
    assert workspace.run_folder("last").name == begun[-1]
