"""The load generator against a stand-in that writes down its own times."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from tests.measure.made import workload

from seatrial.core.errors import FileFormatError, UsageError
from seatrial.core.record import replace
from seatrial.measure.load.clocks import read_clocks, was_set
from seatrial.measure.load.dataset import make_plan
from seatrial.measure.load.generator import Service, address, drive
from seatrial.measure.load.metrics import measure
from seatrial.measure.load.records import read_requests
from seatrial.measure.load.workload import read_workload

ROOT = Path(__file__).resolve().parents[2]


def send(url, made, sink=None, **more):
    plan = make_plan(made, "stand-in")
    limit = more.pop("timeout_s", made.load.timeout_s)
    run = drive(
        Service(url=url, model="stand-in"), plan, concurrency=made.load.concurrency, timeout_s=limit, sink=sink, **more
    )
    return plan, run


def figures(run, made):
    return measure(
        run,
        concurrency=made.load.concurrency,
        rate=made.load.rate,
        stream=made.sampling.stream,
        exact_length=True,
        speculative=None,
    )


def times(url):
    with urllib.request.urlopen(f"{url}/times") as reply:
        return json.loads(reply.read())


@pytest.mark.parametrize("rate", [0.0, 200.0])
def test_every_request_is_recorded_with_all_its_times(stand_in, tmp_path, rate):
    url, _ = stand_in("--ttft", "0.01", "--gap", "0.005")
    made = workload(requests=30, concurrency=0 if rate else 4, rate=rate, warmup=3)
    sink = tmp_path / "requests.jsonl"
    before = time.monotonic()
    plan, run = send(url, made, sink)
    assert run.partial == ""
    assert [r.how for r in run.records] == ["ok"] * 33
    assert sum(r.warmup for r in run.records) == 3
    after = time.monotonic()
    server = times(url)
    # Both clocks are CLOCK_MONOTONIC, and the client's zero is one moment of it: so it is no later than any of these...
    latest = [after]
    # ...and no earlier than any of these.
    earliest = [before]
    for record in [r for r in run.records if not r.warmup]:
        assert record.intended_s <= record.sent_s <= record.first_s <= record.end_s
        assert len(record.chunks_s) == record.output_tokens == 4
        read, first, last, _ = server[hashlib.md5(plan.requests[record.index].body).hexdigest()]
        # Only what must be: sent before the server had read it, a piece here after the server began to write it.
        assert record.first_s - record.sent_s >= first - read
        assert record.end_s - record.sent_s >= last - read
        latest.append(read - record.sent_s)
        earliest += [first - record.first_s, last - record.end_s]
    assert max(earliest) <= min(latest)
    assert len(read_requests(sink).records) == 33
    seen = figures(run, made)
    assert seen.success == seen.total == 30
    assert seen.ttft_ms.p50 >= 10
    assert seen.e2e_ms.min >= 25  # a busy machine may read pieces late and together, never early
    assert seen.output_tokens == 120


def test_in_an_open_loop_a_stalled_server_cannot_hide_the_wait(stand_in):
    # Nothing is answered before all 20 are here: a generator that waits for answers before it sends would never end.
    # Then one at a time, 50 ms each: the last of them has waited for all before it.
    url, _ = stand_in("--ttft", "0.05", "--slots", "1", "--fault", "hold-until=20")
    made = workload(requests=20, concurrency=0, rate=100.0, warmup=0)
    _, run = send(url, made)
    assert {r.how for r in run.records} == {"ok"}
    assert max(r.first_s - r.intended_s for r in run.records) >= 20 * 0.05
    assert figures(run, made).ttft_ms.max >= 20 * 50


def test_closed_loop_keeps_no_more_in_flight_than_asked(stand_in):
    # The first three wait for each other, so that three are in flight at once on any machine.
    url, _ = stand_in("--ttft", "0.005", "--fault", "hold-until=3")
    _, run = send(url, workload(requests=40, concurrency=3, warmup=0))
    edges = sorted([(r.sent_s, 1) for r in run.records] + [(r.end_s, -1) for r in run.records])
    level = most = 0
    for _, step in edges:
        level += step
        most = max(most, level)
    assert most == 3


FAULTS = {
    "http-500": ("http-error", "EngineCore"),
    "error-in-stream": ("stream-error", "the engine died"),
    "no-done": ("cut", "without [DONE]"),
    "empty": ("ok-or-empty", ""),
    "garbage": ("stream-error", "OpenAI"),
    "not-http": ("cut", "not HTTP"),
}


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_bad_answer_never_counts_as_answered(stand_in, fault):
    url, _ = stand_in("--fault", fault)
    made = workload(requests=5, warmup=0)
    _, run = send(url, made)
    how, words = FAULTS[fault]
    assert {r.how for r in run.records} == {"empty" if fault == "empty" else how}
    assert all(words in r.error for r in run.records)
    seen = figures(run, made)
    assert seen.success == 0
    assert seen.request_throughput is None
    assert seen.ttft_ms is None
    assert "no request was answered" in seen.unknown["ttft_ms"]


def test_without_usage_token_counts_are_unknown_and_not_guessed(stand_in):
    url, _ = stand_in("--fault", "no-usage")
    made = workload(requests=5)
    seen = figures(send(url, made)[1], made)
    assert seen.success == 5
    assert seen.output_tokens is None
    assert seen.output_throughput is None
    assert seen.tpot_ms is None
    assert seen.unknown["output_throughput"] == "the server gave no usage"


def test_an_answer_in_one_piece_has_no_time_between_tokens(stand_in):
    url, _ = stand_in("--fault", "coarse")
    made = workload(requests=5)
    seen = figures(send(url, made)[1], made)
    assert seen.success == 5
    assert seen.itl_ms is None
    assert seen.tpot_ms is None
    assert seen.ttft_ms is not None


def test_answers_that_are_not_streamed_have_only_an_end(stand_in):
    url, _ = stand_in()
    made = workload(requests=5, stream=False)
    seen = figures(send(url, made)[1], made)
    assert seen.success == 5
    assert seen.ttft_ms is None
    assert seen.e2e_ms is not None
    assert seen.output_tokens == 20


def test_a_kept_connection_that_the_server_closed_is_replaced_once(stand_in):
    url, _ = stand_in("--fault", "close-after=1")
    _, run = send(url, workload(requests=30, concurrency=2))
    assert {r.how for r in run.records} == {"ok"}


def test_a_service_that_dies_ends_the_run_as_partial_and_keeps_what_was_seen(stand_in, tmp_path):
    url, _ = stand_in("--fault", "die-after=12")
    made = workload(requests=5000, concurrency=2, warmup=0)
    sink = tmp_path / "requests.jsonl"
    _, run = send(url, made, sink)
    assert "the service is gone" in run.partial
    seen = figures(run, made)
    assert not seen.is_complete
    assert seen.success == 12
    assert len([r for r in read_requests(sink).records if r.how == "ok"]) == 12


def test_a_service_said_to_be_dead_ends_the_run(stand_in):
    url, _ = stand_in("--fault", "silent-after=3")
    # Alive until the third answer was written: with two at once, one of them at least was read before that.
    _, run = send(url, workload(requests=50, concurrency=2, warmup=0), alive=lambda: len(times(url)) < 3)
    assert "died" in run.partial
    assert {r.how for r in run.records} == {"ok", "stopped"}


def test_silence_is_a_time_out_and_not_an_end(stand_in):
    url, _ = stand_in("--fault", "silent-after=0")
    _, run = send(url, workload(requests=3, concurrency=1, warmup=0), timeout_s=0.3)
    assert [r.how for r in run.records] == ["timed-out"] * 3
    assert all(r.end_s - r.intended_s >= 0.3 for r in run.records)


def test_nobody_listening_is_refused_and_partial():
    _, run = send("http://127.0.0.1:9", workload(requests=100, concurrency=2, warmup=0))
    assert "the service is gone" in run.partial
    assert {r.how for r in run.records} <= {"refused", "stopped"}


def test_a_full_disk_ends_the_run_and_what_was_measured_is_kept(stand_in, tmp_path):
    # A limit of the process's own on file sizes fails writes as a full disk does.
    url, _ = stand_in()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        _, run = send(url, workload(requests=4000, concurrency=4), tmp_path / "requests.jsonl")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert "cannot be written" in run.partial
    assert len(run.records) > 0
    kept = read_requests(tmp_path / "requests.jsonl")
    assert len(kept.records) > 5


def test_an_interrupt_keeps_what_was_measured_and_marks_it(stand_in, tmp_path):
    # It falls silent after 100 answers, so that the run cannot be over before it is interrupted.
    url, _ = stand_in("--ttft", "0.02", "--fault", "silent-after=100")
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from tests.measure.test_generator import send, figures\nfrom tests.measure.made import workload\n"
        "from seatrial.core.record import to_json\n"
        "made = workload(requests=2000, concurrency=2)\n"
        f"_, run = send({url!r}, made, Path({str(tmp_path / 'r.jsonl')!r}), say=lambda t: print('go', flush=True))\n"
        "sys.stdout.write(to_json(figures(run, made)).decode())\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONPATH": f"{ROOT}/src"}
    )
    assert process.stdout.readline() == b"go\n"
    deadline = time.monotonic() + 300
    while not (tmp_path / "r.jsonl").exists() or (tmp_path / "r.jsonl").stat().st_size < 1000:
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=300)
    seen = json.loads(out)
    assert seen["is_complete"] is False
    assert seen["partial"] == "stopped by SIGINT"
    assert 0 < seen["success"] <= 100


def test_a_clock_that_is_set_during_the_run_spoils_it(stand_in, monkeypatch):
    url, _ = stand_in()
    real = time.time
    jump = [0.0]
    monkeypatch.setattr("seatrial.measure.load.clocks.time.time", lambda: real() + jump[0])
    _, run = send(url, workload(requests=5), warmed=lambda: jump.append(jump.pop() + 7000.0))
    assert "the wall clock was set by +" in run.partial
    assert run.clock_step_s == pytest.approx(7000, rel=0.01)


def test_a_process_that_lost_its_core_between_two_clocks_is_no_clock_that_was_set(monkeypatch):
    real, stalls = time.time, [0.0, 0.2, 0.2, 0.0, 0.2]

    def late():
        stall = stalls.pop(0) if stalls else 0.0
        threading.Event().wait(stall)
        read = real()
        threading.Event().wait(stall)
        return read

    monkeypatch.setattr("seatrial.measure.load.clocks.time.time", late)
    first = read_clocks()
    second = read_clocks()
    third = replace(second, wall=second.wall + 7000.0)
    assert len(stalls) <= 1, "it reads again until the two are near"
    assert not was_set(first, second)
    assert was_set(first, third)
    monkeypatch.setattr("seatrial.measure.load.clocks.TRIES", 0)
    stalls[:] = [0.2]
    # Where no reading is near, what it leaves open is no step either.
    assert not was_set(second, read_clocks())


def test_the_same_workload_gives_the_same_bytes_and_another_order_another_hash(tmp_path):
    made = workload()
    assert make_plan(made, "m") == make_plan(made, "m")
    assert make_plan(made, "m").order_hash == make_plan(made, "another name").order_hash
    lines = [json.dumps({"prompt": f"number {i}", "output_len": 3}) for i in range(30)]
    file = tmp_path / "set.jsonl"
    hashes = set()
    for order in (lines, lines[::-1]):
        file.write_text("\n".join(order))
        hashes.add(make_plan(workload(kind="jsonl", file=str(file), input_tokens=0, output_tokens=0), "m").order_hash)
    assert len(hashes) == 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"prompt": "x"}', "output_len"),
        ('{"prompt": "x", "output_len": "N/A"}', "output_len"),
        ('{"output_len": 3}', "no prompt"),
        ('{"prompt": "x", "output_len": 3', "not JSON"),
        ('{"prompt": [1, true], "output_len": 3}', "no prompt"),
        ("[1, 2]", "output_len"),
    ],
)
def test_a_bad_line_of_a_dataset_is_named(tmp_path, line, words):
    file = tmp_path / "set.jsonl"
    file.write_text('{"prompt": "fine", "output_len": 3}\n' * 3 + line + "\n")
    made = workload(requests=4, warmup=0, kind="jsonl", file=str(file), input_tokens=0, output_tokens=0)
    with pytest.raises(FileFormatError, match=words) as caught:
        make_plan(made, "m")
    assert "line 4" in str(caught.value)


def test_a_dataset_shorter_than_the_run_is_refused_instead_of_asked_twice(tmp_path):
    file = tmp_path / "set.jsonl"
    file.write_text('{"prompt": "fine", "output_len": 3}\n' * 3)
    with pytest.raises(UsageError, match="holds 3"):
        make_plan(workload(kind="jsonl", file=str(file), input_tokens=0, output_tokens=0), "m")


def test_sharegpt_takes_the_first_human_turn(tmp_path):
    file = tmp_path / "chats.json"
    rows = [
        {"conversations": [{"from": "human", "value": f"hello {i}"}, {"from": "gpt", "value": "hi"}]} for i in range(9)
    ]
    file.write_text(json.dumps([{"conversations": [{"from": "gpt", "value": "no"}]}, *rows]))
    made = workload(requests=5, warmup=1, kind="sharegpt", file=str(file), input_tokens=0, output_tokens=7)
    plan = make_plan(made, "m")
    assert json.loads(plan.requests[0].body)["prompt"] == "hello 1"
    assert plan.requests[0].output_tokens == 7


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = 1", "name"),
        ("schema_version = 1\nname = 'x'\nwarm = 3", "warm"),
        ("[load]\nrequests = 0", "requests|name|schema"),
        ("= broken", "not valid TOML"),
    ],
)
def test_a_bad_workload_file_is_named_with_its_key(tmp_path, text, words):
    file = tmp_path / "w.toml"
    file.write_text(text)
    with pytest.raises(FileFormatError, match=words):
        read_workload(file)


@pytest.mark.parametrize("url", ["", "ftp://x", "http://", "http://user:pw@host", "http://h:99999", "localhost:80"])
def test_what_is_no_url_of_a_service_is_refused(url):
    with pytest.raises(UsageError):
        address(url)
