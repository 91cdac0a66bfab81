"""The model's card: architecture, attention, experts, quantisation, parameters, context, weights by component."""

from __future__ import annotations

from typing import Any

from seatrial.report.blocks import Block, Cell, Column, Fold, Notice, Pair, Pairs, Table
from seatrial.report.facts import Facts
from seatrial.report.gather import Gathered, StepFacts
from seatrial.report.generic import MAX_ROWS, blocks_of, cell, is_quantity, table_of
from seatrial.report.sections import checkpoint_extras as extras
from seatrial.report.sections.common import NO_FILE_SAYS, leftover, pair
from seatrial.report.words import billions, count, label, plural, size


def blocks(step: StepFacts, run: Gathered) -> list[Block]:
    if not isinstance(step.facts, dict):
        return blocks_of(step.facts, "facts")
    facts = Facts(step.facts)
    card = _Card(facts)
    found: list[Block] = [*card.frame(), *card.attention(), *card.feed_forward(), *card.quantization()]
    found += [*extras.mtp(facts), *extras.multimodal(facts), *extras.tokenizer(facts), *card.parameters()]
    found += [*extras.tensor_parallel(facts), *card.weights(), *card.unexplained()]
    facts.take("findings")  # The step's own findings are the same, and are shown with every step.
    facts.take("schema_version")
    return [*found, *leftover(facts)]


