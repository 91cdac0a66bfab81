"""The parts of a model's card that not every model has: MTP, towers, tokenizer, and which TP sizes divide it."""

from __future__ import annotations

from seatrial.report.blocks import Block, Cell, Column, Fold, Pairs, Table, Tone
from seatrial.report.facts import Facts
from seatrial.report.generic import cell
from seatrial.report.sections.common import NO_FILE_SAYS, pair
from seatrial.report.words import label

# Words of a feature's status, and how they are coloured.
STATUS: dict[str, Tone] = {
    "supported": "pass",
    "unsupported": "fail",
    "checkpoint-missing": "inconclusive",
    "not-applicable": "not-applicable",
    "inconclusive": "inconclusive",
}


def mtp(facts: Facts) -> list[Block]:
    """Layers of multi-token prediction: declared, and present."""
    if not (part := facts.child("mtp")):
        return []
    status = part.text("status")
    rows = [
        pair("status", Cell(text=status, note=part.text("field"), tone=STATUS.get(status, ""))),
        pair("layers declared", part.take("declared")),
        pair("layers found", part.take("found"), "no tensor names are known"),
        pair("tensors", part.take("tensors"), "no tensor names are known"),
    ]
    if kinds := part.items("kinds"):
        rows.append(pair("kinds", kinds))
    return [Pairs(title="Multi-token prediction (MTP)", rows=tuple(rows))]


def multimodal(facts: Facts) -> list[Block]:
    """Towers, special tokens, and what a request must bring."""
    if "multimodal" not in facts:
        return []
    part = facts.child("multimodal")
    if not part:
        none = pair("parts", "none: config.json has no section of an image or audio tower")
        return [Pairs(title="Multimodal", rows=(none,))]
    rows = [pair(label(k), part.take(k)) for k in part if not isinstance(part.peek(k), (dict, list))]
    rows += [pair(label(k), part.take(k)) for k in ("modalities", "needs", "processor_files") if k in part]
    found: list[Block] = [Pairs(title="Multimodal", rows=tuple(rows))]
    for tower in part.objects("towers"):
        one = Facts(tower)
        name = f"{one.text('kind') or 'unnamed'} tower"
        found.append(
            Pairs(title=name.capitalize(), rows=tuple(pair(label(k), one.take(k)) for k in one if k != "kind"))
        )
    for key, title in (("tokens", "Special tokens by field"), ("tensors", "Tensors of the towers and the projector")):
        if inner := part.child(key):
            found.append(Pairs(title=title, rows=tuple(pair(label(k), _plain_number(inner.take(k))) for k in inner)))
    return found


def tokenizer(facts: Facts) -> list[Block]:
    """Vocabulary, special ids, chat template, and the default sampling parameters."""
    if not (part := facts.child("tokenizer")):
        return []
    why = part.text("note") or NO_FILE_SAYS
    rows = []
    for key in part:
        if key in ("note", "defaults"):
            continue
        value = part.take(key)
        is_id = key in ("eos", "bos", "pad")
        rows.append(pair(label(key), _plain_number(value) if is_id and value is not None else value, why))
    defaults = part.child("defaults")
    rows += [pair(f"default {label(k)}", defaults.take(k)) for k in defaults]
    return [Pairs(title="Tokenizer and generation", rows=tuple(rows))]


def tensor_parallel(facts: Facts) -> list[Block]:
    """Which tensor-parallel sizes divide the model's dimensions."""
    checks = facts.objects("tensor_parallel")
    if not checks:
        return []
    rows = []
    for check in checks[:64]:
        one = Facts(check)
        fits = one.flag("fits")
        tone: Tone = "unknown" if fits is None else "pass" if fits else "fail"
        answer = Cell(text="unknown" if fits is None else "fits" if fits else "does not fit", tone=tone)
        problems, experts = one.texts("problems"), one.peek("expert_parallel")
        one.texts("expert_parallel")
        cells = [
            cell(one.take("size")),
            answer,
            Cell(text=one.text("kv") or "–"),
            Cell(text="; ".join(problems) or "none"),
            Cell(text="no experts") if experts is None else cell(experts),
            Cell(text="; ".join(f"{label(k)}: {v}" for k, v in one.rest().items()) or "–"),
        ]
        rows.append(tuple(cells))
    titles = ["TP size", "answer", "KV heads", "problems", "problems with expert parallel", "more"]
    if all(row[-1].text == "–" for row in rows):
        titles, rows = titles[:-1], [row[:-1] for row in rows]
    table = Table(columns=tuple(Column(title=t, is_number=t == "TP size") for t in titles), rows=tuple(rows))
    return [Fold(title="Tensor-parallel sizes that divide its dimensions", blocks=(table,))]


def _plain_number(value: object) -> Cell:
    """An id: no thousands separators."""
    if isinstance(value, list):
        return Cell(text=", ".join(str(v) for v in value) or "none")
    if isinstance(value, dict):
        return Cell(text=str(value))
    return cell(str(value)) if isinstance(value, int) and not isinstance(value, bool) else cell(value)
