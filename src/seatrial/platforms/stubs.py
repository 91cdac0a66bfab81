"""Stubs: what a plugin asks of its device's own packages, as data in `platforms/<name>/stubs.toml`.

In: a platform's name and a target's. Out: `Stubs` with the target's chip filled in, or None where the platform needs
none. The dry run hands them to the engine's interpreter (`engine/probes/dry_stubs.py`), where they stand in for
packages that are not installed, so that the plugin's own classes are what is built. Refuses (FileFormatError) a faulty
file.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from seatrial.core.errors import FileFormatError
from seatrial.core.record import Record, from_plain

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCHEMA_VERSION = 1


class StubbedModule(Record):
    """`calls` raise when called, `same` give their first argument back, `types` are empty classes (dots nest them).

    A value `{"returns": X}` is a function that answers X. `version` is the package's in its metadata, for code that
    asks for it; without one it has none.
    """

    calls: list[str] = msgspec.field(default_factory=list)
    same: list[str] = msgspec.field(default_factory=list)
    types: list[str] = msgspec.field(default_factory=list)
    values: dict[str, Any] = msgspec.field(default_factory=dict)
    version: str = ""


class WorkerStep(Record):
    """A call the plugin's worker makes before it builds a model; `arguments` name the config or fields of it."""

    when: Literal["before", "after"]
    module: str
    function: str
    arguments: list[str] = msgspec.field(default_factory=list)


class OptionalParameter(Record):
    """A parameter that a checkpoint need not fill although the plugin makes it: `method` is the class that makes it."""

    parameter: str
    method: str
    why: str


class Stubs(Record):
    """`proven`: versions of `distribution` with which a model was built and loaded through these stubs.

    `device_package`: where this is really installed, nothing is stood in for: it is the device's own environment.
    `modules` do not exist without the device; `added` are attributes that it gives to modules that do, `replaced` those
    that it changes; `pretends` is the device of torch whose name it goes by; `backend` are the
    methods of a process group's backend and what they answer; `chips` are values by target.
    `engine_library`: "none" where vLLM beside this plugin is built without compiled operators, "" if unknown.
    `torch_ops`: schemas of the plugin's compiled operators, `namespace::name(...) -> ...`.
    """

    schema_version: int
    plugin: str
    distribution: str
    proven: list[str]
    device: str = ""
    device_package: str = ""
    engine_library: Literal["", "none"] = ""
    env: dict[str, str] = msgspec.field(default_factory=dict)
    worker: list[WorkerStep] = msgspec.field(default_factory=list)
    modules: dict[str, StubbedModule] = msgspec.field(default_factory=dict)
    added: dict[str, StubbedModule] = msgspec.field(default_factory=dict)
    replaced: dict[str, StubbedModule] = msgspec.field(default_factory=dict)
    pretends: str = ""
    backend: dict[str, Any] = msgspec.field(default_factory=dict)
    torch_ops: list[str] = msgspec.field(default_factory=list)
    optional: list[OptionalParameter] = msgspec.field(default_factory=list)
    chips: dict[str, dict[str, dict[str, Any]]] = msgspec.field(default_factory=dict)


def load_stubs(platform: str, lineage: Sequence[str]) -> Stubs | None:
    """The stubs of `platform` with the chip of the first target of `lineage` (a target's own name, then those that it
    extends) that names one; where none does, the plugin keeps its own default."""
    file = Path(__file__).parent / platform / "stubs.toml"
    if not file.is_file():
        return None
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except ValueError as exc:
        raise FileFormatError(f"{file.name} of platform {platform}: {exc}") from exc
    chips = data.get("chips", {})
    chip: dict[str, dict[str, Any]] = next((chips[name] for name in lineage if name in chips), {})
    for module, values in chip.items():
        data["modules"].setdefault(module, {}).setdefault("values", {}).update(values)
    stubs = from_plain(Stubs, data, where=f"stubs.toml of platform {platform!r}")
    if stubs.schema_version != SCHEMA_VERSION:
        raise FileFormatError(f"stubs.toml of platform {platform!r}: schema_version is {stubs.schema_version}, not 1")
    return stubs


def local_root(folder: str) -> str:
    """The plugin's sources, if they are on this machine; else ("") it is looked for where it is installed."""
    return folder if folder and Path(folder).is_dir() else ""
