"""Processes that ended without a traceback: what exit codes, signals and dump headers say."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence

from seatrial.triage.record import Death, Event

# "Worker proc VllmWorker-1 died unexpectedly (exit code: -11)", "exitcode  : -9", "Exit Code:    137"
EXIT = re.compile(r"\b[Ee]xit[ _]?(?:[Cc]ode|status)[ :=]{0,8}(-?\d{1,4})\b")
ENDED = re.compile(
    r"\b(?:died|dead|exit(?:ed|s|ing)?|finished|returned|ended|terminated|stopped|failed|crashed)\b", re.I
)
ORDINARY = {0, 1, -int(signal.SIGTERM), -int(signal.SIGINT)}
# A signal that is said to have ended a process; a name alone may be advice, a handler, or something that was sent.
NAMED = (
    re.compile(r"\bSignals\.(?P<name>SIG[A-Z]{2,6})\b"),
    re.compile(
        r"\b(?:terminated|killed|exited|died|crashed|ended)(?: unexpectedly)?,? (?:with|by|on|due to|from) (?:an? )?"
        r"[Ss]ignal(?: number)?:? ?(?:(?P<name>SIG[A-Z]{2,6})|\(?(?P<number>\d{1,2})\b)"
    ),
    re.compile(r"\*\*\* (?P<name>SIG[A-Z]{2,6}) \("),
    re.compile(r"\bSignal (?P<number>\d{1,2}) \(SIG[A-Z]{2,6}\) received by PID"),
    re.compile(r"^\W{0,4}(?:\[[\w.:-]{1,60}\] )?Signal: [A-Za-z ]{3,30} \((?P<number>\d{1,2})\)"),
    re.compile(r"\bcode=(?:killed|dumped), status=(?P<number>\d{1,2})/"),
    re.compile(
        r"\b[Rr]eceived (?:signal )?(?:(?P<name>SIG(?:SEGV|ABRT|BUS|KILL|ILL|FPE))\b|signal:? (?P<number>\d{1,2})\b)"
    ),
    re.compile(r"\b(?P<name>SIG(?:SEGV|ABRT|BUS|ILL|FPE))\b(?: \([^)]{1,40}\))? (?:received|caught|at )"),
)
# How a shell tells of its child: "run.sh: line 5: 12345 Killed   vllm serve", "zsh: killed", the word alone.
SHELL = r"(?:^|\bline \d{1,5}: {1,8}\d{1,9} |\bzsh: )"
# The command stands apart by several blanks; one blank makes a sentence, such as "Aborted request 7".
ALONE = r"(?= {0,60}$| {2,60}\S| {1,9}\(core dumped\))"
ABORTED = rf"Fatal Python error: Aborted|{SHELL}[Aa]bort(?:ed)?{ALONE}|\bAborted {{1,9}}\(core dumped\)"
OOM = rf"oom-kill|[Oo]ut of memory: Kill(?:ed)? process|\bKilled process \d|{SHELL}[Kk]illed{ALONE}|OOMKilled"
HEADERS = tuple(
    (re.compile(pattern), -int(number))
    for pattern, number in (
        (r"Segfault encountered|[Ss]egmentation fault|\bsegfault at [0-9a-f]{1,16} ip ", signal.SIGSEGV),
        (ABORTED, signal.SIGABRT),
        (r"\bSIGBUS\b|[Bb]us error", signal.SIGBUS),
        (r"[Ii]llegal (?:hardware )?instruction|\btraps: .{1,60} invalid opcode", signal.SIGILL),
        (rf"Fatal Python error: Floating|{SHELL}[Ff]loating point exception", signal.SIGFPE),
        (OOM, signal.SIGKILL),
    )
)
QUIET = {"INFO", "DEBUG"}
DIED = re.compile(r"died unexpectedly|EngineDeadError|EngineCore encountered|encountered a fatal error|engine is dead")
NAME = re.compile(r"(?:Worker proc|Engine core proc|process) (\S{1,60}) died")
TELL = {
    -signal.SIGSEGV: "was ended by signal 11 (segmentation fault in native code)",
    -signal.SIGABRT: "was ended by signal 6 (abort in native code)",
    -signal.SIGBUS: "was ended by signal 7 (bus error: /dev/shm full or a mapped file cut short)",
    -signal.SIGKILL: "was ended by signal 9 (the kernel's OOM killer, a memory limit, or somebody's kill -9)",
    -signal.SIGTERM: "was ended by signal 15 (asked to stop)",
    -signal.SIGILL: "was ended by signal 4 (a binary built for another CPU)",
    -signal.SIGFPE: "was ended by signal 8 (a division by zero in native code)",
}
STEPS = {
    -signal.SIGKILL: "Look for the OOM killer: `dmesg | grep -i -E 'oom|killed process'`; compare host memory and the "
    "container's limit with the checkpoint's size.",
    -signal.SIGSEGV: "Get the native stack: PYTHONFAULTHANDLER=1, `ulimit -c unlimited`, then the same command; "
    "try --enforce-eager.",
    -signal.SIGABRT: "The abort's reason stands above it on standard error: a failed check, `what():`, or memory. "
    "Get the native stack: PYTHONFAULTHANDLER=1, `ulimit -c unlimited`, then the same command.",
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
        code = code_of(event)
        if code is None:
            continue
        name = m[1] if (m := NAME.search(event.text)) else event.process
        if any(known == code for _, known in found) and not m:
            continue
        found[(name, code)] = Death(process=name, code=code, meaning=meaning(code), file=event.file, line=event.line)
    return tuple(found.values())


def event_of(events: Sequence[Event], fatal: Sequence[Death]) -> Event | None:
    """The line that tells of the first of these deaths; None if none does."""
    places = {(death.file, death.line) for death in fatal if death.line}
    return next((event for event in events if (event.file, event.line) in places), None)


def code_of(event: Event) -> int | None:
    """The signal (negative) or bad exit code by which the line says a process ended; None where it does not."""
    text = event.text
    if m := EXIT.search(text):
        code = int(m[1])
        code = 128 - code if 128 < code < 192 else code
        # A quiet line that merely speaks of a code is advice.
        if code not in ORDINARY and (event.level not in QUIET or ENDED.search(text[: m.start()])):
            return code
    if "trigger received" in text or event.level in QUIET:
        return None
    for pattern in NAMED:
        if (m := pattern.search(text)) and (code := _number(m.groupdict())) not in ORDINARY:
            return code
    if event.level == "WARNING":
        return None
    return next((code for pattern, code in HEADERS if pattern.search(text)), None)


def _number(said: Mapping[str, str | None]) -> int:
    name = said.get("name") or ""
    if name:
        return -int(signal.Signals[name]) if name in signal.Signals.__members__ else 0
    return -int(said.get("number") or 0)


def crash_after_ready(events: Sequence[Event], ready: bool, fatal: tuple[Death, ...]) -> Event | None:
    """The first sign of an engine that died after it had said it was ready."""
    if not ready:
        return None
    for event in events:
        if event.ready and (DIED.search(event.text) or (fatal and code_of(event) is not None)):
            return event
    return None


def next_step(fatal: tuple[Death, ...]) -> str:
    for death in fatal:
        if death.code in STEPS:
            return STEPS[death.code]
    return ""
