"""Where a log may come from (pipes, standard input, driver logs), and what the workspace's runs know about it."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import random
import subprocess
import sys
import tarfile
import threading
import tracemalloc
import zipfile

import msgspec
import pytest
from tests.cost import million_turns

from seatrial.cli._past_incidents import past
from seatrial.core.errors import UsageError
from seatrial.core.step import StepResult
from seatrial.core.verdict import failed, passed
from seatrial.evidence import Run, open_workspace
from seatrial.evidence.manifest import Manifest
from seatrial.triage import Library, diagnose, diagnose_text, library
from seatrial.triage.gates import hits, loud
from seatrial.triage.read import LogFile
from seatrial.triage.scan import Scanner
from seatrial.triage.unpack import unpacked

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


PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "plain": bytes}


@pytest.mark.parametrize("packing", PACKERS)
def test_compressed_input_is_told_by_its_first_bytes_on_standard_input_and_without_a_suffix(tmp_path, packing):
    packed = PACKERS[packing](FAILED.encode())
    done = run("-", "--json", input=packed, cwd=tmp_path)
    assert json.loads(done.stdout)["category"] == "lora"
    (tmp_path / "log").write_bytes(packed)
    answer = diagnose([tmp_path / "log"])
    assert answer.category == "lora"
    assert answer.sources[0].size == len(FAILED)


def test_zst_is_read_from_a_stream_where_a_decoder_is_there_and_else_reported():
    try:
        import zstandard
    except ImportError:
        packed = b"\x28\xb5\x2f\xfd" + bytes(40)
        assert "zst" in diagnose([io.BytesIO(packed)]).sources[0].dropped
        return
    assert diagnose([io.BytesIO(zstandard.compress(FAILED.encode()))]).category == "lora"


def ordinary(lines: int) -> bytes:
    chance = random.Random(7)
    return b"".join(b"INFO 05-12 10:00:00 [a.py:1] line %d\n" % chance.randrange(10**9) for _ in range(lines))


def packed_stream(packing: str, data: bytes) -> bytes:
    if packing == "zst":
        return pytest.importorskip("zstandard").compress(data)
    return PACKERS[packing](data)


@pytest.mark.parametrize("packing", ["gz", "bz2", "xz", "zst"])
def test_what_a_cut_archive_still_holds_is_read_and_the_cut_is_told(packing):
    whole = packed_stream(packing, FAILED.encode() + ordinary(60_000))
    for keep in (len(whole) * 2 // 3, len(whole) - 6):
        answer = diagnose([io.BytesIO(whole[:keep])])
        assert answer.category == "lora"
        assert answer.sources[0].dropped.startswith("read only up to byte ")
    quiet = packed_stream(packing, ordinary(60_000))
    cut = diagnose([io.BytesIO(quiet[: len(quiet) * 2 // 3])])
    assert not cut.healthy  # the failure may stand in what is gone
    assert "not all was read" in cut.explanation
    assert diagnose([io.BytesIO(quiet)]).healthy


@pytest.mark.parametrize("packing", ["gz", "xz"])
def test_a_fault_in_the_middle_of_an_archive_loses_only_what_is_behind_it(packing):
    damaged = bytearray(packed_stream(packing, FAILED.encode() + ordinary(60_000)))
    damaged[len(damaged) // 2] ^= 0xFF
    answer = diagnose([io.BytesIO(bytes(damaged))])
    assert answer.category == "lora"
    assert answer.sources[0].dropped


@pytest.mark.parametrize("packing", ["gz", "bz2", "xz", "zst"])
def test_an_archive_of_several_members_is_read_to_the_last(packing):
    parts = [packed_stream(packing, part) for part in (ordinary(9), FAILED.encode(), ordinary(9))]
    answer = diagnose([io.BytesIO(b"".join(parts))])
    assert answer.category == "lora"
    assert answer.first_cause.line == 12
    assert answer.sources[0].lines == 21


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


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(ordinary(90)),
        gzip.compress(ordinary(300_000))[:-9],
        bytes(range(256)) * 30_000,
        b"\x1f\x8b\x08 cut",
        b"",
    ],
    ids=["packed", "cut", "binary", "no-gz", "empty"],
)
def test_the_hash_is_that_of_the_file_on_disk_whatever_could_be_made_of_it(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    (note,) = diagnose([tmp_path / "x"], hashed=True).sources
    assert note.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_an_archive_of_files_is_not_read_as_a_log_and_says_what_to_do(tmp_path, kind):
    (tmp_path / "a.log").write_text(FAILED)
    if kind == "tar":
        with tarfile.open(tmp_path / "logs.tgz", "w:gz") as archive:
            archive.add(tmp_path / "a.log", "a.log")
    else:
        with zipfile.ZipFile(tmp_path / "logs.tgz", "w") as archive:
            archive.write(tmp_path / "a.log", "a.log")
    answer = diagnose([tmp_path / "logs.tgz"])
    assert not answer.healthy
    assert f"{kind} archive" in answer.explanation


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


@pytest.mark.parametrize("level", ["INFO 05-12 10:00:00 [logger.py:41] ", "WARNING 05-12 10:00:00 [x.py:4] ", ""])
def test_a_failure_behind_more_requests_than_are_kept_is_found(monkeypatch, level):
    monkeypatch.setattr("seatrial.triage.scan.MAX_EVENTS", 500)
    letters = random.Random(3).choices("abcdefghijklmnopqrstuvwxyz", k=40_000)
    requests = "".join(
        f"{level}Received request: prompt: 'why is {''.join(letters[n : n + 20])} missing'\n" for n in range(2000)
    )
    answer = diagnose_text(requests + FAILED)
    assert answer.category == "lora"
    assert answer.first_cause.line == 2003
    assert "1500 distinct lines" in answer.sources[0].dropped
    assert not diagnose_text(requests).healthy  # what was not looked at is no clean log


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


@pytest.mark.parametrize(
    "line",
    [
        "(EngineCore_DP0 pid=3) ERROR 05-12 10:00:00 [x.py:1] quux frobnicates the zork",
        "E20251204 10:49:24.600590 228069 engine.cpp:356] quux frobnicates the zork",
        "2025-05-12 10:00:00,123 - CRITICAL - quux frobnicates the zork",
    ],
)
def test_an_error_without_any_known_word_is_found_in_a_log_that_is_not_read_line_by_line(monkeypatch, line):
    monkeypatch.setattr("seatrial.triage.scan.SMALL", -1)
    monkeypatch.setattr("seatrial.triage.scan.HEAD", 0)
    quiet = "INFO 05-12 10:00:00 [a.py:1] line\n" * 300
    answer = diagnose_text(quiet + line + "\n" + quiet)
    assert not answer.healthy
    assert answer.first_cause.text.endswith("quux frobnicates the zork")
    assert answer.first_cause.line == 301
    assert diagnose_text(quiet).healthy


def test_such_an_error_behind_a_progress_bar_is_read_without_the_bar(monkeypatch):
    monkeypatch.setattr("seatrial.triage.scan.SMALL", -1)
    monkeypatch.setattr("seatrial.triage.scan.HEAD", 0)
    answer = diagnose_text("Loading:  50%\rERROR 05-12 10:00:00 [x.py:1] quux frobnicates the zork\r\nINFO done\n")
    assert answer.first_cause.text == "quux frobnicates the zork"


@pytest.mark.parametrize("look", [hits, loud])
def test_the_gates_find_the_same_lines_whatever_ends_them(look):
    lines = [b"ERROR it failed", b"quiet", b"E20251204 10:49:24 not so", b"", b"capture 1/2", b"quiet"]
    unix = look(b"\n".join(lines) + b"\n")
    assert unix
    assert look(b"\r".join(lines) + b"\r") == unix
    behind = [sum(len(line) + 2 for line in lines[:n]) for n in range(len(lines))]
    assert [start for start, _ in look(b"\r\n".join(lines) + b"\r\n")] == [
        behind[lines.index(b"\n".join(lines)[start:end])] for start, end in unix
    ]


@pytest.mark.parametrize("line", [b"capture graph 12/40", b"FooErr has failed"])
def test_a_log_of_carriage_returns_alone_costs_what_one_of_newlines_costs(line):
    def cost(end):
        log = LogFile("x", stream=io.BytesIO((line + end) * 80_000))
        return million_turns(Scanner(log, every_line=False).run)

    assert cost(b"\r") < 4 * cost(b"\n") + 5


def distinct(number: int) -> str:
    """A name that holds no digit, a different one for each number."""
    return "".join("abcdefghij"[int(digit)] for digit in str(number))


def a_request(number: int) -> str:
    return f"INFO 05-12 10:00:00 [a.py:1] Received {distinct(number)}: prompt: 'do not {'tell me more ' * 600}'\n"


def an_error(number: int) -> str:
    return f"ERROR 05-12 10:00:00 [a.py:1] QuuxError: {distinct(number)} {'tell me more ' * 600}\n"


def a_traceback(number: int) -> str:
    frame = f'  File "/x/{distinct(number)}/{"folder/" * 20}a.py", line 7, in f\n    self.call({"argument, " * 20})\n'
    return f"Traceback (most recent call last):\n{frame * 15}QuuxError: {distinct(number)}\n"


def taken(thing: object, seen: set[int]) -> int:
    """Bytes of an object and of all it holds, each counted once."""
    if id(thing) in seen:
        return 0
    seen.add(id(thing))
    inside: list[object] = []
    if isinstance(thing, dict):
        inside = [*thing.keys(), *thing.values()]
    elif isinstance(thing, (list, tuple, set)):
        inside = list(thing)
    elif isinstance(thing, msgspec.Struct):
        inside = [getattr(thing, name) for name in thing.__struct_fields__]
    elif isinstance(thing, Scanner):
        inside = list(vars(thing).values())
    return sys.getsizeof(thing) + sum(taken(one, seen) for one in inside)


@pytest.mark.parametrize("tell", [a_request, an_error, a_traceback])
def test_what_a_large_log_leaves_in_memory_is_bounded_in_bytes_not_in_lines(monkeypatch, tell):
    monkeypatch.setattr("seatrial.triage.scan.KEPT", 100_000)
    monkeypatch.setattr("seatrial.triage.scan.WINDOW", 8_000)
    scanner = Scanner(LogFile("x", stream=io.BytesIO("".join(map(tell, range(300))).encode())), every_line=False)
    events = scanner.run().events
    assert taken(scanner, set()) < 400_000 + 300 * 5_000
    assert len(events) >= 300
    assert all(distinct(number) in event.text for number, event in enumerate(events[-300:]))
    if tell is a_traceback:
        assert all(event.exception and event.frames for event in events[-300:])


def test_frames_that_many_failures_share_are_kept_once():
    log = "".join(a_traceback(0).replace("QuuxError: a", f"QuuxError: {distinct(n)}") for n in range(50))
    events = Scanner(LogFile("x", stream=io.BytesIO(log.encode())), every_line=False).run().events
    shared = [event.frames for event in events if event.frames]
    assert len(shared) == 50
    assert len(set(map(id, shared))) == 1


def test_a_line_of_a_log_of_ordinary_size_is_kept_whole():
    log = "".join(map(a_request, range(1_000)))
    events = Scanner(LogFile("x", stream=io.BytesIO(log.encode())), every_line=False).run().events
    assert min(len(event.text) for event in events) > 4_000


@pytest.mark.parametrize("packing", ["gz", "bz2", "xz", "zst"])
def test_an_archive_that_unpacks_to_much_is_unpacked_a_little_at_a_time(packing):
    whole = 96 << 20
    packed = packed_stream(packing, b"\n" * whole)
    stream = unpacked(io.BytesIO(packed))
    read = 0
    tracemalloc.start()
    try:
        while data := stream.read(1 << 20):
            read += len(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert read == whole
    assert peak < 24 << 20


def test_what_unpacks_to_much_is_not_copied_for_each_read():
    stream = unpacked(io.BytesIO(packed_stream("zst", b"\n" * (96 << 20))))

    def read():
        while stream.read(64 << 10):
            pass

    assert million_turns(read) < 40


@pytest.mark.parametrize("size", [40, 255, 256, 257, 1_000, 5_000])
def test_many_small_zst_frames_are_all_read_wherever_they_end(size):
    part = random.Random(size).randbytes(size)  # so that a frame is about as long
    packed = packed_stream("zst", part) * 50
    stream = unpacked(io.BytesIO(packed))
    assert b"".join(iter(lambda: stream.read(700), b"")) == part * 50
    cut = unpacked(io.BytesIO(packed[:-1]))
    with pytest.raises(OSError, match="ended before"):
        list(iter(lambda: cut.read(700), b""))
