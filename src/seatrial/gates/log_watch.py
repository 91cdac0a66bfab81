"""A server's growing log, read in passing: is it growing, what is the engine doing, which class does it serve.

In: the file. Out: `Phase`s and `Resolved`. Constant memory and bounded work: of a flood only the newest part of each
look is scanned, and `passed_over` counts the bytes that were not (the raw file keeps everything).
"""

from __future__ import annotations

import re
import time
from pathlib import Path

from seatrial.core.record import replace
from seatrial.engine.border import describe_exit
from seatrial.gates.facts import Phase, Resolved

LOOK_BYTES = 1 << 20  # scanned per look at most

# Phases by what vLLM 0.11 to 0.32 and its plugins log; only for people watching and for the stuck/compiling question.
PHASES = (
    ("initialising the engine", re.compile(r"Initializing a V1 LLM engine")),
    ("loading weights", re.compile(r"Starting to load model|Loading safetensors checkpoint")),
    ("compiling", re.compile(r"Start compiling|Dynamo bytecode transform|torch\.compile takes|Compiling a graph")),
    ("sizing the KV cache", re.compile(r"Available KV cache memory|KV cache size")),
    ("capturing graphs", re.compile(r"Capturing (?:CUDA|ACL|NPU|XPU)?\s?graphs|Capturing CUDA graph")),
    ("warming up", re.compile(r"[Ww]arming up|Compilation/warmup")),
    ("starting the API server", re.compile(r"Starting vLLM (?:API )?server")),
    ("serving", re.compile(r"Application startup complete")),
)
ARCHITECTURE = re.compile(r"Resolved architecture: (\S+)")
OVERWRITTEN = re.compile(
    r"Model architecture (\S+) is already registered, and will be overwritten by the new model class (\S+?)\.?$"
)
DEATH = re.compile(r"(Worker proc|RayWorkerProc rank=) ?(\S+) died unexpectedly(?: \(exit code: (-?\d+)\))?")
# The engine's own account of its configuration, vLLM 0.11 to 0.32: `load_format=auto`, once `LoadFormat.AUTO`.
LOAD_FORMAT = re.compile(r"Initializing a V1 LLM engine.* load_format=(?:LoadFormat\.)?(\w+)")
PLUGIN = re.compile(r"Failed to load plugin (\S+)")


class LogWatch:
    """Call `look` now and then; it is cheap when nothing has been written."""

    def __init__(self, log: Path, origin: float) -> None:
        self.log = log
        self.phases: list[Phase] = []
        self.resolved = Resolved()
        self.deaths: list[str] = []
        self.passed_over = 0
        self.size = 0
        self.grown_at = origin
        self._origin = origin
        self._offset = 0
        self._rest = b""

    def look(self) -> bool:
        """Read what is new; true if the phase changed."""
        try:
            size = self.log.stat().st_size
        except FileNotFoundError:
            return False
        if size == self.size:
            return False
        self.size, self.grown_at = size, time.monotonic()
        if size - self._offset > LOOK_BYTES:
            self.passed_over += size - LOOK_BYTES - self._offset
            self._offset, self._rest = size - LOOK_BYTES, b""
        with self.log.open("rb") as stream:
            stream.seek(self._offset)
            data = stream.read(LOOK_BYTES)
        self._offset += len(data)
        # A progress bar ends its lines with a carriage return.
        *lines, self._rest = re.split(rb"[\r\n]", (self._rest + data)[-LOOK_BYTES:])
        changed = [self._line(line.decode(errors="replace")) for line in lines if line]
        return any(changed)

    def phase(self) -> str:
        return self.phases[-1].name if self.phases else "starting"

    def _line(self, line: str) -> bool:
        self._note(line)
        for name, pattern in PHASES:
            if pattern.search(line):
                if self.phase() == name:
                    return False
                at = time.monotonic() - self._origin
                self.phases.append(Phase(name=name, at_s=at, line=line[:300]))
                return True
        return False

    def _note(self, line: str) -> None:
        was = self.resolved
        if match := ARCHITECTURE.search(line):
            name = match.group(1)
            generic = was.transformers_backend or name.startswith("Transformers")
            self.resolved = replace(was, architecture=was.architecture or name, transformers_backend=generic)
        elif match := OVERWRITTEN.search(line):
            self.resolved = replace(was, overwritten_by=match.group(2))
        elif match := DEATH.search(line):
            how = describe_exit(int(match.group(3))) if match.group(3) else "by itself (the engine did not see how)"
            self.deaths.append(f"{match.group(2)} ended {how}")
        elif (match := PLUGIN.search(line)) and match.group(1) not in was.failed_plugins:
            self.resolved = replace(was, failed_plugins=(*was.failed_plugins, match.group(1)))
        elif match := LOAD_FORMAT.search(line):
            self.resolved = replace(was, load_format=match.group(1).lower())
