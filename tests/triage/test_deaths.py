"""Processes that ended without a traceback: what is read as a death, what only speaks of one, and where it stands."""

from __future__ import annotations

import pytest

from seatrial.triage import diagnose_text
from seatrial.triage.gates import hits

START = "INFO 05-12 10:00:00 [core.py:1] Starting to load model\n"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("run.sh: line 5: 12345 Segmentation fault      (core dumped) vllm serve m --tp 2", -11),
        ("run.sh: line 5: 12345 Killed                  vllm serve m", -9),
        ("zsh: killed     vllm serve m", -9),
        ("Aborted (core dumped)", -6),
        ("run.sh: line 5: 12345 Illegal instruction     (core dumped) vllm serve m", -4),
        ("[12345.6] python3[4711]: segfault at 0 ip 00007f12 sp 00007ffd error 4 in libhccl.so[7f+1000]", -11),
        ("      Exit Code:    139", -11),
        ("  exitcode  : -9 (pid: 123)", -9),
        ("  traceback : Signal 9 (SIGKILL) received by PID 123", -9),
        ("subprocess.CalledProcessError: Command '['x']' died with <Signals.SIGSEGV: 11>.", -11),
        ("subprocess.CalledProcessError: Command '['x']' returned non-zero exit status 137.", -9),
        ("torch.multiprocessing.spawn.ProcessExitedException: process 0 terminated with signal SIGABRT", -6),
        ("[2025-12-31 03:31:49] Exit code: -9", -9),
        ("*** SIGSEGV (@0x0) received by PID 4711 (TID 0x7f) from PID 0; stack trace: ***", -11),
        ("[node1:4711] Signal: Segmentation fault (11)", -11),
        ("vllm.service: Main process exited, code=killed, status=9/KILL", -9),
        ("Received signal 11", -11),
    ],
)
def test_a_death_is_read_with_its_line(line, code):
    answer = diagnose_text(START + line + "\n")
    assert [(d.code, d.line) for d in answer.deaths] == [(code, 2)]
    assert not answer.healthy
    assert answer.first_cause is not None
    assert answer.first_cause.line == 2
    assert str(-code) in answer.deaths[0].meaning
    assert hits(line.encode()), "a large log would not look at this line"


@pytest.mark.parametrize(
    "line",
    [
        "WARNING 05-12 10:00:00 [core.py:1] Process did not exit in time, sending SIGKILL",
        "INFO 05-12 10:00:00 [core.py:1] Registered handlers for SIGABRT, SIGSEGV",
        "(APIServer pid=1) INFO 05-12 10:00:00 [launcher.py:110] Shutting down: received signal 15",
        "Received signal 2",
        "job finished, exit code: 0",
        '*** Aborted at 1734567890 (unix time) try "date -d @1734567890" if you are using GNU date ***',
        "[2025-08-01 12:00:00 TP0] Abort running request. rid='abc'",
        "[2025-08-01 12:00:00 TP0] Abort queued request. rid='abc'",
        "Aborted request cmpl-123",
        "Killed request 7 by the client",
        "killed 0 stale processes",
        "WARNING 05-12 10:00:00 [x.py:1] Using fork may lead to a segmentation fault in native libraries",
        "INFO 05-12 10:00:00 [x.py:1] On OOM the container gets exit code 137",
    ],
)
def test_the_name_of_a_signal_is_no_death(line):
    assert diagnose_text(START + line + "\n").deaths == ()


def test_the_reasons_that_ray_lists_are_not_taken_for_what_happened():
    answer = diagnose_text(
        START
        + "(raylet) A worker died or was killed while executing a task by an unexpected system error. Worker PID: 123 "
        "Worker exit type: SYSTEM_ERROR There are some potential root causes. (1) The process is killed by SIGKILL by "
        "OOM killer due to high memory usage. (3) The worker is crashed unexpectedly due to SIGSEGV or other errors.\n"
    )
    assert answer.deaths == ()
    assert not answer.healthy


def test_two_workers_that_differ_by_their_exit_code_are_two():
    died = "(EngineCore pid=1) ERROR [m.py:315] Worker proc VllmWorker-{} died unexpectedly (exit code: {}).\n"
    answer = diagnose_text(START + died.format(0, -15) + died.format(1, -9))
    assert [(d.process, d.code, d.line) for d in answer.deaths] == [("VllmWorker-1", -9, 3)]


DUMP = """Fatal Python error: Segmentation fault

Thread 0x00007f31 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 324 in wait

Current thread 0x00007f32 (most recent call first):
  File "/v/torch/_ops.py", line 1123 in __call__
  File "/v/vllm_ascend/ops/rotary_embedding.py", line 77 in forward_oot
  File "/v/vllm/model_executor/custom_op.py", line 44 in forward

Extension modules: numpy.core._multiarray_umath (total: 120)
"""


def test_the_stack_that_a_dying_interpreter_dumps_is_shown_innermost_last():
    answer = diagnose_text(START + DUMP)
    assert answer.category == "unknown"
    assert [f.function for f in answer.first_cause.frames] == ["forward", "forward_oot", "__call__"]
    assert "signal 11" in answer.explanation


def test_an_error_before_the_death_is_shown_first():
    answer = diagnose_text(START + "ERROR 05-12 10:00:00 [x.py:1] quux frobnicates the zork\nAborted (core dumped)\n")
    assert "quux" in answer.first_cause.text
    assert "signal 6" in answer.explanation
