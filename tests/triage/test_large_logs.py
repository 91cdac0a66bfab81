"""Large logs: what the gates find, what is kept in memory, what odd line ends cost."""

from __future__ import annotations

import io
import random
import sys

import msgspec
import pytest
from tests.cost import million_turns

from seatrial.triage import diagnose_text
from seatrial.triage.gates import hits, loud
from seatrial.triage.read import LogFile
from seatrial.triage.scan import Scanner

FAILED = (
    "(Worker_TP0 pid=77) ERROR 05-12 10:41:24 [x.py:1] Traceback (most recent call last):\n"
    '(Worker_TP0 pid=77) ERROR 05-12 10:41:24 [x.py:1]   File "/x/vllm/config/model.py", line 9, in f\n'
    "(Worker_TP0 pid=77) ERROR 05-12 10:41:24 [x.py:1] ValueError: LoRA rank 64 is greater than max_lora_rank 16.\n"
)


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
