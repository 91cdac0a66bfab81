"""The change of a round is a real one: a difference that is kept and can be applied, or a setting that is measured."""

from __future__ import annotations

import hashlib
import json
import subprocess

import pytest
from click.testing import CliRunner
from tests.measure.made import bench_run, side
from tests.measure.test_loop import EVIDENCE, GOAL
from tests.measure.test_loop_fair import SEQS, ab, kept

from seatrial.cli.loop import command
from seatrial.core.errors import UsageError
from seatrial.core.record import replace
from seatrial.delivery.verify import verify_bundle
from seatrial.evidence import Run, open_workspace
from seatrial.evidence.verify import verify_run
from seatrial.measure.compare.setup import Setup
from seatrial.measure.loop.change import diff_faults, not_compared, read_setting, told
from seatrial.measure.loop.events import DiffFile, Lesson, Patch, Setting
from seatrial.workflow.loop import (
    accuracy_from,
    add_event,
    baseline_from,
    loop_state,
    performance_from,
    present_diff,
    recorded_change,
    start_loop,
)

WHY = ("h", "5 %", "none")


def git(folder, *words):
    done = subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.invalid", *words],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


@pytest.fixture
def checkout(tmp_path):
    root = tmp_path / "plugin"
    root.mkdir()
    git(root, "init", "-q")
    (root / "a.py").write_text("x = 1\n")
    git(root, "add", ".")
    git(root, "commit", "-qm", "one")
    return root


@pytest.fixture
def loop(tmp_path):
    """A loop whose baseline served one sequence at a time, and which waits for its change."""
    workspace = open_workspace(tmp_path, write=True)
    base = kept(workspace, "base", [bench_run(100.0, "base", **{SEQS: "1"})])
    name = start_loop(workspace, replace(GOAL, sla=""), "cpu", None, ())
    add_event(workspace, name, baseline_from(workspace, base, "request_throughput"))
    add_event(workspace, name, replace(EVIDENCE, evidence=(base,)))
    return workspace, name


def record(loop, repository=None, base="", change=""):
    found = recorded_change(repository, base, change, *WHY)
    return add_event(*loop, found.patch, found.diff).rounds[-1].patch


def verified(folder):
    return verify_bundle(folder).runs[0].findings


def take(loop, run, diff=""):
    add_event(*loop, accuracy_from(loop[0], run, diff))
    return add_event(*loop, performance_from(loop[0], run, "request_throughput", diff))


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("max-num-seqs: 1 -> 4", Setting(field="flag.max-num-seqs", before="1", after="4")),
        ("--max_num_seqs: unset -> 4", Setting(field="flag.max-num-seqs", before=None, after="4")),
        ("HCCL_OP_EXPANSION_MODE: unset -> AIV", Setting(field="env.HCCL_OP_EXPANSION_MODE", before=None, after="AIV")),
        ("env.x: a b -> unset", Setting(field="env.x", before="a b", after=None)),
    ],
)
def test_a_setting_is_a_flag_or_a_variable_with_both_values(text, setting):
    assert read_setting(text) == setting
    assert text.lstrip("-").replace("_", "-").endswith(told(setting).replace("_", "-"))


@pytest.mark.parametrize(
    "text",
    ["faster attention", "max-num-seqs: 4", "max-num-seqs: 4 -> 4", "x: -> 4", "x: unset -> unset", "a b: 1 -> 2"],
)
def test_words_are_no_change(text):
    with pytest.raises(UsageError, match="no setting that changes"):
        recorded_change(None, "", text, *WHY)


def test_without_anything_or_with_a_base_alone_it_asks_for_the_change():
    with pytest.raises(UsageError, match="what is the change"):
        recorded_change(None, "", " ", *WHY)
    with pytest.raises(UsageError, match="--base is a commit of a checkout"):
        recorded_change(None, "HEAD", "a: 1 -> 2", *WHY)


