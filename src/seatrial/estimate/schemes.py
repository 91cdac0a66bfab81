"""Which quantisation the engine gives each weight, and how many bytes that takes with its scales.

In: the checkpoint's `Quantization`. Out: `Schemes`, asked per matrix. Matching of excluded modules follows the engine:
names, prefixes and globs; a foreign regular expression is not run (a note says so). Formats are those of vLLM 0.32's
quantisation methods as created, before any kernel repacks them.
"""

from __future__ import annotations

import re
from typing import Literal

from seatrial.core.record import Record
from seatrial.estimate.matrices import Matrix
from seatrial.estimate.model import Lacking, Model, NotModelled

Format = Literal["plain", "fp8-block", "fp8-tensor", "nvfp4", "mxfp4", "int-group"]
# The engine's fused modules are skipped when the checkpoint's own ones are.
FUSED = {
    "self_attn.qkv_proj": ("self_attn.q_proj",),
    "self_attn.fused_qkv_a_proj": ("self_attn.q_a_proj",),
    "mlp.gate_up_proj": ("mlp.gate_proj", "mlp.gate_up_proj"),
    "linear_attn.in_proj_qkvz": ("linear_attn.in_proj_qkvz", "linear_attn.in_proj_qkv", "linear_attn.in_proj_z"),
    "linear_attn.in_proj_ba": ("linear_attn.in_proj_ba", "linear_attn.in_proj_b", "linear_attn.in_proj_a"),
}
HARMLESS = re.compile(r"\^?(?:[A-Za-z0-9_./-]|\\[.d]|\\d\+|\.\*|\((?:[A-Za-z0-9_-]+\|)*[A-Za-z0-9_-]+\))*\$?")
EXPERT = re.compile(r"\.w(13|2)$")


class Scheme(Record):
    """One format; `block` rows x columns per scale, `group` columns per scale."""

    format: Format
    block: tuple[int, int] = (1, 1)
    group: int = 0
    bits: int = 16
    static: bool = False


PLAIN = Scheme(format="plain")


class Schemes:
    """Asked once per (module, layer); remembers globs as compiled patterns."""

    def __init__(self, model: Model) -> None:
        quantization = model.card.quantization if model.quantized() else None
        self.scheme = _scheme(model) if quantization else PLAIN
        self.method = quantization.method if quantization else ""
        self.notes: list[str] = []
        excluded = quantization.excluded if quantization else ()
        self._names = {e for e in excluded if "*" not in e and not e.startswith("re:")}
        self._globs = [
            re.compile("(?s:" + ".*".join(re.escape(p) for p in e.split("*")[:20]) + r")\Z")
            for e in excluded
            if "*" in e and not e.startswith("re:")
        ]
        foreign = [e for e in excluded if e.startswith("re:")]
        if foreign:
            self._foreign(foreign)
        self._prefixes = _prefixes(model)
        self._attention = "mixer." if model.kind() == "nemotron_h" else "self_attn."

    def _foreign(self, rules: list[str]) -> None:
        """`re:` rules of a harmless grammar (literals, `.*`, alternatives of literals) are used; others are named."""
        for rule in rules:
            pattern = rule.removeprefix("re:")
            if len(pattern) <= 300 and pattern.count("*") <= 6 and HARMLESS.fullmatch(pattern):
                self._globs.append(re.compile(pattern))
            else:
                self.notes.append(f"the exclusion {rule!r} was not read")

    def of(self, matrix: Matrix, layer: int) -> Scheme:
        """The scheme of a matrix in a layer."""
        if self.scheme is PLAIN or not matrix.quantizable:
            return PLAIN
        if self.method == "mxfp4" and matrix.part != "experts":
            return PLAIN
        for module in FUSED.get(matrix.module, (EXPERT.sub("", matrix.module),)):
            own = module.replace("self_attn.", self._attention)
            for prefix in self._prefixes:
                name = f"{prefix}{layer}.{own}" if matrix.layers else own
                if self._skipped(name):
                    return PLAIN
        return self.scheme

    def _skipped(self, name: str) -> bool:
        if not self._names and not self._globs:
            return False
        if name in self._names:
            return True
        # A rule covers what it names, what lies below that, and (fp8's `gate`) what ends with it.
        parts = name.split(".")
        if any(".".join(parts[:i]) in self._names for i in range(1, len(parts))):
            return True
        if any(".".join(parts[i:]) in self._names for i in range(1, len(parts))):
            return True
        return any(g.match(name) for g in self._globs)


def _prefixes(model: Model) -> tuple[str, ...]:
    """How checkpoints of this kind spell the layers."""
    if model.kind() == "nemotron_h":
        return ("backbone.layers.", "model.layers.")
    if not model.card.architecture.text_section:
        return ("model.layers.",)
    return ("model.language_model.layers.", "language_model.model.layers.", "model.layers.")


def _scheme(model: Model) -> Scheme:
    q = model.card.quantization
    if q is None:
        return PLAIN
    if q.method in ("fp8", "finegrained_fp8") or (q.method == "modelopt" and q.scheme.startswith("fp8")):
        if q.block_size:
            return Scheme(format="fp8-block", block=q.block_size, bits=8)
        return Scheme(format="fp8-tensor", bits=8, static=q.method == "modelopt" or q.activation == "static")
    if q.method == "modelopt_fp4" or (q.method == "modelopt" and q.scheme.startswith("nvfp4")):
        return Scheme(format="nvfp4", group=q.group_size or 16, bits=4)
    if q.method == "mxfp4":
        return Scheme(format="mxfp4", group=32, bits=4)
    if q.method == "compressed-tensors" and q.weight_format == "int" and q.weight_bits and q.group_size:
        return Scheme(format="int-group", group=q.group_size, bits=q.weight_bits)
    if q.weight_bits is None:
        raise Lacking(
            "quantization_config", f"the scheme {q.scheme!r} is mixed; its layers' widths are only in the headers"
        )
    raise NotModelled(f"the bytes of quantisation {q.method!r} ({q.scheme})")
