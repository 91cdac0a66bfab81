"""The record of a target, after defaults and overrides.

Numbers are `Quantity`s: each says whether it was measured, derived or declared, and where. Flags and variables are not
quantities; `reasons` says why one is set.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from seatrial.core.quantity import Quantity
from seatrial.core.record import Record

PlatformName = Literal["cpu", "ascend", "kunlun", "cuda"]
FlagValue = str | int | float | bool
# Arguments that seatrial itself counts with; vLLM's short forms ("128k") are for people.
COUNTS = ("data-parallel-size", "max-model-len", "max-num-seqs", "pipeline-parallel-size", "tensor-parallel-size")


class EngineChoice(Record):
    """Which engine. `embedded`: one that `seatrial engine install PACKAGE` made, at `version`.

    `interpreter`: an existing Python that has vLLM, by absolute path or a name found on PATH.
    """

    kind: Literal["embedded", "interpreter"]
    package: str = ""
    version: str = ""
    interpreter: str = ""

    def __post_init__(self) -> None:
        if self.kind == "embedded" and not (self.package and self.version):
            raise ValueError("engine.kind 'embedded' needs engine.package and engine.version")
        if self.kind == "embedded" and self.interpreter:
            # It would be read by nobody: the target would run on another engine than the one that was named.
            raise ValueError("engine.interpreter is not used with engine.kind 'embedded': set kind = 'interpreter'")
        if self.kind == "interpreter" and not self.interpreter:
            raise ValueError("engine.kind 'interpreter' needs engine.interpreter, the path of a Python that has vLLM")


class Roots(Record):
    """Folders; empty for "none": source roots whose code is expected to run, where to serve from, where models lie."""

    vllm: str = ""
    plugin: str = ""
    work_dir: str = ""
    models: str = ""


class Devices(Record):
    """`count` devices as the runtime counts them; `visible_env` is the variable that selects them ("" for none)."""

    count: Quantity
    visible_env: str = ""

    def __post_init__(self) -> None:
        count = self.count.value
        if count is not None and (count < 1 or count != int(count)):
            raise ValueError(f"devices.count must be a whole number of at least 1, not {count}")


class Launch(Record):
    """Environment set for the engine's processes, on top of the inherited one, and why."""

    env: dict[str, str] = msgspec.field(default_factory=dict)
    reasons: dict[str, str] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.env.items():
            if not name or "=" in name or "\0" in name + value:
                raise ValueError(f"launch.env: {name!r} is not a variable that a process can be given")


class Serve(Record):
    """Arguments of `vllm serve`: flag without dashes to value (true: bare flag, false: left out), and why.

    `port` 0 means any free one. Requests go to `host`.
    """

    host: str = "127.0.0.1"
    port: int = 0
    args: dict[str, FlagValue] = msgspec.field(default_factory=dict)
    reasons: dict[str, str] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError("serve.port must be 0 (any free port) to 65535")
        for name, value in self.args.items():
            # vLLM takes underscores for dashes; under another name a size would be the server's and not seatrial's.
            plain, dot, path = name.partition(".")
            usual = plain.lstrip("-").replace("_", "-") + dot + path
            if name != usual or not usual:
                raise ValueError(f"serve.args: write {usual!r} for {name!r}")
            if name in COUNTS and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ValueError(f"serve.args: {name} must be a whole number of at least 1, not {value!r}")


class Limits(Record):
    """Time limits in seconds: until ready, without any progress in the log, per request, for stopping, per probe."""

    ready_s: Quantity
    stuck_s: Quantity
    request_s: Quantity
    stop_s: Quantity
    probe_s: Quantity

    def __post_init__(self) -> None:
        for name in ("ready_s", "stuck_s", "request_s", "stop_s", "probe_s"):
            value = getattr(self, name).value
            # Unknown ones take the step's own default; only stopping may be without any grace.
            if value is not None and not (math.isfinite(value) and (value > 0 or (value == 0 and name == "stop_s"))):
                raise ValueError(f"limits.{name} must be a number of seconds above 0, not {value}")


PRECHECK = (
    "device_busy_percent",
    "device_memory_percent",
    "foreign_cpu_percent",
    "swap_swing_mib",
    "idle_samples",
    "idle_interval_s",
)


class Precheck(Record):
    """What a machine must be like around a measurement: devices idle and free before, and nobody else at work.

    Percentages are of one device (`*_percent` of device figures) or of all cores (`foreign_cpu_percent`).
    """

    device_busy_percent: Quantity
    device_memory_percent: Quantity
    foreign_cpu_percent: Quantity
    swap_swing_mib: Quantity
    idle_samples: Quantity
    idle_interval_s: Quantity

    def __post_init__(self) -> None:
        for name in PRECHECK:
            value = getattr(self, name).value
            if value is None or not (math.isfinite(value) and value >= 0):
                raise ValueError(f"precheck.{name} must be a number of at least 0, not {value}")


class Target(Record):
    """A target, complete. `hardware` holds figures by name (units in each); unknown ones say so.

    `device`: whose figures a plan takes (`seatrial hardware list`, or a .toml file of one's own); "" for none.
    `lineage`: its own name and those of the targets that it extends, nearest first; reading it sets this.
    """

    schema_version: int
    name: str
    description: str
    platform: PlatformName
    engine: EngineChoice
    devices: Devices
    limits: Limits
    device: str = ""
    roots: Roots = msgspec.field(default_factory=Roots)
    launch: Launch = msgspec.field(default_factory=Launch)
    serve: Serve = msgspec.field(default_factory=Serve)
    hardware: dict[str, Quantity] = msgspec.field(default_factory=dict)
    precheck: Precheck | None = None
    lineage: tuple[str, ...] = ()
