"""Reads a checkpoint whole: the order of the parts, and nothing else.

In: a folder. Out: `Checkpoint`. Refuses (UsageError): a path that is no readable folder. All else is a finding.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seatrial.checkpoint import documents
from seatrial.checkpoint.architecture import Architecture, read_architecture, read_remote_code
from seatrial.checkpoint.attention import read_attention
from seatrial.checkpoint.card import Card, Checkpoint, DtypeShare, Weights
from seatrial.checkpoint.codes import NO_CONFIG, UNEXPLAINED, note
from seatrial.checkpoint.components import Part, component, leaves, shares
from seatrial.checkpoint.config import Ledger, Sections, View
from seatrial.checkpoint.context import read_context
from seatrial.checkpoint.fields import unexplained
from seatrial.checkpoint.files import Folder
from seatrial.checkpoint.moe import FeedForward, read_feed_forward
from seatrial.checkpoint.names import Group, group, group_names, late_layers
from seatrial.checkpoint.params import Parameters, count, nothing
from seatrial.checkpoint.quant import Quantization, read_quantization
from seatrial.checkpoint.weights import WeightFiles, read_weights
from seatrial.core.finding import Finding, Severity


@contextmanager
def _without_collector() -> Iterator[None]:
    """Hundreds of thousands of small objects, none of them in a cycle: the collector's passes cost a third more."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def read_checkpoint(folder: Path) -> Checkpoint:
    """Everything the folder says, from its small files and the shards' headers."""
    with _without_collector():
        return _read(folder)


def _read(path: Path) -> Checkpoint:
    folder = Folder(path)
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
    files = read_weights(folder)
    groups = _groups(files, frame.layers)
    parameters = _parameters(files, groups, ffn, quantization, frame, text)
    left = unexplained(config, ledger)
    if left:
        shown = ", ".join(left[:6]) + (f" and {len(left) - 6} more" if len(left) > 6 else "")
        ledger.findings.append(note(UNEXPLAINED, "config.json", f"holds fields that seatrial does not know: {shown}"))
    card = Card(
        folder=str(folder.root),
        architecture=frame,
        attention=attention,
        feed_forward=ffn,
        quantization=quantization,
        context=context,
        parameters=parameters,
        weights=_weights(files, groups),
        sources=ledger.sources,
        unexplained=left,
        findings=_ordered([*ledger.findings, *files.findings]),
    )
    return Checkpoint(card=card, tensors=files.tensors)


def _frame(parts: Sections, folder: Folder, *, known: bool) -> Architecture:
    before = len(parts.top.ledger.findings)
    frame = read_architecture(parts, read_remote_code(parts, folder))
    if not known:
        # One finding says that there is no config; that its fields are missing too is no news.
        del parts.top.ledger.findings[before:]
    return frame


def _groups(files: WeightFiles, layers: int | None) -> list[tuple[Part, Group]]:
    late = late_layers(layers)
    found = group(files.tensors, late) if files.known == "headers" else group_names(files.index_names, late)
    return [(component(g.pattern), g) for g in found]


def _parameters(
    files: WeightFiles,
    groups: list[tuple[Part, Group]],
    ffn: FeedForward,
    quantization: Quantization | None,
    frame: Architecture,
    text: View,
) -> Parameters:
    if files.known == "headers":
        expert_dtype = text.text("quantization.expert_dtype", "expert_dtype")
        return count(groups, ffn, quantization, frame.tied_embeddings, expert_dtype)
    return nothing("there are no shards")


def _weights(files: WeightFiles, groups: list[tuple[Part, Group]]) -> Weights:
    tensors: Counter[str] = Counter()
    elements: Counter[str] = Counter()
    nbytes: Counter[str] = Counter()
    from math import prod

    for _, g in groups:
        for (dtype, shape), n in g.kinds.items():
            tensors[dtype] += n
            elements[dtype] += prod(shape) * n
    for tensor in files.tensors:
        nbytes[tensor.dtype] += tensor.nbytes
    rows = [DtypeShare(dtype=d, tensors=tensors[d], elements=elements[d], nbytes=nbytes[d]) for d in tensors]
    notes = {"headers": "", "names": "only the index is there: no shapes, no dtypes", "none": "no weight file is there"}
    return Weights(
        known=files.known,
        note=notes[files.known],
        index=files.index,
        index_total_size=files.index_total_size,
        shards=files.shards,
        tensors=len(files.tensors) or len(files.index_names),
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
