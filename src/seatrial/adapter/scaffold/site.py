"""What every writer of a scaffold's files needs to know, and the findings they give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from seatrial.adapter.port.register import PluginSource
from seatrial.adapter.scaffold.symbols import Symbols
from seatrial.adapter.scaffold.undecided import Open, class_prefix
from seatrial.core.finding import Finding, Severity
from seatrial.support.source import Trees


@dataclass
class Site:
    """One architecture on its way into a plugin. `files` is filled by the writers: path below the root to text.

    `text` is the language model's section of `config`; `classes` are the architectures to register, with their modules;
    `calls` the functions that the plugin's entry point has to call, as (module, function).
    """

    arch: str
    module: str
    plugin: PluginSource
    config: Mapping[str, Any]
    text: Mapping[str, Any]
    trees: Trees
    symbols: Symbols
    version: str
    files: dict[str, str] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)

    @property
    def path(self) -> str:
        """The model file below the plugin's root."""
        return self.plugin.path_of(self.module)

    @property
    def draft_arch(self) -> str:
        """The name that the architecture's draft is registered by, in the form of vLLM's own."""
        return f"{class_prefix(self.arch)}MTPModel"


def open_place(path: str, place: Open) -> Finding:
    """F001: a place in a written file that the checkpoint does not decide."""
    return Finding(
        code="F001",
        severity=Severity.WARNING,
        place=path,
        message=" ".join([place.question, *place.evidence]),
        next_step="Answer it where the file calls `undecided`; until then building the model raises.",
    )


def note(code: str, place: str, message: str, severity: Severity = Severity.INFO, next_step: str = "") -> Finding:
    return Finding(code=code, severity=severity, place=place, message=message, next_step=next_step)
