"""A run that was damaged, cut or written in a hostile way is refused or named, never passed and never a traceback."""

from __future__ import annotations

import json
import os

import pytest
from tests.evidence.test_run import manifest, result

from seatrial.core.command import Command
from seatrial.core.errors import Stopped, WorkspaceError
from seatrial.core.record import replace, to_json, to_plain
from seatrial.core.verdict import Verdict
from seatrial.evidence import Run, list_runs, open_workspace, records, verify_run


@pytest.fixture
def workspace(tmp_path):
    return open_workspace(tmp_path / "w", write=True)


@pytest.fixture
def run(workspace, tmp_path):
    made = Run.create(workspace.runs_folder / "20260101-000000-x-0000", manifest("20260101-000000-x-0000"))
    made.store(result(tmp_path, "inspect"), inputs="a", started_at="t", duration_s=1.0)
    made.store(result(tmp_path, "engine"), inputs="b", started_at="t", duration_s=1.0)
    yield made
    made.close()


@pytest.mark.parametrize("moment", ["line", "head", "torn"])
@pytest.mark.parametrize("kind", [Stopped(15), KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_stop_within_a_record_leaves_a_chain_that_goes_on(run, monkeypatch, moment, kind):
    if moment == "head":
        broken = "write_atomic", lambda *_: (_ for _ in ()).throw(kind)
        monkeypatch.setattr(records, *broken)
    else:
        really = os.write

        def write(handle, data):
            if moment == "line":
                really(handle, data)
            else:
                really(handle, data[:10])
            raise kind

        monkeypatch.setattr(records.os, "write", write)
    with pytest.raises((Stopped, KeyboardInterrupt, WorkspaceError)):
        run.append("step-like", {"x": 1})
    monkeypatch.undo()
    run.append("interrupted", {"reason": "stopped"})
    assert run.log.entries[-1].kind == "interrupted"
    run.close()
    checked = verify_run(run.folder)
    assert checked.verdict is Verdict.PASS, checked.findings
    Run.resume(run.folder).close()


def test_resuming_does_not_hide_records_that_were_lost_or_changed_at_the_end(run):
    run.close()
    file = run.folder / records.RECORDS
    whole = file.read_bytes()
    lines = whole.splitlines(keepends=True)
    for damaged in (b"".join(lines[:-1]), b"".join(lines[:-1]) + lines[-1].replace(b"fine", b"good")):
        file.write_bytes(damaged)
        with pytest.raises(WorkspaceError, match="cannot be resumed"):
            Run.resume(run.folder)
        assert verify_run(run.folder).verdict is Verdict.FAIL
        assert file.read_bytes() == damaged


def test_a_run_cut_together_with_its_head_does_not_verify(run):
    run.close()
    (run.folder / records.HEAD).unlink()
    assert verify_run(run.folder).verdict is Verdict.FAIL
    (run.folder / records.RECORDS).unlink()
    assert verify_run(run.folder).verdict is not Verdict.PASS


@pytest.mark.parametrize("number", [-1, 0, 1])
def test_a_head_far_behind_or_impossible_is_an_error(run, number):
    run.close()
    sha = run.log.hashes[0]
    (run.folder / records.HEAD).write_text(json.dumps({"schema_version": 1, "records": number, "sha256": sha}))
    assert verify_run(run.folder).verdict is Verdict.FAIL


def test_records_of_the_wrong_shape_are_listed_and_verified_without_a_traceback(workspace, run):
    run.append("finished", ["not", "a", "table"])
    run.append("step", {"sha256": 1, "file": 2, "name": [], "bytes": "x"})
    run.append("finished", "nonsense")
    run.close()
    assert list_runs(workspace)[0].state == "unreadable"
    assert verify_run(run.folder).verdict is Verdict.FAIL


def test_an_artifact_reference_out_of_the_folder_is_not_followed(run, tmp_path):
    outside = tmp_path / "outside"
    outside.write_bytes(b"x")
    away = {"name": "a", "sha256": records.sha256(b"x"), "bytes": 1, "file": str(outside)}
    run.append("note", away)
    run.close()
    assert verify_run(run.folder).verdict is Verdict.FAIL


def test_facts_that_lead_into_something_endless_are_not_read(run):
    run.close()
    stored = run.steps()["inspect"]
    file = run.artifact(stored.facts)
    for other in ("/dev/zero", None):
        file.unlink()
        file.symlink_to(other) if other else os.mkfifo(file)
        with pytest.raises(WorkspaceError, match="the facts of inspect cannot be used"):
            run.facts_of(stored)
    file.unlink()
    file.write_bytes(b" " * (stored.facts.bytes + 1))
    with pytest.raises(WorkspaceError, match="it was changed"):
        run.facts_of(stored)


@pytest.mark.parametrize("size", [-5, 10**15, 10**19])
def test_facts_recorded_with_an_impossible_size_are_read_within_bounds(run, size):
    run.close()
    stored = run.steps()["inspect"]
    forged = replace(stored, facts=replace(stored.facts, bytes=size))
    if size > 0:
        assert run.facts_of(forged) == run.facts_of(stored)
        return
    with pytest.raises(WorkspaceError, match="it was changed"):
        run.facts_of(forged)


def test_an_artifact_whose_name_no_file_can_have_is_missing_and_no_traceback(run):
    run.append("note", {"name": "a", "sha256": "0" * 64, "bytes": 1, "file": "a" * 300})
    run.append("note", {"name": "b", "sha256": "0" * 64, "bytes": 1, "file": "b\0"})
    run.close()
    assert {f.code for f in verify_run(run.folder).findings} == {"V004"}


def test_an_artifact_that_cannot_be_read_is_named_and_is_not_there(run, monkeypatch):
    run.close()
    stored = run.steps()["inspect"]

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("seatrial.evidence.verify.file_sha256", refuse)
    monkeypatch.setattr("seatrial.evidence.run.file_sha256", refuse)
    checked = verify_run(run.folder)
    assert checked.verdict is Verdict.FAIL
    assert {f.code for f in checked.findings} == {"V004"}
    assert "cannot be read: Permission denied" in checked.findings[0].message
    assert not run.is_whole(stored)


def test_two_hashes_of_one_artifact_do_not_verify(run):
    ref = run.steps()["inspect"].facts
    run.append("note", {**to_plain(ref), "sha256": "0" * 64})
    run.append("note", to_plain(ref))
    run.close()
    assert [f.code for f in verify_run(run.folder).findings] == ["V005"]


def test_a_run_that_goes_on_while_it_is_verified_is_no_forgery(run, monkeypatch):
    really = records.read_log
    looks = []

    def read_log(folder):
        log = really(folder)
        looks.append(len(log.entries))
        if len(looks) == 1:
            run.append("note", {"written": "between the looks"})
        return log

    monkeypatch.setattr("seatrial.evidence.verify.records.read_log", read_log)
    checked = verify_run(run.folder)
    assert checked.verdict is Verdict.PASS, checked.findings
    assert looks == [3, 4]


def test_a_manifest_that_is_a_pipe_is_no_run_and_nothing_waits_for_it(run):
    run.close()
    (run.folder / "manifest.json").unlink()
    os.mkfifo(run.folder / "manifest.json")
    with pytest.raises(WorkspaceError, match="cannot be read"):
        Run.read(run.folder)


def test_a_run_that_was_unreadable_is_listed_again_once_it_was_restored(workspace, run):
    run.append("finished", {"verdict": "pass", "signed_off": True, "reason": ""})
    run.close()
    file = run.folder / records.RECORDS
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"fine", b"good"))
    assert list_runs(workspace)[0].state == "unreadable"
    file.write_bytes(whole)
    assert list_runs(workspace)[0].state == "finished"


