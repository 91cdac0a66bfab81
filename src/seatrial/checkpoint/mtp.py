"""Multi-token prediction: what the config declares against what the weights hold.

In: the config's sections and the tensor groups. Out: `Mtp` with the feature's status. Not decided here: whether the
engine can use it; that takes a run with a request.
"""

from __future__ import annotations

import re
from typing import Literal

from seatrial.checkpoint.codes import note
from seatrial.checkpoint.components import Part
from seatrial.checkpoint.config import Sections, View
from seatrial.checkpoint.model_codes import MTP_FEWER, MTP_MISSING, MTP_UNDECLARED
from seatrial.checkpoint.names import Group
from seatrial.core.record import Record

# The spellings, as vLLM's speculative configuration and the models' own code read them.
COUNTS = (
    "num_nextn_predict_layers",
    "mtp_num_hidden_layers",
    "num_mtp_modules",
    "num_mtp_layers",
    "mtp_num_layers",
    "n_mtp_layers",
    "num_nextn_predict",
)
NUMBER = re.compile(r"(?:mtp_layers|mtp\.layers|mtp_block|mtp|nextn)\.\*|layers\.(\d+)\.")


class Mtp(Record):
    """`status`: "supported" (declared, and its weights are there), "checkpoint-missing" (declared, no weights),
    "not-applicable" (not declared; `field` says where), "inconclusive" (declared; the weights are not known)."""

    status: Literal["supported", "checkpoint-missing", "not-applicable", "inconclusive"]
    declared: int
    found: int | None
    field: str
    tensors: int | None
    kinds: tuple[str, ...] = ()


def read_mtp(parts: Sections, groups: list[tuple[Part, Group]], known: str) -> Mtp:
    """Compare; findings go to the ledger."""
    said = _declared(parts)
    declared, field = said.layers, said.field
    kinds = _kinds(parts.text)
    ours = [g for part, g in groups if part == "mtp"]
    tensors = sum(g.count for g in ours) if known != "none" else None
    found = _layers(ours) if known != "none" else None
    ledger = parts.top.ledger
    status: Literal["supported", "checkpoint-missing", "not-applicable", "inconclusive"]
    if not declared:
        status = "not-applicable"
        if tensors:
            text = f"{tensors} tensors of MTP layers are there, but no field of config.json declares them"
            ledger.findings.append(note(MTP_UNDECLARED, ours[0].example(), text))
    elif tensors is None:
        status = "inconclusive"
    elif not tensors:
        status = "checkpoint-missing"
        ledger.findings.append(
            note(MTP_MISSING, field, f"declares {declared} MTP layers; no tensor of theirs is there")
        )
    else:
        status = "supported"
        if found is not None and found < declared:
            ledger.findings.append(note(MTP_FEWER, field, f"declares {declared} MTP layers; the weights hold {found}"))
    return Mtp(status=status, declared=declared, found=found, field=field, tensors=tensors, kinds=kinds)


class Declared(Record):
    """How many, and the field that says so (or says none)."""

    layers: int
    field: str


def _declared(parts: Sections) -> Declared:
    """How many MTP layers, and the field that says so (the one that says none, else a plain "no field")."""
    views: list[View] = [parts.text, *([parts.top] if parts.top is not parts.text else [])]
    views += [s for v in list(views) for s in v.sections("mtp_config")]
    silent = "no field declares MTP layers"
    for view in views:
        for key in COUNTS:
            number = view.whole("mtp.declared", key, most=10_000)
            if number is None:
                continue
            place = f"config.json: {view.path}{key}"
            if view.flag("mtp.used", "use_mtp") is False:
                silent = f"config.json: {view.path}use_mtp is false"
            elif number:
                per = view.whole("mtp.transformer_layers", "mtp_transformer_layers", least=1, most=10_000) or 1
                return Declared(layers=number * per, field=place)
            else:
                silent = f"{place} is 0"
    return Declared(layers=0, field=silent)


def _kinds(text: View) -> tuple[str, ...]:
    """The make-up of an MTP layer in hybrids (Nemotron-H)."""
    letters = text.text("mtp.kinds", "mtp_hybrid_override_pattern")
    text.flag("mtp.dedicated_embeddings", "mtp_use_dedicated_embeddings")
    return text.texts("mtp.kinds", "mtp_layers_block_type") or tuple(letters or "")


def _layers(groups: list[Group]) -> int:
    """Distinct MTP layers among the names; a module without numbers counts as one."""
    numbers: set[str] = set()
    for group in groups:
        match = NUMBER.search(group.pattern)
        if match and match[1] is not None:
            numbers.add(f"late {match[1]}")
        elif match:
            at = group.pattern[: match.end()].count("*") - 1
            numbers.update(row[at] for row in group.indices if at < len(row))
    return len(numbers) or (1 if groups else 0)
