"""Logs whose lines begin as no engine writes them: schedulers, syslog, loggers, containers, quotes, `grep -n`."""

from __future__ import annotations

import io
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cost import million_turns

from seatrial.triage import diagnose_text
from seatrial.triage.lines import BAR, parse
from seatrial.triage.prefixes import CLOCK, SOURCE, Prefixes
from seatrial.triage.read import LogFile
from seatrial.triage.scan import Scanner

BLOCK = [
    "Traceback (most recent call last):",
    '  File "/x/vllm/lora/models.py", line 9, in from_local',
    "    raise ValueError(",
    "    ^^^^^^^^^^^^^^^^^",
    "ValueError: LoRA rank 64 is greater than max_lora_rank 16.",
]
ENGINE = "(Worker_TP0 pid=77) ERROR 05-12 10:41:24 [x.py:1] "


def is_read(answer, process=None):
    cause = answer.first_cause
    return (
        answer.category == "lora"
        and cause.text == BLOCK[-1]
        and [f.function for f in cause.frames] == ["from_local"]
        and cause.frames[0].code == "raise ValueError("
        and (process is None or cause.process == process)
    )


@pytest.mark.parametrize(
    ("prefix", "process"),
    [
        ("0: ", "0"),
        (" 3: ", "3"),
        ("May 12 10:41:24 host vllm[4711]: ", "host vllm[4711]"),
        (f"May 12 10:41:24 host vllm[4711]: {ENGINE}", "Worker_TP0 pid=77"),
        (f"[pod/vllm-0/vllm] {ENGINE}", "Worker_TP0 pid=77"),
        ("2025-05-12 10:41:24.123 | ERROR    | vllm.engine:run:12 - ", ""),
        ("2025-05-12 10:41:24,123 - ERROR - vllm.engine - ", ""),
        ("2025-05-12 10:41:24,123 ERROR [engine.py:12] ", ""),
        ("ERROR:vllm.engine:", ""),
        ("> ", ""),
        ("(RayWorkerWrapper pid=4711, ip=fe80::1%eth0) ", "RayWorkerWrapper pid=4711, ip=fe80::1%eth0"),
        ("[default0]:", "0"),
        ("[rank0]:[E512 10:12:50.5 x.py:1] ", "rank0"),
    ],
)
def test_a_prefix_is_learned_from_the_traceback_below_it(prefix, process):
    assert is_read(diagnose_text("".join(f"{prefix}{line}\n" for line in BLOCK)), process)


@pytest.mark.parametrize("head", ["{}:", "logs/w0.log:{}:", "  {} "], ids=["grep", "grep-file", "less"])
def test_numbers_that_count_the_lines_are_no_processes(head):
    log = "".join(f"{head.format(1233 + n)}{line}\n" for n, line in enumerate(BLOCK))
    assert is_read(diagnose_text(log), "")


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_ranks_that_a_scheduler_interleaves_are_told_apart(seed):
    chance = random.Random(seed)
    rest = {rank: [line.replace("64", str(rank)) for line in BLOCK] for rank in (7, 8, 19)}
    lines = []
    while any(rest.values()):
        rank = chance.choice([r for r, left in rest.items() if left])
        lines.append(f"{rank}: {rest[rank].pop(0)}\n")
    answer = diagnose_text("".join(lines))
    cause = answer.first_cause
    assert cause.text == f"ValueError: LoRA rank {cause.process} is greater than max_lora_rank 16."
    assert [f.function for f in cause.frames] == ["from_local"]


def test_a_docker_file_of_json_lines_is_read_as_the_log_inside():
    lines = [{"log": f"{ENGINE}{line}\n", "stream": "stderr", "time": "2025-05-12T10:41:24.1Z"} for line in BLOCK]
    assert is_read(diagnose_text("".join(json.dumps(line) + "\n" for line in lines)), "Worker_TP0 pid=77")


@pytest.mark.parametrize("shape", [("message", "level"), ("msg", "severity"), ("event", "log_level")])
def test_a_structured_log_gives_its_message_level_and_time(shape):
    said, level = shape
    line = parse(json.dumps({"timestamp": "2025-05-12T10:41:24", level: "error", said: "the zork is gone"}))
    assert (line.text, line.level, line.time) == ("the zork is gone", "ERROR", "2025-05-12T10:41:24")
    line = parse(json.dumps({level: "error", said: "boom", "exc_info": "\n".join(BLOCK)}))
    assert line.text == BLOCK[-1]


CHAIN = [
    *BLOCK,
    "",
    "The above exception was the direct cause of the following exception:",
    "",
    "Traceback (most recent call last):",
    '  File "/x/vllm/v1/engine/core_client.py", line 7, in wait',
    "    raise RuntimeError(",
    "RuntimeError: Engine core initialization failed. See root cause above.",
]
DEEP = [BLOCK[0], *(f'  File "/x/{"folder" * 15}/a.py", line {n}, in call\n    self.call()' for n in range(80))]


