"""What the estimate works from: the checkpoint's card and, for the fields the card does not carry, its config.json.

This is the one place of `estimate` that reads config.json itself. In: a folder, or a card with its config. Out:
`Model`.
A field that a formula needs and nobody states raises `Lacking`, which the door turns into an inconclusive verdict.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from seatrial.checkpoint import Card, documents, read_checkpoint
from seatrial.checkpoint.config import TEXT_SECTIONS, VISION_SECTIONS
from seatrial.checkpoint.files import Folder
from seatrial.core.record import Record

DTYPE_BYTES = {"BF16": 2, "F16": 2, "F32": 4, "F64": 8, "F8_E4M3": 1, "F8_E5M2": 1}


class Lacking(Exception):
    """A fact that a formula needs is stated nowhere. `field` is config.json's name for it."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why


class NotModelled(Exception):
    """The model has a part for which the estimate has no formula; the message names it."""


class Uneven(Exception):
    """A size that does not divide over the ranks; the message has the numbers."""


R = TypeVar("R", bound=Record)


def altered(record: R, **changes: Any) -> R:
    """A copy of the record with these fields changed."""
    return msgspec.structs.replace(record, **changes)  # type: ignore[type-var]


class Model(Record):
    """`config` is config.json as it stands (empty where there is none); `given` the dtype of --dtype, "" for auto."""

    card: Card
    config: dict[str, Any] = msgspec.field(default_factory=dict)
    given: str = ""

    def text(self) -> dict[str, Any]:
        """The language model's section."""
        return _section(self.config, TEXT_SECTIONS) if self.card.architecture.text_section else self.config

    def vision(self) -> dict[str, Any]:
        """The image tower's section; empty for none."""
        for key in VISION_SECTIONS:
            if isinstance(self.config.get(key), dict):
                return dict(self.config[key])
        return {}

    def number(self, *keys: str, least: int = 1) -> int | None:
        """A whole number of the language model's section, or of the top."""
        for place in (self.text(), self.config):
            for key in keys:
                value = place.get(key)
                if isinstance(value, int) and not isinstance(value, bool) and value >= least:
                    return value
        return None

    def flag(self, key: str) -> bool | None:
        for place in (self.text(), self.config):
            if isinstance(place.get(key), bool):
                return bool(place[key])
        return None

    def kind(self) -> str:
        """The language model's model_type; "" if none is stated."""
        return self.card.architecture.text_model_type or self.card.architecture.model_type or ""

    def layers(self) -> int:
        return need(self.card.architecture.layers, "num_hidden_layers")

    def hidden(self) -> int:
        return need(self.card.architecture.hidden_size, "hidden_size")

    def vocabulary(self) -> int:
        return need(self.card.architecture.vocab_size, "vocab_size")

    def dtype(self) -> str:
        """The dtype the engine computes and stores plain weights in: the config's; float32 is lowered to bfloat16.

        From vLLM 0.32 `_resolve_auto_dtype`; a config that states none counts as float32 there (`dtype_note` says so).
        """
        if self.given:
            return self.given
        stated = self.card.architecture.dtype
        if stated is None and self.card.weights.known == "headers":
            floats = [d for d in self.card.weights.dtypes if d.dtype in ("BF16", "F16", "F32")]
            stated = floats[0].dtype if floats else None
        return "BF16" if stated in (None, "F32") else stated

    def dtype_note(self) -> str:
        """What is to be said about `dtype`; "" where config.json states it and it is kept."""
        stated = self.card.architecture.dtype
        if self.given:
            return f"--dtype {self.given} in place of config.json's {stated}" if stated != self.given else ""
        if stated is None:
            return f"config.json states no dtype: the engine then takes {self.dtype()}"
        return "" if stated == self.dtype() else f"config.json states {stated}; the engine lowers it to {self.dtype()}"

    def quantized(self) -> bool:
        """Whether the engine would apply the checkpoint's quantisation: it goes by `quant_method` (vLLM 0.32)."""
        return self.card.quantization is not None and not self.ignored_quantization()

    def ignored_quantization(self) -> bool:
        """A `quantization_config` without `quant_method`: the engine builds the plain model and says nothing."""
        for place in (self.config, self.text()):
            for key in ("quantization_config", "compression_config"):
                section = place.get(key)
                if isinstance(section, dict) and section:
                    return not section.get("quant_method")
        return False

    def dtype_bytes(self) -> int:
        return DTYPE_BYTES.get(self.dtype(), 2)


def _section(config: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    inner = next((config[k] for k in names if isinstance(config.get(k), dict)), None)
    return config if inner is None else _section(inner, names)


def need(value: int | None, field: str, why: str = "is missing from config.json") -> int:
    """The value; raises `Lacking` where it is None or 0."""
    if not value:
        raise Lacking(field, why)
    return value


def read_model(folder: Path) -> Model:
    """Read the checkpoint's small files and headers. Raises UsageError for a path that is no readable folder."""
    card = read_checkpoint(folder).card
    return Model(card=card, config=documents.read(Folder(folder), "config.json").data or {})
