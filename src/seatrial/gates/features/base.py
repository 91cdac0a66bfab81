"""What a feature is: when it applies, how it is switched on, what is asked of the server, and which evidence decides.

One file per feature; each defines `FEATURE`, an instance of a subclass of `Feature`. A status of `supported` needs
positive evidence seen after a real request and no counter-evidence. A log line counts as missing only if the installed
engine still has the words that would print it (`Line.source`); otherwise its absence says nothing.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from seatrial.core.record import Record
from seatrial.gates.client import Client
from seatrial.gates.facts import GateFacts

Status = Literal["supported", "unsupported", "checkpoint-missing", "not-applicable", "not-attempted", "inconclusive"]


class Model(Record):
    """The checkpoint as features see it: config.json and the tensor names of its safetensors files."""

    config: dict[str, Any]
    tensors: frozenset[str]

    def text(self) -> dict[str, Any]:
        """The text model's part of the config."""
        for key in ("text_config", "llm_config", "thinker_config"):
            inner = self.config.get(key)
            if isinstance(inner, dict):
                return inner
        return self.config

    def field(self, *names: str) -> tuple[str, Any] | None:
        """The first of these fields that is there, in the text part or on top."""
        for level in (self.text(), self.config):
            for name in names:
                if level.get(name) is not None:
                    return name, level[name]
        return None

    def experts(self) -> tuple[str, int] | None:
        """The field that counts experts, if it counts more than one."""
        for level in (self.text(), self.config):
            for name, value in level.items():
                if "expert" in name and isinstance(value, int) and not isinstance(value, bool) and value > 1:
                    return name, value
        return None


class Situation(Record):
    """Where the feature is tried: platform, versions ("" if unknown), the base run's sizes, what the machine offers.

    `checkpoint` is its folder, `scratch` one that features may write to, `plugin_source` the folder of the plugin's
    package; "" where there is none.
    """

    platform: str
    vllm_version: str
    plugin_version: str
    tp: int
    max_model_len: int | None
    devices: int
    eager: bool
    checkpoint: str = ""
    scratch: str = ""
    plugin_source: str = ""


class Switch(Record):
    """What is added to a start of the server; `tp` replaces the size, `drop` leaves arguments of the target out.

    `merged`: JSON arguments by name, each laid over the value that the target or the user gives.
    """

    args: tuple[str, ...] = ()
    env: dict[str, str] = msgspec.field(default_factory=dict)
    tp: int | None = None
    drop: tuple[str, ...] = ()
    merged: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)


class Line(Record):
    """A log line that decides. `source`: words of it that the engine's code holds literally, in one string."""

    pattern: str
    source: str


class Proof(Record):
    """A piece of evidence: where it was seen and what it says."""

    where: str
    says: str


class Asked(Record):
    """What came of the feature's own requests: proofs, or what speaks against it, or why neither; all may be empty."""

    proofs: tuple[Proof, ...] = ()
    against: str = ""
    unsure: str = ""


class Feature:
    """The base: override what differs. `name` is the key of the matrix, `title` for people."""

    name = ""
    title = ""
    positive: tuple[Line, ...] = ()
    negative: tuple[Line, ...] = ()

    def not_applicable(self, model: Model, situation: Situation) -> str:
        """The reason, with the config field that says so; empty if it applies."""
        return ""

    def missing(self, model: Model) -> str:
        """What the checkpoint declares and does not hold; empty if nothing is missing."""
        return ""

    def not_attempted(self, model: Model, situation: Situation) -> str:
        """Why it cannot be tried here; empty if it can."""
        return ""

    def absence(self, model: Model) -> Literal["unsupported", "inconclusive"]:
        """What it means that no positive line was printed although the engine could have."""
        return "unsupported"

    def prepare(self, model: Model, situation: Situation) -> None:
        """Write what the switch names; called once, before the start."""

    def switch(self, model: Model, situation: Situation) -> Switch | None:
        """How it is switched on; None if it is on in the base run already."""
        return None

    def ask(self, client: Client, situation: Situation) -> Asked:
        """The feature's own requests."""
        return Asked()

    def facts(self, gate: GateFacts, model: Model) -> Asked:
        """Evidence in the facts of the start itself."""
        return Asked()
