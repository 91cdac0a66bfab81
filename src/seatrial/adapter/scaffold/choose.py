"""Which way a model file is written: from the decoder template, or as a subclass of the nearest relative; and why.

In: the checkpoint's card, the facts of the decoder, the relatives. Out: a `Plan`. The template writes what it knows to
be right: a text decoder of full or windowed attention over heads, dense or with experts. Latent attention, recurrent
layers, other modalities and drafts are written as a subclass of a relative, whose kernels and processors are proven.
"""

from __future__ import annotations

import re
from typing import Literal

from seatrial.adapter.scaffold.facts import DecoderFacts
from seatrial.checkpoint import Card
from seatrial.core.errors import UsageError
from seatrial.core.record import Record
from seatrial.support.relatives import Relative


class Plan(Record):
    """`relative` is the base of an overlay, None for the template."""

    kind: Literal["template", "overlay"]
    because: str
    relative: Relative | None = None


def choose(card: Card, facts: DecoderFacts, relatives: tuple[Relative, ...], base: str) -> Plan:
    """`base`: "" (by these rules), "template", or the architecture to subclass.

    Raises UsageError where no relative is near and the template does not fit.
    """
    named = next((r for r in relatives if r.architecture == base), None)
    if base and base != "template":
        chosen = named or Relative(architecture=base, score=0.0, because="named by --base")
        return Plan(kind="overlay", because=f"--base {base}", relative=chosen)
    beyond = beyond_template(card)
    if base == "template":
        return Plan(kind="template", because="--base template")
    near = min(relatives, key=lambda r: not _alike(card, r.architecture), default=None)
    if beyond:
        if near is None:
            raise UsageError(
                f"the checkpoint has {beyond}, which the template does not write, and no relative was found",
                mend="Name an architecture to start from by --base.",
            )
        return Plan(kind="overlay", because=f"it has {beyond}, which the template does not write", relative=near)
    questions = (*facts.open, *facts.inline)
    if questions and near is not None and near.words == 1.0 and (near.fields or 0.0) >= 0.9:
        because = f"the template leaves {len(questions)} questions open, and {near.architecture} knows every weight"
        return Plan(kind="overlay", because=because, relative=near)
    return Plan(kind="template", because="a decoder of attention over heads, as its weights say")


def _alike(card: Card, architecture: str) -> bool:
    """Whether a relative is of the checkpoint's sort, as far as vLLM's names say: other modalities, and experts.

    Two relatives may know the same words, since one is written with the other; the wrong sort cannot be built.
    """
    sees = card.multimodal is not None
    said = "ForConditionalGeneration" in architecture
    if said != sees and (said or architecture.endswith("ForCausalLM")):
        return False
    return card.feed_forward.moe is not None or not re.search(r"Mo[eE]", architecture)


def beyond_template(card: Card) -> str:
    """What of this checkpoint the template cannot write; "" for nothing."""
    if card.multimodal is not None:
        return "another modality"
    kinds = sorted({m.kind for m in card.attention.mixers})
    other = [kind for kind in kinds if kind not in ("MHA", "GQA", "MQA")]
    if other:
        return f"attention of kind {', '.join(other)}"
    if any(m.index_topk or m.compress_ratio or m.chunk for m in card.attention.mixers):
        return "sparse or chunked attention"
    return ""