def test_the_difference_is_kept_with_its_new_files_and_can_be_applied(loop, checkout, tmp_path):
    (checkout / "a.py").write_text("x = 2\n")
    (checkout / "new.py").write_text("y = 1\n")
    patch = record(loop, checkout)
    assert patch.paths == ("a.py", "new.py")
    assert patch.change.startswith("2 files, +2 -1 since ")
    run = Run.read(loop[0].run_folder(loop[1]))
    data = (run.artifacts_folder / patch.file.file).read_bytes()
    assert hashlib.sha256(data).hexdigest() == patch.diff == patch.file.sha256
    git(tmp_path, "clone", "-q", str(checkout), "again")
    subprocess.run(["git", "apply", "-"], cwd=tmp_path / "again", input=data, check=True)
    assert (tmp_path / "again" / "new.py").read_text() == "y = 1\n"
    assert (tmp_path / "again" / "a.py").read_text() == "x = 2\n"
    assert verify_run(run.folder).verdict.value == "pass"


def test_the_change_is_of_the_folder_named_and_of_nothing_beside_it(loop, checkout):
    (checkout / "inner").mkdir()
    (checkout / "inner" / "b.py").write_text("z = 1\n")
    (checkout / "a.py").write_text("x = 2\n")
    assert record(loop, checkout / "inner").paths == ("b.py",)


def test_a_change_that_is_committed_needs_the_commit_before_it_and_is_the_same_change(loop, checkout):
    (checkout / "a.py").write_text("x = 2\n")
    (checkout / "Z.py").write_text("z = 1\n")
    patch = record(loop, checkout)
    git(checkout, "add", ".")
    git(checkout, "commit", "-qm", "two")
    with pytest.raises(UsageError, match="differs from HEAD: there is no change"):
        recorded_change(checkout, "", "", *WHY)
    assert recorded_change(checkout, "HEAD~1", "", *WHY).patch.diff == patch.diff
    # What was recorded is still there, wherever it was recorded.
    assert present_diff(loop_state(*loop), None) == patch.diff
    (checkout / "a.py").write_text("x = 3\n")
    assert present_diff(loop_state(*loop), checkout) != patch.diff


def test_no_checkout_no_commit_and_no_folder_are_refused(loop, checkout, tmp_path):
    for place, base, words in (
        (tmp_path / "none", "", "is no folder"),
        (tmp_path, "", "in no git repository"),
        (checkout, "nowhere", "knows no commit"),
    ):
        with pytest.raises(UsageError, match=words):
            recorded_change(place, base, "", *WHY)


def test_a_kept_change_that_is_not_committed_is_not_in_the_next_one(loop, checkout):
    (checkout / "a.py").write_text("x = 2\n")
    diff = record(loop, checkout).diff
    take(loop, ab_of_code(loop[0], "first"), diff)
    add_event(*loop, Lesson(text="better", kept=True))
    add_event(*loop, replace(EVIDENCE, evidence=("first",)))
    (checkout / "b.py").write_text("y = 1\n")
    with pytest.raises(UsageError, match="holds the change of round 1, which was kept"):
        record(loop, checkout)
    git(checkout, "commit", "-qam", "two")
    assert record(loop, checkout).paths == ("b.py",)


def ab_of_code(workspace, name):
    """A comparison whose sides differ in where the code comes from."""
    one = {SEQS: "1"}
    b = side([130, 131, 132, 133], "new", **one, env__PYTHONPATH="new")
    return kept(workspace, name, side([100, 101, 102, 103], "old", **one), b)


def test_code_that_is_measured_with_another_flag_too_is_two_changes(tmp_path):
    file = DiffFile(name="p", sha256="d", bytes=1, file="d")
    code = Patch(diff="d", change="c", hypothesis="h", expected="e", risks="r", commit="c0", paths=("a",), file=file)
    old, new = {"env.PYTHONPATH": "old", "flag.x": "1"}, {"env.PYTHONPATH": "new", "flag.x": "1"}
    a, b = Setup(label="a", facts=old), Setup(label="b", facts=new)
    assert not_compared(code, a, b) == ""
    other = Setup(label="b", facts={**new, "flag.x": "2"})
    assert "flag.x differs too (1 and 2)" in not_compared(code, a, other)
    both = replace(code, setting=Setting(field="flag.x", before="1", after="2"))
    assert not_compared(both, a, other) == ""
    assert "flag.x is 1 on the side b, not 2" in not_compared(both, a, b)


