"""config.json translated at the border: typed reads that note where each fact came from and which keys were used.

In: the decoded document. Out: `View`s, one per section; `Sections` says which section is the language model, a vision
or audio tower, a projector. A value of the wrong type or range is a finding and reads as absent, never as a guess.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from seatrial.checkpoint.codes import BAD_VALUE, UNKNOWN_NESTING, note, shown
from seatrial.core.finding import Finding

# Sizes beyond these are no model; they bound what per-layer tables can cost.
MOST = 2**48
MOST_LAYERS = 10_000
MOST_EXPERTS = 100_000

# Where composite models keep their language model: transformers' get_text_config names, and those of remote code.
TEXT_SECTIONS = (
    "text_config",
    "llm_config",
    "language_config",
    "thinker_config",
    "language_model_config",
    "lm_config",
    "decoder",
    "generator",
)
VISION_SECTIONS = (
    "vision_config",
    "vision_tower_config",
    "vit_config",
    "visual",
    "vision_encoder",
    "vision_model_config",
    "image_config",
)
AUDIO_SECTIONS = (
    "audio_config",
    "audio_tower_config",
    "audio_encoder_config",
    "sound_config",
    "speech_config",
    "audio_encoder",
)
PROJECTOR_SECTIONS = (
    "projector_config",
    "perceiver_config",
    "qformer_config",
    "aligner_config",
    "adapter_config",
    "mm_projector_config",
)
# Sections that describe no part of the language model and are known.
OTHER_SECTIONS = (
    "quantization_config",
    "compression_config",
    "rope_scaling",
    "rope_parameters",
    "auto_map",
    "talker_config",
    "token2wav_config",
    "code2wav_config",
    "mtp_config",
    "generation_config",
    "id2label",
    "label2id",
    "task_specific_params",
    "linear_attn_config",
    "pruned_heads",
    "encoder",
    "text_encoder",
)
MODEL_KEYS = {"hidden_size", "num_hidden_layers", "num_attention_heads", "model_type", "d_model", "n_layer", "depth"}


class Ledger:
    """What reading a document leaves behind: each fact's source, the keys used, the findings."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.sources: dict[str, str] = {}
        self.used: set[str] = set()
        self.findings: list[Finding] = []

    def derived(self, fact: str, how: str) -> None:
        self.sources[fact] = how