@pytest.mark.parametrize("field", ["exc_info", "exception", "stack_trace"])
@pytest.mark.parametrize("lines", [BLOCK, CHAIN, [*DEEP, *BLOCK[1:]]], ids=["one", "chain", "deep"])
def test_a_traceback_in_one_structured_line_is_read_as_the_lines_it_holds(field, lines):
    quiet = json.dumps({"level": "info", "message": "fine"}) + "\n"
    told = {"timestamp": "2025-05-12T10:41:24", "level": "error", "message": "boom", field: "\n".join(lines)}
    answer = diagnose_text(quiet + json.dumps(told) + "\n" + quiet)
    plain = diagnose_text("boom\n" + "\n".join(lines) + "\n")
    assert answer.category == "lora"
    assert answer.first_cause.text == BLOCK[-1]
    assert answer.first_cause.line == 2
    assert answer.first_cause.time == "2025-05-12T10:41:24"
    assert answer.first_cause.frames == plain.first_cause.frames
    assert answer.first_cause.frames[-1].function == "from_local"
    assert answer.signature == plain.signature


def test_an_exception_behind_the_first_line_of_a_structured_message_is_read():
    line = json.dumps({"level": "error", "message": f"Worker failed:\n{BLOCK[-1]}"})
    answer = diagnose_text(f"{line}\n" * 3)
    assert answer.category == "lora"
    assert answer.first_cause.count == 3


def test_bare_exceptions_in_structured_lines_are_told_apart_by_what_raised_them():
    bare = 'Traceback (most recent call last):\n  File "/x/{0}.py", line 9, in {0}\n    assert {0}\nAssertionError'
    lines = [json.dumps({"level": "error", "message": "boom", "exc_info": bare.format(name)}) for name in "abab"]
    log = LogFile("x", stream=io.BytesIO("\n".join(lines).encode()))
    found = [e for e in Scanner(log).run().events if e.exception]
    assert [(e.frames[-1].function, e.count, e.line) for e in found] == [("a", 2, 1), ("b", 2, 2)]


@given(st.text(max_size=200), st.sampled_from(["info", "error", ""]))
@settings(max_examples=60, deadline=None)
def test_no_text_in_a_structured_line_makes_it_raise(text, level):
    line = json.dumps({"level": level, "message": text, "exc_info": f"{text}\nX: {text}"})
    diagnose_text(f"{line}\n{line}\n")


@pytest.mark.parametrize(
    "bar", ["Loading shards:  25% Completed | 1/4 [00:01<00:03,  1.1s/it]", "50%|#  | 1/2 [00:01, 3.20it/s]"]
)
def test_a_line_glued_to_a_progress_bar_is_read(bar):
    answer = diagnose_text(bar + ENGINE + BLOCK[-1] + "\n")
    assert answer.category == "lora"
    assert answer.first_cause.process == "Worker_TP0 pid=77"
    assert parse(bar).text == bar
    assert parse(bar + bar).text == bar + bar
    assert parse("1s/it]A" * 585).text
    assert parse("1s/it](pid=1) " * 290).process == "pid=1"


def test_the_json_of_a_servers_answer_stays_as_it_is():
    answer = '{"object":"error","message":"The model `Q` does not exist.","type":"NotFoundError","code":404}'
    assert parse(answer).text == answer
    assert parse('{"log": ' * 900).text.startswith('{"log"')


@given(st.binary(max_size=400), st.binary(max_size=40))
@settings(max_examples=60, deadline=None)
def test_no_bytes_before_a_traceback_make_it_raise(noise, prefix):
    prefixes = Prefixes()
    log = noise + b"\n" + b"".join(prefix + line.encode() + b"\n" for line in BLOCK) + noise
    prefixes.learn(log)
    for raw in log.split(b"\n"):
        prefixes.parse(raw)


@pytest.mark.parametrize(
    "text", ["1 " * 2000, "10:41:" * 700, "a" * 4000, ".py:1" * 800, "Jan  1" * 700, "1s/it" * 800]
)
def test_the_patterns_are_safe(text):
    assert million_turns(lambda: (CLOCK.sub("", text), SOURCE.search(text), BAR.match(text))) < 20


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n", b" "], ids=["lf", "cr", "crlf", "no-line-end"])
def test_many_headers_in_one_chunk_cost_little(end):
    chunk = b"x Traceback (most recent call last): y" + end
    assert million_turns(lambda: Prefixes().learn(chunk * 50_000)) < 60


@pytest.mark.parametrize("end", ["\r", "\r\n"], ids=["cr", "crlf"])
def test_a_prefix_is_learned_whatever_ends_the_lines(end):
    others = [f"1: noise {n}" for n in range(40)]  # within what is looked through below the header
    prefixes = Prefixes()
    lines = ["0: " + BLOCK[0], *others, *("0: " + line for line in BLOCK[1:])]
    prefixes.learn("".join(line + end for line in lines).encode())
    assert prefixes.parse(b"0: " + BLOCK[-1].encode()).text == BLOCK[-1]
