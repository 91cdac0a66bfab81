"""The first error of a log is the cause, not the last line and not the wrapper around it."""

from __future__ import annotations

import importlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.gates.first_error import first_error, plain_error

WORKER = "(Worker pid=7) ERROR 11-20 14:52:25 [multiproc_executor.py:953] "
CORE = "(EngineCore pid=5) ERROR 11-20 14:52:26 [core.py:1512] "
CHAIN = [
    "(APIServer pid=1) INFO 11-20 14:52:01 [api_utils.py:347] hello",
    "(APIServer pid=1) WARNING 11-20 14:52:01 [system_utils.py:255] limits can cause errors like `OSError: [Errno 24]`",
    WORKER + "WorkerProc failed to start.",
    WORKER + "Traceback (most recent call last):",
    WORKER + '  File "llama.py", line 300, in load_weights',
    WORKER + "    param = params_dict[name]",
    WORKER + "KeyError: 'layers.3.mlp.gate.weight'",
    CORE + "EngineCore failed to start.",
    CORE + "Traceback (most recent call last):",
    CORE + '  File "core.py", line 900, in run_engine_core',
    CORE + "Exception: WorkerProc initialization failed due to an exception in a background process.",
    "RuntimeError: Engine core initialization failed. See root cause above.",
]


def write(tmp_path, lines):
    log = tmp_path / "server.log"
    log.write_text("\n".join(lines) + "\n")
    return log


def test_the_workers_exception_comes_before_its_wrappers(tmp_path):
    error = plain_error(write(tmp_path, CHAIN))
    assert (error.line, error.text, error.process) == (7, "KeyError: 'layers.3.mlp.gate.weight'", "Worker pid=7")
    assert first_error(write(tmp_path, CHAIN)).text == "KeyError: 'layers.3.mlp.gate.weight'"


def test_a_native_crash_is_the_cause_of_the_python_errors_after_it(tmp_path):
    crash = ["!!!!!!! Segfault encountered !!!!!!!", *CHAIN[7:]]
    error = first_error(write(tmp_path, crash))
    assert (error.line, error.kind) == (1, "native-crash")


def test_a_dead_worker_is_named_where_nothing_else_is(tmp_path):
    died = (
        WORKER.replace("Worker pid=7", "EngineCore pid=5")
        + "Worker proc VllmWorker-1 died unexpectedly (exit code: -9)"
    )
    assert plain_error(write(tmp_path, [*CHAIN[:2], died])).kind == "process-death"


@pytest.mark.parametrize("lines", [[], CHAIN[:2], ["x" * 300_000, "INFO 11-20 14:52:01 [a.py:1] ok"]])
def test_a_log_without_an_error_has_none(tmp_path, lines):
    assert plain_error(write(tmp_path, lines)) is None


def test_colours_bytes_and_endless_lines_do_no_harm(tmp_path):
    log = tmp_path / "server.log"
    log.write_bytes(
        b"\xff\xfe\x00" * 100_000 + b"\n\x1b[31mTraceback (most recent call last):\x1b[0m\n  x\nValueError: bad\n"
    )
    assert plain_error(log).text == "ValueError: bad"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("corrupt.log", "SafetensorError"),
        ("extra_key.log", "no module or parameter named 'layers.0.self_attn.query_norm'"),
        ("heads.log", "num_heads (3) is not divisible by num_kv_heads (2)"),
        ("membudget.log", "less than desired CPU memory utilization"),
        ("port_busy.log", "Address already in use"),
        ("false_ready_ep.log", "Segfault encountered"),
    ],
)
def test_the_captured_logs_give_their_cause(shared_data, name, words):
    assert words in first_error(shared_data / "logs" / name).text


def test_the_captured_log_of_a_silent_failure_gives_none(shared_data):
    assert plain_error(shared_data / "logs" / "missing_key.log") is None


def slowly(log):
    """The same by reading every line: what the fast way must agree with."""
    module = importlib.import_module("seatrial.gates.first_error")

    kept = module._telling
    module._telling = lambda file, inside: enumerate(module.lines_of(file), 1)
    try:
        return plain_error(log)
    finally:
        module._telling = kept