class View:
    """One section of a document. `path` is "" at the top, else "text_config." and so on."""

    def __init__(self, data: Mapping[str, Any], ledger: Ledger, path: str = "") -> None:
        self.data = data
        self.ledger = ledger
        self.path = path

    def _find(self, fact: str, keys: tuple[str, ...]) -> tuple[str, Any] | None:
        for key in keys:
            if key in self.data:
                self.ledger.used.add(self.path + key)
                if self.data[key] is not None:
                    self.ledger.sources.setdefault(fact, f"{self.ledger.file}: {self.path}{key}")
                    return key, self.data[key]
        return None

    def _bad(self, fact: str, key: str, value: Any, wanted: str) -> None:
        self.ledger.sources.pop(fact, None)
        place = f"{self.ledger.file}: {self.path}{key}"
        self.ledger.findings.append(note(BAD_VALUE, place, f"is {shown(value)}, not {wanted}"))

    def whole(self, fact: str, *keys: str, least: int = 0, most: int = MOST) -> int | None:
        """A whole number under the first of `keys` that is there and not null."""
        found = self._find(fact, keys)
        if found is None:
            return None
        key, value = found
        if isinstance(value, float) and math.isfinite(value) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self._bad(fact, key, value, f"a whole number from {least} to {most}")
            return None
        return value

    def whole_or_list(self, fact: str, *keys: str, most: int = MOST) -> int | tuple[int, ...] | None:
        """A whole number, or one per layer."""
        found = self._find(fact, keys)
        if found is not None and isinstance(found[1], list):
            return self.wholes(fact, found[0], most=most)
        return self.whole(fact, *keys, most=most)

    def number(self, fact: str, *keys: str) -> float | None:
        """A finite number."""
        found = self._find(fact, keys)
        if found is None:
            return None
        key, value = found
        if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > MOST or value != value:
            self._bad(fact, key, value, "a finite number")
            return None
        return float(value)

    def text(self, fact: str, *keys: str) -> str | None:
        found = self._find(fact, keys)
        if found is None:
            return None
        if not isinstance(found[1], str):
            self._bad(fact, found[0], found[1], "a string")
            return None
        return shown(found[1])

    def flag(self, fact: str, *keys: str) -> bool | None:
        found = self._find(fact, keys)
        if found is None:
            return None
        if not isinstance(found[1], (bool, int)) or found[1] not in (0, 1):
            self._bad(fact, found[0], found[1], "true or false")
            return None
        return bool(found[1])

    def wholes(self, fact: str, *keys: str, most: int = MOST) -> tuple[int, ...] | None:
        """A list of whole numbers (a single one counts as a list of one)."""
        found = self._find(fact, keys)
        if found is None:
            return None
        values = found[1] if isinstance(found[1], list) else [found[1]]
        if len(values) > MOST_LAYERS or any(
            isinstance(v, bool) or not isinstance(v, int) or abs(v) > most for v in values
        ):
            self._bad(fact, found[0], found[1], "a list of whole numbers")
            return None
        return tuple(values)

    def numbers(self, fact: str, *keys: str) -> tuple[float, ...] | None:
        """A list of finite numbers."""
        found = self._find(fact, keys)
        if found is None:
            return None
        values = found[1]
        good = isinstance(values, list) and len(values) <= MOST_LAYERS
        if not good or not all(type(v) in (int, float) and abs(v) <= MOST for v in values):
            self._bad(fact, found[0], values, "a list of finite numbers")
            return None
        return tuple(float(v) for v in values)

    def texts(self, fact: str, *keys: str) -> tuple[str, ...] | None:
        """A list of strings."""
        found = self._find(fact, keys)
        if found is None:
            return None
        values = found[1]
        if not isinstance(values, list) or len(values) > MOST_LAYERS or not all(isinstance(v, str) for v in values):
            self._bad(fact, found[0], values, "a list of strings")
            return None
        return tuple(shown(v) for v in values)

    def sections(self, *keys: str) -> Iterator[View]:
        """Those of `keys` that hold an object, as views."""
        for key in keys:
            if isinstance(self.data.get(key), dict):
                self.ledger.used.add(self.path + key)
                yield View(self.data[key], self.ledger, f"{self.path}{key}.")

    def section(self, *keys: str) -> View | None:
        return next(self.sections(*keys), None)

    def rows(self, fact: str, key: str) -> tuple[View, ...] | None:
        """A list of objects, as views."""
        found = self._find(fact, (key,))
        if found is None:
            return None
        values = found[1]
        if not isinstance(values, list) or len(values) > MOST_LAYERS or not all(isinstance(v, dict) for v in values):
            self._bad(fact, key, values, "a list of objects")
            return None
        return tuple(View(v, self.ledger, f"{self.path}{key}[{i}].") for i, v in enumerate(values))


class Sections:
    """The sections of a config by role. `text` is the language model's; the top itself for a pure one.

    `chain` leads from the top to `text`, through what lies between (Qwen-Omni's thinker).
    """

    def __init__(self, top: View) -> None:
        self.top = top
        self.chain: list[View] = []
        self.vision: View | None = None
        self.audio: View | None = None
        self.projector: View | None = None
        self.text = self._descend(top, 0)

    def _descend(self, view: View, depth: int) -> View:
        self.chain.append(view)
        self.vision = self.vision or view.section(*VISION_SECTIONS)
        self.audio = self.audio or view.section(*AUDIO_SECTIONS)
        self.projector = self.projector or view.section(*PROJECTOR_SECTIONS)
        self._strangers(view)
        # `decoder` and `generator` are sections only where they look like a model (they are flags elsewhere).
        inner = next((s for s in view.sections(*TEXT_SECTIONS) if MODEL_KEYS & s.data.keys()), None)
        if inner is None or depth > 3:
            return view
        return self._descend(inner, depth + 1)

    def _strangers(self, view: View) -> None:
        known = {*TEXT_SECTIONS, *VISION_SECTIONS, *AUDIO_SECTIONS, *PROJECTOR_SECTIONS, *OTHER_SECTIONS}
        for key, value in view.data.items():
            if key not in known and isinstance(value, dict) and len(MODEL_KEYS & value.keys()) > 1:
                view.ledger.used.add(view.path + key)
                place = f"{view.ledger.file}: {view.path}{shown(key)}"
                text = "looks like the config of a part of the model whose role is not known; it was not read"
                view.ledger.findings.append(note(UNKNOWN_NESTING, place, text))
