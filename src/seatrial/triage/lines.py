"""One raw log line to its parts: process, time, level, logger, text.

In: a decoded line without its end. Out: a `Line`. Refuses nothing: what has no known prefix is all text.
Prefixes stack (container name, process, rank, level), so they are peeled one by one. Every pattern is anchored and has
bounded repeats.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgspec

ANSI = re.compile(r"\x1b\[[0-9;?]{0,16}[ -/]?[@-~]|\x1b[()][0-9A-Za-z]|\x1b\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)|\x00")
# CANN's own report: the code, and then what went wrong.
CANN = re.compile(
    r"\s{0,12}(?:\[PID: ?\d{1,10}\] [\d.:-]{10,40} ?)?(?:[A-Z]\w{2,60}\()?(?:E[A-Z]\d{4}|E[1-9]\d{4})\)?(?:: |  )"
)
# A progress bar that the next writer did not wait for: "... 1/4 [00:01<00:03,  1.1s/it](Worker_TP0 pid=77) ERROR".
BAR = re.compile(r".{0,300}?\d\.?\d{0,3} ?(?:s/it|it/s|B/s)[^\]\n]{0,40}\](?=[(\[A-Z])")
# What syslog makes of control characters: #033[1;36m, #015 at the end.
SYSLOG = re.compile(r"#033\[[0-9;?]{0,16}[ -/]?[@-~]|#015$")
MAX_TEXT = 4096

# (EngineCore_DP0 pid=12), (VllmWorker rank=1 pid=12), (RayWorkerWrapper pid=12, ip=10.0.0.2), (pid=12)
PROCESS = re.compile(r"\(((?:[A-Za-z_][\w.:-]{0,60} )?(?:rank=\d{1,5} )?pid=\d{1,10}(?:, ip=[\w.:%]{1,64})?)\) ?")
RANK = re.compile(r"\[(?:default)?(?=rank|(?<=default))((?:rank ?)?\d{1,5})\]:? ?")
MPI = re.compile(r"\[(\d{1,4},\d{1,4})\]<(?:stdout|stderr)>: ?")
CONTAINER = re.compile(r"([a-z][a-z0-9_.-]{1,60}) {1,12}\| ")
ISO_HEAD = re.compile(
    r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?)(?:Z|[+-]\d\d:?\d\d)?(?: (?:stdout|stderr) [FP])? "
)
VLLM = re.compile(
    r"(?P<level>INFO|WARNING|ERROR|DEBUG|CRITICAL|FATAL) (?P<time>(?:\d{4}-)?\d\d-\d\d \d\d:\d\d:\d\d(?:[.,]\d{1,6})?) "
    r"\[?(?P<logger>[^\]\s]{1,80})\] ?"
)
SGLANG = re.compile(
    r"\[(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.\d{1,6})?"
    r"(?: (?P<process>(?:(?:DP|TP|PP|EP|ATTN_CP|MOE_DP)\d{1,4} ?){1,5}))?\] ?"
)
GLOG = re.compile(
    r"(?P<level>[IWEF])(?P<time>\d{4,8} \d\d:\d\d:\d\d\.\d{3,6}) (?: {0,6}(?P<pid>\d{1,9}) )?"
    r"(?P<logger>[\w./-]{1,80}:\d{1,6})\] ?"
)
C10 = re.compile(r"\[(?P<level>[IWEF])(?P<time>\d{3,4} \d\d:\d\d:\d\d\.\d{3,9}) (?P<logger>[^\]]{1,80})\] ?")
PLOG = re.compile(
    r"\[(?P<level>ERROR|WARNING|INFO|EVENT|DEBUG)\] (?P<logger>\w{1,20})\((?P<pid>\d{1,10}),[^)]{0,60}\):"
    r"(?P<time>\d{4}-\d\d-\d\d-\d\d:\d\d:\d\d\.[\d.]{1,8}) ?"
)
# ATB and other spdlog writers: [2026-01-29 12:08:30.614896] [error] [439962] [tensor_check.cpp:28]
SPDLOG = re.compile(
    r"\[(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[.,:]\d{3,9})\] "
    r"\[(?P<level>trace|debug|info|warn|warning|error|fatal|critical)\] "
    r"\[(?P<pid>\d{1,10})\] \[(?P<logger>[\w./-]{1,80}:\d{1,6})\] ?"
)
STDLOG = re.compile(
    r"(?:\[[\w.:-]{1,60}\] ?)?-? ?\[?(?P<level>INFO|WARNING|ERROR|DEBUG|CRITICAL)\]?(?:[:|] | - |:? (?= *\S))"
)
# A level in a prefix of a shape of its own: "[llm] [ERROR] [executor.cpp:646]", "evalscope - ERROR: ".
LOUD = re.compile(r".{0,90}?(?:(?<=\[)|(?<= )|(?<=\|)|^)(ERROR|FATAL|CRITICAL)(?:\]|:| - | \|)")
# pytest's own spelling of an exception.
PYTEST = re.compile(r"E {3,7}(?=[A-Za-z_][\w.]{2,120}(?:Error|Exception|Failed|Timeout)\b)")
LETTER = {
    "I": "INFO", "W": "WARNING", "E": "ERROR", "F": "FATAL", "trace": "DEBUG", "debug": "DEBUG", "info": "INFO",
    "warn": "WARNING", "warning": "WARNING", "error": "ERROR", "fatal": "FATAL", "critical": "CRITICAL",
}  # fmt: skip


class Line(NamedTuple):
    process: str
    time: str
    level: str
    logger: str
    text: str

    def stream(self) -> tuple[str, str, str]:
        """Lines of one traceback share this, however they are interleaved with others."""
        return self.process, self.level, self.logger


def _with_fields(match: re.Match[str], process: str) -> tuple[str, str, str, str]:
    found = match.groupdict()
    level = found.get("level") or ""
    if found.get("pid"):
        process = process or f"pid={found['pid']}"
    if found.get("process"):
        process = process or str(found["process"]).strip()
    return LETTER.get(level, level), str(found.get("time") or ""), str(found.get("logger") or ""), process


# Containers and structured loggers write each line as a JSON object: Docker's `log`, a logger's `msg` beside its level.
MESSAGES = ("log", "message", "msg", "event")
LEVELS = ("level", "levelname", "severity", "log_level")
TIMES = ("time", "timestamp", "asctime", "ts")


# Where structured loggers put a traceback beside the message.
TRACES = ("exc_info", "exception", "exc_text", "traceback", "stack_trace", "error.stack_trace")
OBJECT = '{"'


class Object(NamedTuple):
    """A JSON object that holds a line of a log, or several: those that are not blank."""

    level: str
    time: str
    lines: list[str]


def opened(raw: str) -> Object | None:
    """A line that is a JSON object with a text in it; None where it is no such thing."""
    if not raw.startswith(OBJECT) or not raw.rstrip().endswith("}"):
        return None
    try:
        found: Any = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    level = next((str(found[k]).upper() for k in LEVELS if isinstance(found.get(k), str)), "")
    docker = isinstance(found.get("log"), str) and "stream" in found
    text = next((str(found[k]) for k in MESSAGES if isinstance(found.get(k), str)), "")
    if not text or not (docker or level):
        return None  # an answer of a server, say
    texts = [text, *(found[k] for k in TRACES if isinstance(found.get(k), str))]
    time = next((str(found[k]) for k in TIMES if isinstance(found.get(k), (str, float, int))), "")
    lines = [line for one in texts for line in one.splitlines() if line.strip()]
    return Object(LETTER.get(level.lower(), level), time, lines)


def _object(raw: str) -> Line | None:
    """The one line that says most of those in a JSON object; None where it is no such thing."""
    if (found := opened(raw)) is None:
        return None
    told = len(found.lines) > 1 and any("Traceback (most recent" in line for line in found.lines)
    line = parse(found.lines[-1 if told else 0]) if found.lines else Line("", "", "", "", "")
    return line._replace(time=line.time or found.time, level=line.level or found.level)


def parse(raw: str) -> Line:
    """Peel the known prefixes off one line."""
    if raw.startswith(OBJECT) and (line := _object(raw)) is not None:
        return line
    text = ANSI.sub("", raw) if "\x1b" in raw or "\x00" in raw else raw
    if "#0" in text:
        text = SYSLOG.sub("", text)
    text = text[:MAX_TEXT].rstrip()
    if "/it" in text or "it/s" in text:
        rest = text
        while bar := BAR.match(rest):
            rest = rest[bar.end() :]
        if rest is not text and any((behind := parse(rest))[:3]):
            return behind
    process = time = level = logger = ""
    for _ in range(6):
        if not text:
            break
        first = text[0]
        if first == "(" and (m := PROCESS.match(text)):
            process = m[1] if not process or "rank" in process or _closer(m[1], process) else process
        elif first == "[" and (m := RANK.match(text) or MPI.match(text)):
            process = process or m[1]
        elif (
            first == "["
            and not time
            and (m := SPDLOG.match(text) or SGLANG.match(text) or C10.match(text) or PLOG.match(text))
        ) or (first in "IWEDCF" and not logger and (m := VLLM.match(text) or GLOG.match(text))):
            level, time, logger, process = _with_fields(m, process)
        elif first.isdigit() and not time and (m := ISO_HEAD.match(text)):
            time = m[1]
        elif first.islower() and (m := CONTAINER.match(text)):
            process = process or m[1]
        elif time and not level and (m := STDLOG.match(text)):
            level = m["level"]
        else:
            break
        text = text[m.end() :]
    if not level and CANN.match(text):
        level = "ERROR"
    if text.startswith("E  ") and (m := PYTEST.match(text)):
        text = text[m.end() :]
    if not level and ("ERROR" in text or "FATAL" in text or "CRITICAL" in text) and (m := LOUD.match(text)):
        level = m[1]
    if not level and (bare := text.lstrip()).startswith(("WARNING:", "INFO:", "ERROR:", "DEBUG:")):
        level = bare.split(":", 1)[0]
    return Line(process, time, level, logger, text)


DEPTH = ("Worker", "VllmWorker", "RayWorker", "rank", "TP", "EngineCore", "APIServer")


def _closer(one: str, two: str) -> bool:
    """Whether `one` names a process nearer to the device, or the same kind more exactly."""
    return (depth(one), -len(one)) < (depth(two), -len(two))


def depth(process: str) -> int:
    """How far from the device a process is: worker 0, engine core 1, anything without a name 2, API server 3."""
    if "Worker" in process or process.startswith(("rank", "TP", "DP", "PP")):
        return 0
    if process.startswith("EngineCore"):
        return 1
    return 3 if process.startswith(("APIServer", "ApiServer")) else 2


def sortable_time(time: str) -> str:
    """Month, day and clock in one spelling ("MMDDhhmmss.frac"), to compare two loggers; "" if there is none."""
    digits = re.sub(r"[^\d.]", "", time.replace(",", ".").replace("T", "").replace(" ", ""))
    whole, _, fraction = digits.partition(".")
    if len(whole) == 14:  # with a year
        whole = whole[4:]
    return f"{whole}.{fraction}" if len(whole) == 10 else ""
