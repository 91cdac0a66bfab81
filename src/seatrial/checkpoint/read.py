"""Reads a checkpoint whole: the order of the parts, and nothing else.

In: a folder. Out: `Checkpoint`. Refuses (UsageError): a path that is no readable folder. All else is a finding.
"""

from __future__ import annotations

import os
from collections import Counter
from math import prod
from pathlib import Path
from typing import Any

from seatrial.checkpoint import checks, documents
from seatrial.checkpoint.architecture import Architecture, read_architecture, read_remote_code
from seatrial.checkpoint.attention import read_attention
from seatrial.checkpoint.card import Card, Checkpoint, DtypeShare, Weights
from seatrial.checkpoint.checks import Facts
from seatrial.checkpoint.codes import NO_CONFIG, UNEXPLAINED, note
from seatrial.checkpoint.components import Part, component, leaves, shares
from seatrial.checkpoint.config import Ledger, Sections, View
from seatrial.checkpoint.context import read_context
from seatrial.checkpoint.dtypes import BITS
from seatrial.checkpoint.estimate import estimate
from seatrial.checkpoint.fields import unexplained
from seatrial.checkpoint.files import Folder
from seatrial.checkpoint.index import read_index
from seatrial.checkpoint.model_codes import NO_SCHEME
from seatrial.checkpoint.moe import read_feed_forward
from seatrial.checkpoint.mtp import read_mtp
from seatrial.checkpoint.multimodal import read_multimodal
from seatrial.checkpoint.names import ASTERISK, OTHERS, Group, group, group_names, late_layers
from seatrial.checkpoint.parallel import check_sizes
from seatrial.checkpoint.params import count
from seatrial.checkpoint.quant import read_quantization
from seatrial.checkpoint.tokenizer import read_tokenizer
from seatrial.checkpoint.weights import WeightFiles, read_weights
from seatrial.core.collector import without_collector
from seatrial.core.finding import Finding, Severity


def read_checkpoint(folder: Path) -> Checkpoint:
    """Everything the folder says, from its small files and the shards' headers."""
    with without_collector():
        place = Folder(folder)
        files = read_weights(place)
        return Checkpoint(card=_card(place, files), tensors=files.tensors())


def read_card(folder: Path) -> Card:
    """The card alone, without the list of tensors."""
    with without_collector():
        place = Folder(folder)
        return _card(place, read_weights(place))


def _card(folder: Folder, files: WeightFiles) -> Card:
    document = documents.read(folder, "config.json")
    ledger = Ledger("config.json")
    ledger.findings += document.findings
    if not document.present:
        ledger.findings.append(note(NO_CONFIG, "config.json", "is not in the folder"))
    config: dict[str, Any] = document.data or {}
    parts = Sections(View(config, ledger))
    frame = _frame(parts, folder, known=document.data is not None)
    text = parts.text
    attention = read_attention(parts, frame.layers, frame.hidden_size)
    ffn = read_feed_forward(text, frame.layers, frame.intermediate_size, frame.activation)
    quantization = read_quantization(parts, folder)
    context = read_context(text, attention.rope)
    groups = _groups(files, frame.layers)
    if any(g.pattern in (OTHERS, ASTERISK) for _, g in groups):
        why = "the tensors' names follow no scheme: more than 20000 patterns, or names with an asterisk"
        ledger.findings.append(note(NO_SCHEME, "*.safetensors", why))
    mtp = read_mtp(parts, groups, files.known if files.whole else "none")
    media = read_multimodal(parts, folder, groups, files.known if files.whole else "none", frame.vocab_size)
    words = read_tokenizer(folder, parts.chain, frame.vocab_size, whole=files.known == "headers")
    expert_dtype = text.text("quantization.expert_dtype", "expert_dtype")
    if files.known == "headers":
        parameters = count(groups, ffn, quantization, expert_dtype, whole=files.whole)
    else:
        parameters = estimate(frame, attention, ffn, media, mtp.declared, text)
    ledger.findings += checks.run(
        Facts(
            known=files.known,
            whole=files.whole,
            frame=frame,
            attention=attention,
            ffn=ffn,
            quantization=quantization,
            groups=groups,
        )
    )
    left = unexplained(config, ledger)
    if left:
        shown = ", ".join(left[:6]) + (f" and {len(left) - 6} more" if len(left) > 6 else "")
        ledger.findings.append(note(UNEXPLAINED, "config.json", f"holds fields that seatrial does not know: {shown}"))
    return Card(
        folder=os.fsencode(folder.root).decode("utf-8", "replace"),
        architecture=frame,
        attention=attention,
        feed_forward=ffn,
        quantization=quantization,
        mtp=mtp,
        multimodal=media,
        tokenizer=words,
        context=context,
        parameters=parameters,
        tensor_parallel=check_sizes(frame, attention, ffn, quantization),
        weights=_weights(files, groups),
        sources=ledger.sources,
        unexplained=left,
        findings=_ordered([*folder.findings, *files.findings, *ledger.findings]),
    )


def _frame(parts: Sections, folder: Folder, *, known: bool) -> Architecture:
    before = len(parts.top.ledger.findings)
    frame = read_architecture(parts, read_remote_code(parts, folder))
    if not known:
        # One finding says that there is no config; that its fields are missing too is no news.
        del parts.top.ledger.findings[before:]
    return frame


def _groups(files: WeightFiles, layers: int | None) -> list[tuple[Part, Group]]:
    late = late_layers(layers)
    found = group(files.entries(), late) if files.known == "headers" else group_names(files.index_names, late)
    return [(component(g.pattern), g) for g in found]


def _weights(files: WeightFiles, groups: list[tuple[Part, Group]]) -> Weights:
    tensors: Counter[str] = Counter()
    elements: Counter[str] = Counter()
    nbytes: Counter[str] = Counter()
    for _, g in groups:
        for (dtype, shape), n in g.kinds.items():
            tensors[dtype] += n
            elements[dtype] += prod(shape) * n
            nbytes[dtype] += prod(shape) * BITS.get(dtype, 0) // 8 * n
    rows = [DtypeShare(dtype=d, tensors=tensors[d], elements=elements[d], nbytes=nbytes[d]) for d in tensors]
    notes = {"headers": "", "names": "only the index is there: no shapes, no dtypes", "none": "no weight file is there"}
    return Weights(
        known=files.known,
        note=notes[files.known],
        index=files.index,
        index_total_size=files.index_total_size,
        shards=files.shards,
        tensors=files.count or len(files.index_names),
        nbytes=sum(nbytes.values()) if files.known == "headers" else None,
        dtypes=tuple(sorted(rows, key=lambda row: (-row.nbytes, row.dtype))),
        components=shares(groups),
        tree=leaves(groups),
        other_formats=files.other_formats,
    )


def _ordered(findings: list[Finding]) -> tuple[Finding, ...]:
    """Errors first, each once, else in the order they were found."""
    rank = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}
    return tuple(sorted(dict.fromkeys(findings), key=lambda f: rank[f.severity]))


def index_names(folder: Path, card: Card) -> list[str]:
    """The tensor names of a checkpoint of which only the index is known (`card.weights.known` is "names")."""
    return list(read_index(Folder(folder), card.weights.index).weight_map)
