"""Where a log may come from (pipes, standard input, driver logs), and what the workspace's runs know about it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import zipfile

import pytest

from seatrial.cli._past_incidents import past
from seatrial.core.errors import UsageError
from seatrial.core.step import StepResult
from seatrial.core.verdict import failed, passed
from seatrial.evidence import Run, open_workspace
from seatrial.evidence.manifest import Manifest
from seatrial.triage import Library, diagnose, diagnose_text, library

FAILED = (
    "(Worker_TP0 pid=77) ERROR 05-12 10:41:24 [x.py:1] Traceback (most recent call last):\n"
    '(Worker_TP0 pid=77) ERROR 05-12 10:41:24 [x.py:1]   File "/x/vllm/config/model.py", line 9, in f\n'
    "(Worker_TP0 pid=77) ERROR 05-12 10:41:24 [x.py:1] ValueError: LoRA rank 64 is greater than max_lora_rank 16.\n"
)


def run(*args, **more):
    return subprocess.run(
        [sys.executable, "-m", "seatrial", "triage", *args], capture_output=True, timeout=500, check=False, **more
    )


def test_a_pipe_without_a_writer_is_a_usage_error_not_a_hang(tmp_path, monkeypatch):
    monkeypatch.setattr("seatrial.triage.read.PIPE_WAIT_S", 0)
    os.mkfifo(tmp_path / "p")
    with pytest.raises(UsageError, match="nothing writes to it"):
        diagnose([tmp_path / "p"])


@pytest.mark.parametrize("quiet", [False, True])
def test_a_pipe_with_a_writer_is_read_to_its_end(tmp_path, monkeypatch, quiet):
    os.mkfifo(tmp_path / "p")
    opened, go = threading.Event(), threading.Event()
    monkeypatch.setattr("seatrial.triage.read.PIPE_WAIT_S", 0 if quiet else 300)

    def write():
        with (tmp_path / "p").open("wb") as pipe:
            opened.set()
            if quiet:
                go.wait(300)
            pipe.write(FAILED.encode())

    writer = threading.Thread(target=write)
    writer.start()
    if quiet:
        # The writer can only open once somebody reads: hold a second reader's end until triage has its own.
        held = os.open(tmp_path / "p", os.O_RDONLY | os.O_NONBLOCK)
        opened.wait(300)
        # It waits for what is to come only once it has seen that somebody holds the other end: then something comes.
        real = os.set_blocking
        monkeypatch.setattr("seatrial.triage.read.os.set_blocking", lambda *words: (go.set(), real(*words)))
    answer = diagnose([tmp_path / "p"])
    writer.join(300)
    if quiet:
        os.close(held)
    assert answer.category == "lora"
    assert answer.sources[0].size == len(FAILED)


def test_a_bundle_from_standard_input_holds_the_log_and_its_hash(tmp_path):
    done = run("-", "--json", "--bundle", str(tmp_path / "b.zip"), input=FAILED.encode(), cwd=tmp_path)
    answer = json.loads(done.stdout)
    assert answer["category"] == "lora"
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        assert archive.read("raw/000-stdin.log").decode() == FAILED
        assert answer["sources"][0]["sha256"] in archive.read("facts/sha256-of-the-originals.txt").decode()
    assert [f.name for f in tmp_path.iterdir()] == ["b.zip"]


def test_a_line_of_the_driver_is_named_by_the_process_the_engine_gave_that_pid(tmp_path):
    (tmp_path / "serve.log").write_text("(Worker_TP3 pid=4711) INFO 11-03 02:11:00 [worker.py:1] not yet\n")
    plog = tmp_path / "plog"
    plog.mkdir()
    (plog / "plog-4711_20251103.log").write_text(
        "[ERROR] HCCL(4711,python3):2025-11-03-02:11:01.123.456 [x.cc:1]EI0006: Getting socket times out.\n"
    )
    answer = diagnose([tmp_path])
    assert answer.category == "hccl-communication"
    assert answer.first_cause.process == "Worker_TP3 pid=4711"


def test_the_log_of_atb_is_parsed():
    text = (
        "[2026-01-29 12:08:30.615481] [error] [439962] [operation_base.cpp:182] inTensor [0] CheckTensorShape failed.\n"
    )
    answer = diagnose([io.BytesIO(text.encode())], signatures=Library(library().signatures))
    assert answer.category == "kernel-limit"
    assert diagnose_text(text).category in {"kernel-limit", "unknown"}  # one line out of its log
    assert answer.first_cause.process == "pid=439962"
    assert answer.first_cause.time.startswith("2026-01-29")


def test_a_failure_after_sleep_is_blamed_on_sleep_until_the_engine_is_woken():
    asleep = 'INFO:     10.0.0.1:1 - "POST /sleep HTTP/1.1" 200 OK\n'
    awake = 'INFO:     10.0.0.1:1 - "POST /wake_up HTTP/1.1" 200 OK\n'
    fault = "RuntimeError: CUDA error: an illegal memory access was encountered\n"
    assert diagnose_text(asleep + fault).category == "sleep-mode-race"
    assert diagnose_text(asleep + awake + "x\n" * 3 + fault).signature != "sleep.asleep"
    assert diagnose_text(fault).category != "sleep-mode-race"


@pytest.mark.parametrize(
    ("calls", "signature"),
    [
        (("sleep", "wake_up"), "sleep.after-wake-up"),
        (("sleep", "wake_up", "sleep"), "sleep.asleep"),
        (("sleep", "wake_up", "sleep", "wake_up"), "sleep.after-wake-up"),
    ],
)
def test_an_engine_that_sleeps_a_second_time_is_asleep_again(calls, signature):
    lines = [f'INFO:     10.0.0.1:{1000 + n} - "POST /{call} HTTP/1.1" 200 OK' for n, call in enumerate(calls)]
    answer = diagnose_text("\n".join([*lines, "RuntimeError: CUDA error: an illegal memory access was encountered"]))
    assert answer.signature == signature


@pytest.mark.parametrize(
    "dress",
    [
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: b"\0" * 70_000 + text,
        lambda text: b"\0" * (5 << 20) + text,
        lambda text: text.decode().encode("utf-16-le"),
        lambda text: text.decode().encode("utf-16-be"),
    ],
    ids=["utf-8-mark", "emptied-while-written", "emptied-late", "utf-16-without-mark", "utf-16-be-without-mark"],
)
def test_a_first_line_behind_marks_and_zeros_is_read(dress):
    answer = diagnose([io.BytesIO(dress(FAILED.splitlines()[2].partition("] ")[2].encode() + b"\n"))])
    assert answer.category == "lora"
    assert answer.first_cause.line == 1


def test_the_arguments_at_the_head_of_a_large_log_are_known(tmp_path):
    log = tmp_path / "big.log"
    filler = b"INFO 11-03 02:11:00 [loggers.py:1] Engine 000: Avg prompt throughput: 0.0 tokens/s\n" * 60_000
    log.write_bytes(
        b"vllm serve m --pipeline-parallel-size 2\n" + filler + b"KeyError: 'model.layers.0.self_attn.attn'\n"
    )
    assert log.stat().st_size > 4 << 20
    assert diagnose([log]).category == "pipeline-parallel"


def manifest(run_id: str, target: str = "npu") -> Manifest:
    return Manifest(
        schema_version=1, run_id=run_id, created_at="2026-01-01T00:00:00+00:00", seatrial_version="0",
        arguments_given=("run", "x"), arguments={}, checkpoint="Qwen3", target={"name": target}, target_sources=(),
        python="python", versions={}, git=(), hardware={}, environment={}, environment_other_names=(), inputs={},
    )  # fmt: skip


def keep(workspace, number: int, *, error: dict | None, target: str = "npu") -> str:
    name = f"2026010{number}-000000-x-000{number}"
    made = Run.create(workspace.runs_folder / name, manifest(name, target))
    facts = {"attempts": [{"first_error": error}]} if error else {"attempts": []}
    outcome = failed("it did") if error else passed()
    made.store(
        StepResult(step="gate", outcome=outcome, summary="s", facts=facts), inputs="i", started_at="t", duration_s=1.0
    )
    made.close()
    return name


def error(text: str, signature: str = "") -> dict:
    return {"line": 3, "text": text, "process": "", "kind": "exception", "category": "lora", "signature": signature}


def test_an_earlier_run_that_failed_alike_is_named_with_the_run_that_passed_later(tmp_path):
    workspace = open_workspace(tmp_path, write=True)
    first = keep(workspace, 1, error=error("ValueError: LoRA rank 8 is greater than max_lora_rank 4."))
    keep(workspace, 2, error=error("KeyError: 'something else'"))
    keep(workspace, 3, error=None, target="cpu")
    mended = keep(workspace, 4, error=None)
    known = past(diagnose_text(FAILED), workspace)
    assert known.runs == 4
    assert [(i.run, i.step, i.alike_by, i.later_pass) for i in known.incidents] == [(first, "gate", "text", mended)]


def test_the_same_signature_is_similar_and_no_signature_is_not(tmp_path):
    workspace = open_workspace(tmp_path, write=True)
    answer = diagnose_text(FAILED)
    keep(workspace, 1, error=error("worded otherwise", answer.signature))
    keep(workspace, 2, error=error("worded otherwise", ""))
    assert [i.alike_by for i in past(answer, workspace).incidents] == ["signature"]
    unknown = diagnose_text("RuntimeError: a thing nobody has seen in 7 years\n")
    assert unknown.signature == ""
    keep(workspace, 3, error=error("RuntimeError: a thing nobody has seen in 12 years"))
    assert [i.alike_by for i in past(unknown, workspace).incidents] == ["text"]


def test_a_run_that_cannot_be_read_is_counted(tmp_path):
    workspace = open_workspace(tmp_path, write=True)
    name = keep(workspace, 1, error=error("x"))
    (workspace.runs_folder / name / "manifest.json").write_text("{")
    known = past(diagnose_text(FAILED), workspace)
    assert (known.runs, known.unreadable, known.incidents) == (0, 1, ())


def test_the_command_shows_what_was_seen_before(tmp_path):
    workspace = open_workspace(tmp_path, write=True)
    name = keep(workspace, 1, error=error("ValueError: LoRA rank 8 is greater than max_lora_rank 4."))
    (tmp_path / "x.log").write_text(FAILED)
    shown = run("x.log", cwd=tmp_path).stdout.decode()
    assert "seen before" in shown
    assert name in shown.replace("\n", "")
    assert json.loads(run("x.log", "--json", cwd=tmp_path).stdout)["past"]["total"] == 1
    (tmp_path / "none").mkdir()
    assert json.loads(run("x.log", "--json", "--workspace", "none", cwd=tmp_path).stdout)["past"] is None


QUIET = "INFO 05-12 10:00:00 [core.py:1] Starting to load the model\n"


@pytest.mark.parametrize(
    "line",
    [
        "ERROR 05-12 10:00:00 [x.py:1] quux frobnicates the zork",
        "(EngineCore_DP0 pid=3) ERROR 05-12 10:00:00 [x.py:1] something broke for good",
        "[ERROR] RUNTIME(4711,python3):2025-11-03-02:11:01.123.456 [x.cc:1]4711 quux: something broke",
        "thread 'main' panicked at src/main.rs:10:5:",
        "terminate called after throwing an instance of 'quux::Odd'",
        "python: foo.c:12: bar: Assertion `x' failed.",
        "openai client: QuuxError: a call without a name",
        "collect2: error: ld returned 1 exit status",
        "::zork:: Traceback (most recent call last):",
    ],
)
def test_an_error_that_nobody_knows_is_shown_and_never_called_clean(line):
    answer = diagnose_text(QUIET + line + "\n" + QUIET)
    assert not answer.healthy
    assert answer.category == "unknown"
    assert answer.first_cause is not None
    assert answer.first_cause.line == 2


@pytest.mark.parametrize(
    "line",
    [
        "WARNING 05-12 10:00:00 [x.py:1] cannot import fast path (ImportError: no fast path), using the slow one",
        'WARNING 05-12 10:00:00 [_custom_ops.py:20] Failed to import from vllm._C with ImportError("x")',
        'INFO:     127.0.0.1:1 - "POST /v1/completions HTTP/1.1" 200 OK',
        "INFO 05-12 10:00:00 [core.py:1454] [shutdown] EngineCore: trigger received signal=SIGTERM",
    ],
)
def test_warnings_and_noise_leave_a_log_clean(line):
    assert diagnose_text(QUIET + line + "\n").healthy


def test_an_unknown_error_beside_wrappers_is_shown_as_the_first():
    answer = diagnose_text(
        "ERROR 05-12 10:00:00 [x.py:1] quux frobnicates the zork\n"
        "(APIServer pid=80) RuntimeError: Engine core initialization failed. See root cause above. Failed core "
        "proc(s): {}\n"
    )
    assert answer.category == "unknown"
    assert "quux" in answer.first_cause.text


def test_a_failure_that_nobody_knows_before_the_cause_is_listed_and_what_is_left_out_is_counted():
    strange = "(Worker_TP1 pid={0}) ERROR 05-12 10:00:00 [x.py:1] QuuxError: odd {1}\n"
    before = "".join(strange.format(n, "z" * n) for n in range(30))
    answer = diagnose_text(before + FAILED + strange.format(99, "after"))
    assert answer.category == "lora"
    assert answer.others[0].text == "QuuxError: odd"
    assert [m.text for m in answer.consequences] == ["QuuxError: odd after"]
    assert answer.unlisted == 30 - len(answer.others)


def test_a_file_that_is_named_twice_is_read_once(tmp_path):
    (tmp_path / "a.log").write_text(FAILED)
    answer = diagnose([tmp_path, tmp_path / "a.log", str(tmp_path / "a.log")])
    assert answer.category == "lora"
    assert answer.others == ()
    assert [bool(s.dropped) for s in answer.sources] == [False, True, True]
    assert "the same file" in answer.sources[1].dropped


def test_what_every_rank_writes_into_its_own_file_is_told_once(tmp_path):
    for rank in range(8):
        text = FAILED.replace("TP0 pid=77", f"TP{rank} pid={70 + rank}").replace("10:41:24", f"10:41:{30 - rank}")
        (tmp_path / f"rank_{rank}.log").write_text(text)
    answer = diagnose([tmp_path])
    assert answer.category == "lora"
    assert answer.first_cause.process == "Worker_TP7 pid=77"  # the first by the clock
    assert answer.others == ()
    died = "(EngineCore pid=1) ERROR 05-12 10:42:00 [m.py:315] Worker proc VllmWorker-{} died unexpectedly "
    died += "(exit code: {}).\n"
    (tmp_path / "a.log").write_text(died.format(0, -15))
    (tmp_path / "b.log").write_text(died.format(1, -9))
    assert [(d.process, d.code) for d in diagnose([tmp_path]).deaths] == [("VllmWorker-1", -9)]


def test_a_failure_that_the_engine_logs_again_is_told_once_with_who_logged_it():
    worker = FAILED + FAILED.replace("TP0 pid=77", "TP1 pid=78")
    engine = FAILED.replace("Worker_TP0 pid=77", "EngineCore_DP0 pid=9").replace("x.py:1", "core.py:8")
    api = "".join("(APIServer pid=8) " + line.partition("] ")[2] + "\n" for line in FAILED.splitlines())
    strange = "(Worker_TP{0} pid=8{0}) ERROR 05-12 10:50:00 [x.py:{0}] QuuxError: odd\n"
    answer = diagnose_text(worker + engine + api + strange.format(3) + "INFO 05-12 x\n" + strange.format(4))
    assert answer.first_cause.process == "Worker_TP0 pid=77"
    assert answer.first_cause.count == 4
    assert len(answer.first_cause.processes) == 4
    assert answer.others == ()
    assert [m.text for m in answer.consequences] == ["QuuxError: odd"]
    assert answer.unlisted == 0


def test_a_folder_that_cannot_be_looked_into_is_named_and_the_answer_is_not_clean(tmp_path, monkeypatch):
    (tmp_path / "a.log").write_text(QUIET)
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "w.log").write_text(FAILED)
    scan = os.scandir

    def closed(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr("os.scandir", closed)
    answer = diagnose([tmp_path])
    assert not answer.healthy
    assert [(s.file.rpartition("/")[2], bool(s.dropped)) for s in answer.sources] == [
        ("a.log", False),
        ("closed", True),
    ]
    assert "Permission denied" in answer.explanation


def test_a_folder_of_too_many_files_is_not_called_clean(tmp_path, monkeypatch):
    monkeypatch.setattr("seatrial.triage.read.MAX_FILES", 3)
    for number in range(5):
        (tmp_path / f"{number}.log").write_text(QUIET)
    answer = diagnose([tmp_path])
    assert not answer.healthy
    assert len(answer.sources) == 4
    assert "more than 3 files" in answer.explanation


@pytest.mark.parametrize("line", ["Health check returned status 200", "request finished with status 204"])
def test_a_good_status_is_no_failure(line):
    assert diagnose_text(QUIET + line + "\n").healthy


def test_a_warning_of_a_loose_shape_leaves_a_server_well_and_is_listed():
    warning = (
        "(APIServer pid=1) WARNING 11-21 02:56:27 [config.py:2276] With this KV cache type the accuracy may drop; this "
        "is suboptimal for long prompts.\n"
    )
    answer = diagnose_text(QUIET + warning + "INFO:     Application startup complete.\n")
    assert answer.healthy
    assert any("suboptimal" in m.text for m in answer.others)