WORDS = (
    "INFO 11-20 14:52:01 [a.py:1] fine, no default fault of ours",
    "Traceback (most recent call last):",
    '  File "x.py", line 3, in f',
    "ValueError: bad",
    "WARNING 11-20 14:52:01 [a.py:1] a Warning of an Exit",
    "(Worker pid=7) ERROR 11-20 14:52:25 [a.py:1] Traceback (most recent call last):",
    "(Worker pid=7) ERROR 11-20 14:52:25 [a.py:1] KeyError: 'x'",
    "(Worker pid=7) ERROR 11-20 14:52:25 [a.py:1] plain words",
    "Exception: WorkerProc initialization failed",
    "torch.OutOfMemoryError: none left",
    "\x1b[31mRuntimeError: red\x1b[0m",
    "x" * 90,
    "",
)


@given(st.lists(st.sampled_from(WORDS), max_size=30), st.sampled_from([7, 64, 4096]), st.booleans())
def test_reading_in_blocks_finds_what_reading_every_line_finds(tmp_path_factory, lines, block, ends):
    module = importlib.import_module("seatrial.gates.first_error")

    log = tmp_path_factory.getbasetemp() / "blocks.log"
    log.write_text("\n".join(lines) + ("\n" if ends else ""))
    kept, module.BLOCK = module.BLOCK, block
    try:
        assert plain_error(log) == slowly(log)
    finally:
        module.BLOCK = kept


def test_an_endless_line_over_several_blocks_is_one_line(tmp_path, monkeypatch):
    module = importlib.import_module("seatrial.gates.first_error")

    monkeypatch.setattr(module, "BLOCK", 1000)
    log = tmp_path / "server.log"
    log.write_text("x" * 300_000 + "\nValueError: on the second line\n")
    assert plain_error(log).line == 2


def test_an_exception_without_a_word_is_told_with_its_place(tmp_path):
    other = CORE + '  File "/site-packages/vllm/other.py", line 9, in f'
    bare = [
        WORKER + "Traceback (most recent call last):",
        WORKER + '  File "/site-packages/vllm/v1/runner.py", line 3, in outer',
        WORKER + "    inner(",
        other,
        WORKER + '  File "/site-packages/vllm/v1/runner.py", line 3174, in inner',
        WORKER + "    assert self.tensors is not None",
        WORKER + "           ^^^^^^^^^^^^^^^^^^^^^^^",
        WORKER + "AssertionError",
    ]
    error = first_error(write(tmp_path, [*CHAIN[:2], *bare, *CHAIN[7:]]))
    assert error.text == "AssertionError (runner.py line 3174: assert self.tensors is not None)"
    assert first_error(write(tmp_path, ["Traceback (most recent call last):", "MemoryError"])).text == "MemoryError"


def test_a_death_after_readiness_is_told_by_the_workers_exception_not_by_the_engines_notice(tmp_path):
    ready = "(APIServer pid=1) INFO:     Application startup complete."
    lines = [
        *CHAIN[:1],
        "(APIServer pid=1) WARNING 11-20 14:52:02 [vllm.py:1] max_num_scheduled_tokens is set to 2048, decrease it",
        ready,
        WORKER + "WorkerProc hit an exception.",
        WORKER + "Traceback (most recent call last):",
        WORKER + '  File "/site-packages/vllm/communicator.py", line 296, in all_gatherv',
        WORKER + "    raise NotImplementedError",
        WORKER + "NotImplementedError",
        CORE + "EngineCore encountered a fatal error.",
        CORE + "Traceback (most recent call last):",
        CORE + "RuntimeError: Worker failed with error 'None', please check the stack trace above for the root cause",
    ]
    error = first_error(write(tmp_path, lines))
    assert error.text == "NotImplementedError (communicator.py line 296: raise NotImplementedError)"
    assert error.category in {"false-ready-first-request", ""}  # triage may find that too little to name it