@pytest.mark.parametrize("name", ["records.jsonl", "head.json"])
def test_a_pipe_that_nobody_writes_to_is_no_record_and_nothing_waits_for_it(run, name):
    run.close()
    (run.folder / name).unlink()
    os.mkfifo(run.folder / name)
    assert verify_run(run.folder).verdict is Verdict.FAIL


@pytest.mark.parametrize("name", [records.RECORDS, records.HEAD])
def test_a_folder_in_place_of_a_file_is_said(workspace, run, name):
    run.close()
    (run.folder / name).unlink()
    (run.folder / name).mkdir()
    assert verify_run(run.folder).verdict is Verdict.FAIL
    assert list_runs(workspace)
    with pytest.raises(WorkspaceError):
        Run.resume(run.folder)
    if name == records.RECORDS:
        with pytest.raises(WorkspaceError):
            Run.read(run.folder)


def test_a_run_folder_whose_name_is_not_utf8_is_listed(workspace, run):
    run.close()
    run.folder.rename(run.folder.parent / os.fsdecode(b"2026-\xff"))
    assert len(list_runs(workspace)) == 1
    to_json(list_runs(workspace))


def test_text_that_is_not_utf8_is_written_with_its_bytes_escaped():
    assert json.loads(to_json({"a": ["x\udcff", {"\udc80": 1}]})) == {"a": ["x\\udcff", {"\\udc80": 1}]}


def test_secrets_in_a_steps_commands_are_not_stored(run, tmp_path):
    step = replace(
        result(tmp_path, "dummy"),
        commands=(
            Command(
                purpose="serve",
                argv=("vllm", "serve", "--api-key", "sesame-1", "--arg", "api-key=sesame-2", "--arg=hf_token=sesame-3"),
                env={"HF_TOKEN": "sesame-4", "OMP_NUM_THREADS": "2"},
            ),
        ),
    )
    stored = run.store(step, inputs="c", started_at="t", duration_s=1.0)
    assert b"sesame" not in (run.folder / records.RECORDS).read_bytes()
    assert stored.commands[0].env["OMP_NUM_THREADS"] == "2"
