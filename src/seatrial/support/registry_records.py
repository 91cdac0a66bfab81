"""What a registry read from source says: one record per architecture, and what could not be read."""

from __future__ import annotations

from typing import Literal

from seatrial.core.finding import Finding
from seatrial.core.record import Record

State = Literal["registered", "previously-supported", "out-of-tree"]


class Registered(Record):
    """One architecture. `module` and `class_name` are what would serve it (empty unless `state` is "registered").

    `detail`: the last vLLM release that had it, or the address of the plugin that has it now. `condition`: source text
    of the tests under which a plugin registers it. `overwrites`: the class it takes the place of. `place`: file:line.
    """

    architecture: str
    state: State
    owner: str
    module: str = ""
    class_name: str = ""
    detail: str = ""
    condition: str = ""
    overwrites: str = ""
    place: str = ""

    @property
    def class_path(self) -> str:
        return f"{self.module}:{self.class_name}" if self.module else ""


class OutOfTreeOp(Record):
    """A class that takes the place of vLLM's custom op `op`."""

    op: str
    class_name: str
    owner: str
    place: str


class ImportHook(Record):
    """A plugin's replacement of one of vLLM's modules by name, as it is imported."""

    module: str
    replacement: str
    owner: str
    place: str


class RegistryTable(Record):
    """A whole registry. `architectures` is sorted by name; what plugins overwrote is in the entries."""

    schema_version: int
    source: str
    engine_version: str
    architectures: tuple[Registered, ...]
    ops: tuple[OutOfTreeOp, ...] = ()
    hooks: tuple[ImportHook, ...] = ()
    findings: tuple[Finding, ...] = ()

    def supported(self) -> dict[str, Registered]:
        """Those the engine would list, by name."""
        return {e.architecture: e for e in self.architectures if e.state == "registered"}

    def get(self, architecture: str) -> Registered | None:
        return next((e for e in self.architectures if e.architecture == architecture), None)
