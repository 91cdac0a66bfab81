"""The nearest supported relatives of an architecture: by what the engine's own model files read and name.

In: a checkpoint's config fields and tensor names, the engine's sources, its registry. Out: `Relative`s with their
scores. Nothing is imported. A model file is described by the config fields it reads (`config.x`, `getattr(config,
"x")`) and by the words it uses for modules and weights (`self.x`, string constants); those of the model files it
imports from count as its own, since a model is often a few changes to another. A word or field that few files have
weighs more (inverse document frequency, ln(N/n)). The family name is the third part: alone it says little.
"""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from seatrial.core.record import Record
from seatrial.support.case import family
from seatrial.support.modules import Package
from seatrial.support.source import Trees

FIELDS, WORDS, NAME = 0.4, 0.4, 0.2
MOST = 5
# The model's own config, not the engine's (vllm_config, cache_config, quant_config).
_CONFIG = rb"(?<![a-z_])(?:hf_|text_|hf_text_|vision_|audio_)?config"
_READ = re.compile(_CONFIG + rb"\.([a-z_][a-z0-9_]{2,60})\b(?!\()")
_OPTIONAL = re.compile(rb"(?:get|has)attr\(\s*(?:self\.)?" + _CONFIG + rb",\s*[\"']([a-z_][a-z0-9_]{2,60})[\"']")
_WORD = re.compile(rb"self\.([a-z_][a-z0-9_]{1,60})\b|[\"'.]([a-z_][a-z0-9_]{1,60})(?=[\"'.])")
_IMPORT = re.compile(rb"^from (\.+|vllm\.(?:model_executor\.)?models\.)([a-z0-9_.]+) import", re.MULTILINE)
_SHARED = {"utils", "interfaces", "interfaces_base", "registry", "vision", "adapters", "config"}
# Draft models are no base to write a model from.
_DRAFT = re.compile(r"MTP|Eagle|Draft|Medusa|Speculator|DSpark|DFlash")
# Fields that every checkpoint has and that say nothing of the kind of model.
_PLAIN = {"architectures", "model_type", "transformers_version", "torch_dtype", "dtype", "auto_map", "use_cache"}


class Relative(Record):
    """A supported architecture near this one. `score` is 0 to 1; the parts are what it is made of, None: no basis."""

    architecture: str
    score: float
    because: str
    fields: float | None = None
    words: float | None = None
    name: float | None = None


class _File(Record):
    """`needs`: fields read without a default in the file itself; `fields` and `words` include what it imports."""

    needs: frozenset[str]
    fields: frozenset[str]
    words: frozenset[str]


class ModelFiles:
    """What the engine's model files read and name, by dotted module name."""

    def __init__(self, trees: Trees) -> None:
        texts = {n: text for n, text in Package("vllm", trees).texts() if ".models." in n and ".test" not in n}
        own = {name: _describe(text) for name, text in texts.items()}
        self._files: dict[str, _File] = {}
        for name, text in texts.items():
            near = [own[name], *(own[other] for other in _imported(name, text) if other in own)]
            # A package whose `__init__` only re-exports is what its modules are.
            near += [file for other, file in own.items() if other.startswith(f"{name}.")]
            self._files[name] = _File(
                needs=own[name].needs,
                fields=frozenset().union(*(f.fields for f in near)),
                words=frozenset().union(*(f.words for f in near)),
            )
        self._field_weight = _weights([f.fields for f in self._files.values()])
        self._word_weight = _weights([f.words for f in self._files.values()])

    def __len__(self) -> int:
        return len(self._files)

    def nearest(
        self,
        architectures: Iterable[str],
        config_fields: Iterable[str],
        tensor_names: Iterable[str],
        supported: Mapping[str, str],
    ) -> tuple[Relative, ...]:
        """The five nearest of `supported` (architecture to `module:Class`), one for each model file."""
        fields = {f for f in config_fields if f in self._field_weight and f not in _PLAIN}
        words = {w for name in tensor_names for w in _words_of(name) if w in self._word_weight}
        families = [family(a) for a in architectures]
        best: dict[str, Relative] = {}
        for other, path in supported.items():
            module = path.partition(":")[0]
            file = self._files.get(module)
            if file is None or _DRAFT.search(other):
                continue
            relative = self._score(other, file, fields, words, families)
            if module not in best or relative.score > best[module].score:
                best[module] = relative
        return tuple(sorted(best.values(), key=lambda r: (-r.score, r.architecture))[:MOST])

    def _score(self, other: str, file: _File, fields: set[str], words: set[str], families: list[str]) -> Relative:
        by_field = _fitting(fields, file, self._field_weight) if fields else None
        by_word = _covered(words, file.words, self._word_weight) if words else None
        name = max((difflib.SequenceMatcher(None, f, family(other)).ratio() for f in families), default=None)
        parts = [(FIELDS, by_field), (WORDS, by_word), (NAME, name)]
        known = [(weight, part) for weight, part in parts if part is not None]
        score = sum(w * p for w, p in known) / sum(w for w, _ in known) if known else 0.0
        because = []
        if name is not None:
            because.append(f"family {family(other)!r} against {', '.join(map(repr, families))} ({name:.2f})")
        if by_field is not None:
            shared = sorted(fields & file.fields, key=lambda f: (-self._field_weight[f], f))[:4]
            because.append(f"config fields {by_field:.2f}, rarest shared: {', '.join(shared) or 'none'}")
        if by_word is not None:
            lost = sorted(words - file.words, key=lambda w: (-self._word_weight[w], w))[:3]
            because.append(f"weight names {by_word:.2f}, it does not know: {', '.join(lost) or 'nothing missing'}")
        return Relative(
            architecture=other,
            score=round(score, 3),
            because="; ".join(because),
            fields=None if by_field is None else round(by_field, 3),
            words=None if by_word is None else round(by_word, 3),
            name=None if name is None else round(name, 3),
        )