def test_a_setting_begins_at_what_stands(loop):
    with pytest.raises(UsageError, match=r"what stands, base: flag.max-num-seqs is 1 there, not 2"):
        record(loop, change="max-num-seqs: 2 -> 4")
    with pytest.raises(UsageError, match=r"flag.max-model-len is unset there, not 64"):
        record(loop, change="max-model-len: 64 -> 32")
    assert record(loop, change="max-num-seqs: 1 -> 4").change == "max-num-seqs: 1 -> 4"


def test_what_is_measured_is_the_setting_that_was_recorded(loop):
    record(loop, change="max-num-seqs: 1 -> 8")
    with pytest.raises(UsageError, match=r"max-num-seqs: 1 -> 8: flag.max-num-seqs is 4 on the side four, not 8"):
        take(loop, ab(loop[0], "other"))
    right = ab(loop[0], "right", b={SEQS: "8"})
    state = add_event(*loop, performance_from(loop[0], right, "request_throughput", ""))
    assert state.rounds[0].performance.answer == "pass"
    assert not [f for f in verified(loop[0].run_folder(loop[1])) if f.code == "Y222"]


def test_verify_names_a_round_that_was_measured_with_another_change(loop, monkeypatch):
    monkeypatch.setattr("seatrial.workflow.loop_fair.not_compared", lambda *_: "")
    record(loop, change="max-num-seqs: 1 -> 8")
    take(loop, ab(loop[0], "other"))
    said = [f.message for f in verified(loop[0].run_folder(loop[1])) if f.code == "Y222"]
    assert said == ["other does not compare the change of its round: flag.max-num-seqs is 4 on the side four, not 8"]


def test_a_setting_has_no_checkout(loop, checkout):
    record(loop, change="max-num-seqs: 1 -> 4")
    with pytest.raises(UsageError, match="is no code"):
        present_diff(loop_state(*loop), checkout)


def test_verify_derives_the_change_and_says_what_is_forged(loop, checkout):
    (checkout / "a.py").write_text("x = 2\n")
    patch = record(loop, checkout)
    folder = loop[0].run_folder(loop[1])
    assert [f.code for f in verified(folder) if f.code == "Y222"] == []
    data = (folder / "artifacts" / patch.file.file).read_bytes()
    assert diff_faults(patch, data) == []
    assert "the stored difference has" in diff_faults(patch, data + b"+x\n")[0]
    assert diff_faults(replace(patch, paths=("a.py", "b.py")), data) == [
        "it names 2 paths, the stored difference has 1 files"
    ]
    assert diff_faults(patch, None) == ["its stored difference is not there"]
    setting = recorded_change(None, "", "x: 1 -> 2", *WHY).patch
    assert diff_faults(setting, None) == []
    assert diff_faults(replace(setting, setting=replace(setting.setting, after="3")), None)
    (folder / "artifacts" / patch.file.file).unlink()
    assert any("its stored difference is not there" in f.message for f in verified(folder))


def test_the_command_takes_code_and_shows_it(loop, checkout, tmp_path):
    (checkout / "a.py").write_text("x = 2\n")
    words = ["--hypothesis", "h", "--expected", "e", "--risks", "r", "--workspace", str(tmp_path)]
    done = CliRunner().invoke(command, ["record", "patch", "--repo", str(checkout), *words, "--json"])
    assert done.exit_code == 0, done.output
    patch = json.loads(done.stdout)["state"]["rounds"][0]["patch"]
    assert patch["root"] == str(checkout)
    shown = CliRunner().invoke(command, ["status", "--workspace", str(tmp_path)]).output
    assert "round 1: 1 file, +1 -1 since " in shown
