"""The contract of a platform folder. `facts.py` holds one `PLATFORM`; `launch.py` one function, `plan`.

`plan(request) -> LaunchPlan` goes from a request in plain values to the exact environment and arguments. It starts
nothing, and of this machine it reads the core count and the plugin's source. What a document prescribes and the plan
leaves out or changes is a `Deviation` with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from packaging.version import InvalidVersion, Version

from seatrial.core.command import Command
from seatrial.core.record import Record

Scalar = str | int | float | bool


class Platform(Record):
    """`device_type` is what vLLM's `current_platform.device_type` says when it is active.

    `plugin` is the entry point's name in `vllm.platform_plugins` (empty: built into vLLM), `distribution` its package,
    `visible_env` the variable that selects devices (empty: none).
    """

    name: str
    device_type: str
    plugin: str = ""
    distribution: str = ""
    visible_env: str = ""


class ModelTraits(Record):
    """What of the checkpoint matters for a launch; None where nobody has looked."""

    model_type: str = ""
    moe: bool | None = None
    mla: bool | None = None


class LaunchRequest(Record):
    """One server to start. `env` and `args` are the target's; `extra_args` come last, as the user typed them.

    `tp` and `max_model_len` overrule the target's arguments if not None. Versions are "" where unknown, and so is
    `plugin_source`, the folder of the plugin's package.
    """

    checkpoint: str
    served_name: str
    stage: str
    host: str
    port: int
    python: str
    tp: int | None = None
    max_model_len: int | None = None
    env: dict[str, str] = msgspec.field(default_factory=dict)
    args: dict[str, Scalar] = msgspec.field(default_factory=dict)
    extra_args: tuple[str, ...] = ()
    visible_env: str = ""
    cwd: str = ""
    traits: ModelTraits = msgspec.field(default_factory=ModelTraits)
    vllm_version: str = ""
    plugin_version: str = ""
    plugin_source: str = ""


class Deviation(Record):
    """`what` differs from the document named in `source`, and `why`."""

    what: str
    why: str
    source: str


class LaunchPlan(Record):
    """The command, and where it departs from what the platform's documents prescribe."""

    command: Command
    tp: int
    max_model_len: int | None
    deviations: tuple[Deviation, ...] = ()
    notes: tuple[str, ...] = ()


def tensor_parallel(request: LaunchRequest) -> int:
    """The size among the further arguments, which the server takes, else the one asked for, the target's, or 1."""
    given = whole_number_in(request.extra_args, "--tensor-parallel-size", "-tp")
    return given if given is not None else tensor_parallel_of(request.tp, request.args)


def whole_number_in(words: Sequence[str], *flags: str) -> int | None:
    """The last value that a command line gives one of these flags, if it is a whole number of at least 1."""
    found = ""
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if (name.replace("_", "-") if name.startswith("--") else name) in flags:
            found = value if equals else words[place + 1] if place + 1 < len(words) else ""
    return int(found) if found.isdecimal() and int(found) else None


def tensor_parallel_of(tp: int | None, args: Mapping[str, Scalar]) -> int:
    """The size for an explicit wish and a target's arguments."""
    return tp if tp is not None else int(args.get("tensor-parallel-size", 1))


def serve_arguments(request: LaunchRequest, args: dict[str, Scalar]) -> list[str]:
    """The arguments after the entry point and the model, in the order the documents use; `args` overrule the target."""
    merged: dict[str, Scalar] = {**request.args, **args}
    for name in ("served-model-name", "host", "port", "load-format", "tensor-parallel-size", "max-model-len"):
        merged.pop(name, None)
    line = ["--served-model-name", request.served_name]
    line += flags({name: value for name, value in merged.items() if name in ("trust-remote-code", "dtype")})
    length = request.max_model_len if request.max_model_len is not None else request.args.get("max-model-len")
    if length is not None:
        line += ["--max-model-len", str(length)]
    size = tensor_parallel_of(request.tp, request.args)
    if size > 1 or "tensor-parallel-size" in request.args:
        line += ["--tensor-parallel-size", str(size)]
    line += flags({name: value for name, value in merged.items() if name not in ("trust-remote-code", "dtype")})
    if request.stage == "dummy":
        line += ["--load-format", "dummy"]
    return [*line, "--host", request.host, "--port", str(request.port), *request.extra_args]


def flags(args: dict[str, Scalar]) -> list[str]:
    """`{"a": 1, "b": True, "c": False}` as `--a 1 --b`."""
    line: list[str] = []
    for name, value in args.items():
        if value is True:
            line.append(f"--{name}")
        elif value is not False:
            line += [f"--{name}", str(value)]
    return line


def serve_entry(python: str) -> list[str]:
    """`vllm serve` of that interpreter's environment; its module if there is no console script beside it."""
    script = Path(python).parent / "vllm"
    return [str(script), "serve"] if script.is_file() else [python, "-m", "vllm.entrypoints.cli.main", "serve"]


def built(
    request: LaunchRequest,
    *,
    env: dict[str, str] | None = None,
    args: dict[str, Scalar] | None = None,
    without: tuple[str, ...] = (),
    deviations: tuple[Deviation, ...] = (),
    notes: tuple[str, ...] = (),
) -> LaunchPlan:
    """The usual entry point; `env` and `args` are laid over the target's, variables in `without` left out."""
    line = [*serve_entry(request.python), request.checkpoint, *serve_arguments(request, args or {})]
    settings = {name: value for name, value in {**request.env, **(env or {})}.items() if name not in without}
    command = Command(
        purpose=f"start the server, {request.stage} weights",
        argv=tuple(line),
        env=settings,
        cwd=request.cwd,
    )
    length: Scalar | None = whole_number_in(request.extra_args, "--max-model-len")
    if length is None:
        length = request.max_model_len if request.max_model_len is not None else request.args.get("max-model-len")
    return LaunchPlan(
        command=command,
        tp=tensor_parallel(request),
        max_model_len=int(length) if length is not None else None,
        deviations=deviations,
        notes=notes,
    )


def at_least(version: str, limit: str) -> bool | None:
    """Is `version` at least `limit` (its release candidates included)? None if it is unknown."""
    try:
        return Version(version).release >= Version(limit).release
    except InvalidVersion:
        return None