class _Card:
    """The card under reading. `sources` says for a fact which file and field it came from."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.sources = facts.child("sources")

    def row(self, section: Facts, group: str, key: str, title: str = "", why: str = NO_FILE_SAYS) -> Pair:
        source = self.sources.text(f"{group}.{key}")
        return pair(title or label(key), section.take(key), why, source)

    def frame(self) -> list[Block]:
        frame = self.facts.child("architecture")
        if not frame:
            return []
        rows = [self.row(frame, "architecture", key) for key in frame if not isinstance(frame.peek(key), dict)]
        if frame.peek("text_section") == "":
            rows = [r for r in rows if r.label != "text section"]
        if "remote_code" in frame and frame.peek("remote_code") is None:
            rows = [r for r in rows if r.label != "remote code"]
            rows.append(pair("remote code", "none: config.json names no code of its own"))
        context = self.facts.take("context")
        if "context" in self.facts:
            note = self.sources.text("context")
            rows.append(pair("context", context, NO_FILE_SAYS, note))
        rows.insert(0, pair("folder", self.facts.text("folder") or None, "not recorded"))
        return [Pairs(title="Frame", rows=tuple(rows))]

    def attention(self) -> list[Block]:
        attention = self.facts.child("attention")
        mixers, pattern = attention.objects("mixers"), attention.items("pattern")
        if not mixers and not pattern and not attention:
            return []
        found: list[Block] = []
        if mixers:
            keys = [k for k in dict.fromkeys(k for m in mixers for k in m) if any(m.get(k) is not None for m in mixers)]
            rows = tuple(
                (Cell(text=count(pattern.count(i))), *(_plain(m.get(k)) for k in keys))
                for i, m in enumerate(mixers[:MAX_ROWS])
            )
            columns = (Column(title="layers", is_number=True), *(Column(title=label(k)) for k in keys))
            found.append(Table(title="Attention: ways of mixing tokens", columns=columns, rows=rows))
        if pattern:
            found.append(Pairs(rows=(pair("layers in order", _layers(pattern, mixers)),)))
        rows_ = tuple(
            self.row(attention, "attention", k)
            for k in attention
            if k not in ("mixers", "pattern") and not isinstance(attention.peek(k), (dict, list))
        )
        if rows_:
            found.append(Fold(title="Attention in detail", blocks=(Pairs(rows=rows_),)))
        return found

    def feed_forward(self) -> list[Block]:
        ffn = self.facts.child("feed_forward")
        if not ffn:
            return []
        pattern, sizes = ffn.items("pattern"), ffn.items("sizes")
        rows = [
            pair("layers", _runs([str(p) for p in pattern]) if pattern else None),
            pair("dense intermediate sizes", sorted({s for s in sizes if isinstance(s, int)}) if sizes else None),
            pair("gated", ffn.flag("gated")),
        ]
        moe = ffn.child("moe")
        if moe:
            rows += [self.row(moe, "moe", key) for key in moe]
        else:
            rows.append(pair("experts", "none: not a mixture of experts"))
        return [Pairs(title="Feed-forward and experts", rows=tuple(rows))]

    def quantization(self) -> list[Block]:
        if "quantization" not in self.facts:
            return []
        quant = self.facts.child("quantization")
        if not quant:
            return [
                Pairs(title="Quantisation", rows=(pair("scheme", "none: no file of the checkpoint describes one"),))
            ]
        excluded, layers = quant.texts("excluded"), quant.child("layers")
        rows = [self.row(quant, "quantization", k) for k in quant if k not in ("excluded", "layers")]
        found: list[Block] = [Pairs(title="Quantisation", rows=tuple(rows))]
        if names := layers:
            found.append(Pairs(title="Modules by algorithm", rows=tuple(pair(n, layers.take(n)) for n in names)))
        if excluded:
            table = blocks_of([{"module": name} for name in excluded])
            found.append(Fold(title=f"{plural(len(excluded), 'module')} kept in full precision", blocks=tuple(table)))
        return found

    def parameters(self) -> list[Block]:
        parameters = self.facts.child("parameters")
        rows = []
        for key in parameters:
            value = parameters.peek(key)
            if is_quantity(value):
                parameters.take(key)
                rows.append(pair(label(key), _parameters(value)))
        if formula := parameters.texts("formula"):
            rows.append(pair("estimated by", Cell(text="; ".join(formula), is_code=True)))
        return [Pairs(title="Parameters", rows=tuple(rows))] if rows else []

    def weights(self) -> list[Block]:
        weights = self.facts.child("weights")
        if not weights:
            return []
        why = weights.text("note") or "no header was read"
        nbytes, total = weights.whole("nbytes"), weights.whole("index_total_size")
        shards = weights.objects("shards")
        rows = [
            pair("read from", weights.text("known") or None, why),
            pair("tensors", weights.take("tensors"), why),
            pair("bytes", size(nbytes) if nbytes is not None else None, why),
            pair("shards", len(shards)),
            pair("index", weights.text("index") or "none"),
            pair("bytes the index states", size(total) if total is not None else None, "the index does not say"),
            pair("other weight formats", weights.take("other_formats")),
        ]
        found: list[Block] = [Pairs(title="Weights", rows=tuple(rows))]
        for key, title in (("components", "Weights by component"), ("dtypes", "Weights by dtype")):
            if shares := weights.objects(key):
                found.append(_shares(shares, title))
        if tree := weights.objects("tree"):
            found.append(
                Fold(title=f"Weights by name pattern ({plural(len(tree), 'pattern')})", blocks=(_shares(tree, ""),))
            )
        if shards:
            found.append(Fold(title=plural(len(shards), "shard"), blocks=(table_of(shards),)))
        return found

    def unexplained(self) -> list[Block]:
        fields = self.facts.texts("unexplained")
        if not fields:
            return []
        names = ", ".join(fields[:MAX_ROWS])
        more = f" and {count(len(fields) - MAX_ROWS)} more" if len(fields) > MAX_ROWS else ""
        title = (
            f"{plural(len(fields), 'field')} of config.json that seatrial neither uses nor knows to be without weight"
        )
        return [Notice(tone="info", title=title, text=names + more)]


def _parameters(value: dict[str, Any]) -> Cell:
    number = value.get("value")
    shown = cell(value)
    if isinstance(number, int) and not isinstance(number, bool) and number >= 1000:
        return Cell(text=billions(number), note=f"{count(number)} {shown.note}")
    return shown


def _plain(value: Any) -> Cell:
    """A value in a dense table, where a dash says "does not apply or not said"."""
    if value is None:
        return Cell(text="–")
    if isinstance(value, dict):
        inner = "; ".join(f"{label(k)} {cell(v).text}" for k, v in value.items() if v is not None)
        return Cell(text=inner or "–")
    return cell(value)


def _layers(pattern: list[Any], mixers: list[dict[str, Any]]) -> str:
    names = [str(m.get("kind", "?")) for m in mixers]
    same = len(set(names)) < len(names)
    shown = [f"{n} (way {i + 1})" if same else n for i, n in enumerate(names)]
    known = [shown[i] if isinstance(i, int) and 0 <= i < len(shown) else "?" for i in pattern]
    return _runs(known)


def _runs(words: list[str]) -> str:
    """`0–2 dense, 3–60 moe`."""
    parts: list[str] = []
    start = 0
    for i in range(1, len(words) + 1):
        if i == len(words) or words[i] != words[start]:
            where = str(start) if i - 1 == start else f"{start}–{i - 1}"
            parts.append(f"{where} {words[start]}")
            start = i
    shown = ", ".join(parts[:60])
    return f"{shown}, and {count(len(parts) - 60)} more changes" if len(parts) > 60 else shown


def _shares(rows: list[dict[str, Any]], title: str) -> Table:
    """Rows with counts and bytes, sizes in words and the share of the whole."""
    nbytes = [r.get("nbytes") for r in rows]
    total = sum(n for n in nbytes if isinstance(n, int))
    keys = list(dict.fromkeys(k for r in rows for k in r))
    shown = []
    for row in rows[:MAX_ROWS]:
        cells = []
        for key in keys:
            value = row.get(key)
            if key == "nbytes" and isinstance(value, int):
                note = f"{100 * value / total:.1f} %" if total else ""
                cells.append(Cell(text=size(value), note=note))
            else:
                cells.append(_plain(value))
        shown.append(tuple(cells))
    left = f"{count(len(rows) - MAX_ROWS)} more rows are in the facts file" if len(rows) > MAX_ROWS else ""
    numeric = {"tensors", "elements", "nbytes"}
    columns = tuple(Column(title="bytes" if k == "nbytes" else label(k), is_number=k in numeric) for k in keys)
    return Table(title=title, columns=columns, rows=tuple(shown), left_out=left)
