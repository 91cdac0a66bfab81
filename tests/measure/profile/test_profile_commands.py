"""`seatrial profile` as a user types it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from seatrial.cli.profile import command
from seatrial.core.errors import SeatrialError, UsageError
from seatrial.measure.profile import answers, cache
from seatrial.measure.profile import extra as extra_module
from seatrial.measure.profile import open as open_module

EVENTS = [
    ("execute_context_0(0)_generation_1(1)", "user_annotation", 1, 1, 1000, 900),
    ("MatMulV3", "kernel", 0, 7, 1000, 500),
    ("ncclAllReduce", "kernel", 0, 20, 1200, 800),
]


def run(*arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)


def test_read_prints_a_screen_and_the_same_as_json(write):
    path = write(EVENTS)
    text = run("read", path, "--no-cache")
    assert text.exit_code == 0
    for word in ("MatMulV3", "gemm", "communication", "bottleneck", "idle", "steps: 1"):
        assert word in text.output
    document = json.loads(run("read", path, "--no-cache", "--json").output)
    assert document["profiler_attached"] is True
    assert document["ranks"][0]["devices"][0]["times"]["overlap_ns"] == 300
    assert not cache.cache_file(path).exists()
    assert not answers.answer_file(path).exists()


def test_the_second_answer_comes_from_beside_the_trace_and_a_changed_trace_is_read_again(write, monkeypatch):
    path = write(EVENTS)
    first = run("read", path, "--json").output

    def refuse(*_, **__):
        raise AssertionError("the trace was read again")

    with monkeypatch.context() as patched:
        patched.setattr(open_module, "open_traces", refuse)
        assert run("read", path, "--json").output == first
        with pytest.raises(AssertionError):
            run("read", path, "--json", "--top", "3")
    write([*EVENTS, ("SwiGlu", "kernel", 0, 7, 3000, 100)])
    assert "SwiGlu" in run("read", path, "--json").output


def test_a_folder_named_by_a_dot_is_read_and_answered_again(write, monkeypatch):
    path = write(EVENTS, name="captures/rank0.pt.trace.json")
    monkeypatch.chdir(path.parent)
    first = run("read", ".", "--json").output
    assert run("read", ".", "--json").output == first
    assert (path.parent.parent / "captures.seatrial.json").is_file()


def test_nothing_to_say_is_inconclusive(write):
    assert run("read", write([]), "--no-cache").exit_code == 3


def test_wrong_patterns_are_a_users_error(write):
    path = write(EVENTS)
    for arguments in (["--step-marker", "("], ["--boundary", "A"], ["--boundary", "A->("]):
        with pytest.raises(UsageError):
            run("read", path, *arguments)
    with pytest.raises(UsageError):
        run("diff", path, path, "--target", "x")


def test_without_the_extra_the_mend_is_named(write, monkeypatch):
    monkeypatch.setattr(extra_module.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SeatrialError) as caught:
        run("read", write(EVENTS), "--no-cache")
    assert "pip install 'seatrial[profile]'" in caught.value.one_line()


def test_diff_ends_with_the_verdict_of_its_prediction(write):
    a = write(EVENTS, name="a.pt.trace.json")
    b = write([EVENTS[0], ("MatMulV3", "kernel", 0, 7, 1000, 250), EVENTS[2]], name="b.pt.trace.json")
    assert run("diff", a, b, "--target", "MatMul", "--predict", "0.5").exit_code == 0
    assert run("diff", a, b, "--target", "MatMul", "--predict", "0.9", "--tolerance", "0.01").exit_code == 1
    assert json.loads(run("diff", a, b, "--json").output)["basis"] == "per step"


def test_families_are_listed():
    assert "attention" in run("families").output
    assert json.loads(run("families", "--json").output)


def test_a_place_that_cannot_be_written_is_a_users_error(write, tmp_path):
    path, gone = write(EVENTS), tmp_path / "gone" / "out"
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        run("read", path, "--no-cache", "--html", gone)
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        run("cut", path, "--no-cache", "--to", "5", "--out", gone)
