"""Processes that ended without a traceback: what exit codes, signals and dump headers say."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence

from seatrial.triage.record import Death, Event

# "Worker proc VllmWorker-1 died unexpectedly (exit code: -11)", "exitcode: -9", "exit code 137"
EXIT = re.compile(r"exit ?code:? ?(-?\d{1,4})\b")
BY_SIGNAL = re.compile(
    r"(?:received signal|killed by signal|\(signal|signal number|Signal:?) ?:?(?:SIG[A-Z]+ )?\(?(\d{1,2})\b"
)
HEADERS = (
    (re.compile(r"Segfault encountered|Segmentation fault|SIGSEGV"), -int(signal.SIGSEGV)),
    (re.compile(r"Fatal Python error: Aborted|\bSIGABRT\b|^\*\*\* Aborted"), -int(signal.SIGABRT)),
    (re.compile(r"\bSIGBUS\b|Bus error"), -int(signal.SIGBUS)),
    (
        re.compile(r"oom-kill|[Oo]ut of memory: Kill(?:ed)? process|^Killed\b|\bSIGKILL\b|OOMKilled"),
        -int(signal.SIGKILL),
    ),
)
DIED = re.compile(r"died unexpectedly|EngineDeadError|EngineCore encountered|encountered a fatal error|engine is dead")
NAME = re.compile(r"(?:Worker proc|Engine core proc|process) (\S{1,60}) died")
TELL = {
    -signal.SIGSEGV: "was ended by signal 11 (segmentation fault in native code)",
    -signal.SIGABRT: "was ended by signal 6 (abort in native code)",
    -signal.SIGBUS: "was ended by signal 7 (bus error: /dev/shm full or a mapped file cut short)",
    -signal.SIGKILL: "was ended by signal 9 (the kernel's OOM killer, a memory limit, or somebody's kill -9)",
    -signal.SIGTERM: "was ended by signal 15 (asked to stop)",
    -signal.SIGILL: "was ended by signal 4 (a binary built for another CPU)",
}
STEPS = {
    -signal.SIGKILL: "Look for the OOM killer: `dmesg | grep -i -E 'oom|killed process'`; compare host memory and the "
    "container's limit with the checkpoint's size.",
    -signal.SIGSEGV: "Get the native stack: PYTHONFAULTHANDLER=1, `ulimit -c unlimited`, then the same command; "
    "try --enforce-eager.",
    -signal.SIGBUS: "`df -h /dev/shm`; start the container with --shm-size or --ipc=host.",
    -signal.SIGILL: "Compare `lscpu` with the build target of the wheel.",
}


def meaning(code: int) -> str:
    """What an exit code says; codes above 128 are a shell's spelling of a signal."""
    if 128 < code < 192:
        code = 128 - code
    if code in TELL:
        return TELL[code]
    return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"


def given(exit_codes: Mapping[str, int] | None) -> tuple[Death, ...]:
    """The bad ones among the exit codes a caller knows."""
    return tuple(
        Death(process=name, code=128 - code if 128 < code < 192 else code, meaning=meaning(code))
        for name, code in (exit_codes or {}).items()
        if code not in {0, -signal.SIGTERM, 128 + signal.SIGTERM}
    )


def in_log(events: Sequence[Event]) -> tuple[Death, ...]:
    """Deaths the log itself tells of, each once."""
    found: dict[tuple[str, int], Death] = {}
    for event in events:
        code = _code(event.text)
        if code is None:
            continue
        name = m[1] if (m := NAME.search(event.text)) else event.process
        if any(known == code for _, known in found) and not m:
            continue
        found[(name, code)] = Death(process=name, code=code, meaning=meaning(code))
    return tuple(found.values())


def _code(text: str) -> int | None:
    if (m := EXIT.search(text)) and int(m[1]) not in {0, 1, -15, 143}:
        code = int(m[1])
        return 128 - code if 128 < code < 192 else code
    if "trigger received" in text:
        return None
    for pattern, code in HEADERS:
        if pattern.search(text):
            return code
    return None


def crash_after_ready(events: Sequence[Event], ready: bool, fatal: tuple[Death, ...]) -> Event | None:
    """The first sign of an engine that died after it had said it was ready."""
    if not ready:
        return None
    for event in events:
        if event.ready and (DIED.search(event.text) or (fatal and _code(event.text) is not None)):
            return event
    return None


def next_step(fatal: tuple[Death, ...]) -> str:
    for death in fatal:
        if death.code in STEPS:
            return STEPS[death.code]
    return ""