def by_name(architectures: Iterable[str], supported: Iterable[str]) -> tuple[Relative, ...]:
    """The five supported architectures whose family name is likest, at least half alike; nothing else is looked at."""
    found: dict[str, Relative] = {}
    for mine in architectures:
        for other in supported:
            score = difflib.SequenceMatcher(None, family(mine), family(other)).ratio()
            if score >= 0.5 and score > (found[other].score if other in found else 0):
                because = f"family {family(other)!r} against {family(mine)!r}; by name alone"
                found[other] = Relative(
                    architecture=other, score=round(score, 3), because=because, name=round(score, 3)
                )
    return tuple(sorted(found.values(), key=lambda r: (-r.score, r.architecture))[:MOST])


def fields_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of all fields of a config, those of its sections too. A field set to null counts as absent."""
    found: dict[str, None] = {}
    waiting: list[Mapping[str, Any]] = [config]
    while waiting:
        section = waiting.pop()
        for key, value in section.items():
            if value is None:
                continue
            found[str(key)] = None
            if isinstance(value, dict):
                waiting.append(value)
    return tuple(found)


def _describe(text: bytes) -> _File:
    needs = {m.decode() for m in _READ.findall(text)}
    optional = {m.decode() for m in _OPTIONAL.findall(text)}
    words = {(a or b).decode() for a, b in _WORD.findall(text)}
    return _File(needs=frozenset(needs - optional - _PLAIN), fields=frozenset(needs | optional), words=frozenset(words))


def _imported(name: str, text: bytes) -> list[str]:
    """The model files that a model file imports from, by dotted name."""
    found = []
    for start, rest in _IMPORT.findall(text):
        module = rest.decode()
        if module.split(".")[-1] in _SHARED:
            continue
        if start.startswith(b"."):
            parts = name.split(".")[: -len(start)]
            found.append(".".join([*parts, module]))
        else:
            found.append(start.decode() + module)
    return found


def _words_of(tensor: str) -> list[str]:
    return [part for part in tensor.split(".") if not part.isdigit() and part not in ("*", "weight", "bias")]


def _weights(files: list[frozenset[str]]) -> dict[str, float]:
    counts = Counter(word for file in files for word in file)
    return {word: math.log(len(files) / n) + 0.05 for word, n in counts.items()}


def _covered(mine: set[str], other: frozenset[str], weights: Mapping[str, float]) -> float:
    """The share, by weight, of my words that the other has: a file may well name more than one checkpoint uses."""
    return sum(weights[w] for w in mine & other) / sum(weights[w] for w in mine)


def _fitting(mine: set[str], file: _File, weights: Mapping[str, float]) -> float:
    """Harmonic mean of two shares by weight: of my fields, those it reads; of the fields it needs, those I have.

    A field that it reads with a default counts for it and never against it.
    """
    read = _covered(mine, file.fields, weights)
    needs = sum(weights[f] for f in file.needs)
    have = sum(weights[f] for f in file.needs & mine) / needs if needs else 0.0
    return 2 * read * have / (read + have) if read + have else 0.0
