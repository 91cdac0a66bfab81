"""The human view of `seatrial inspect`: one screen of facts, a tree for the weights, the findings."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from seatrial.checkpoint import Card, Difference, fitting, human_bytes, human_count, powers
from seatrial.cli.common import STYLES
from seatrial.core.finding import Severity
from seatrial.core.quantity import Quantity, Source
from seatrial.core.verdict import Outcome

MARKS = {Severity.ERROR: "[bold red]error[/]", Severity.WARNING: "[yellow]warning[/]", Severity.INFO: "[dim]info[/]"}
MOST_ROWS = 14


def show(console: Console, card: Card, outcome: Outcome) -> None:
    """Print the card."""
    console.print(f"[bold]{escape(card.line())}[/]")
    console.print(f"[dim]{escape(card.folder)}[/]")
    console.print(_facts(card))
    if card.weights.tree:
        console.print(_tree(card))
    for finding in card.findings:
        console.print(f"{MARKS[finding.severity]} {escape(finding.one_line())}")
        if finding.next_step and finding.severity is not Severity.INFO:
            console.print(f"      [dim]{escape(finding.next_step)}[/]")
    reason = f": {outcome.reason}" if outcome.reason else ""
    console.print(f"[{STYLES[outcome.verdict]}]{outcome.verdict.value}[/]{escape(reason)}")


def _facts(card: Card) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, text in _rows(card):
        table.add_row(name, escape(text))
    return table


def _rows(card: Card) -> list[tuple[str, str]]:
    frame, attention, media = card.architecture, card.attention, card.multimodal
    tokens, moe, quant = card.tokenizer, card.feed_forward.moe, card.quantization
    said = "tied" if frame.tied_embeddings else "untied" if frame.tied_embeddings is False else "tying not stated"
    rows = [
        ("model", f"{frame.model_type or 'no model_type'}, hidden {frame.hidden_size}, vocabulary {frame.vocab_size}, "
                  f"{said}" + (f", language model in {frame.text_section}" if frame.text_section else "")),
        ("attention", _attention(card)),
    ]  # fmt: skip
    rope = ", ".join(
        f"{n}: {k.kind}" + (f" x{k.factor:g}" if k.factor else "") + (f" theta {k.theta:g}" if k.theta else "")
        for n, k in attention.rope.kinds.items()
    )
    rows.append(("rope", rope or "no field of rope"))
    states = {f"{m.kind}: conv {m.state.conv}, recurrent {m.state.recurrent}" for m in attention.mixers if m.state}
    rows += [("state", "; ".join(sorted(states)))] if states else []
    if moe is not None:
        shared = f"{moe.shared_experts} shared" if moe.shared_experts else "no shared expert"
        if moe.shared_intermediate_size:
            shared = f"{moe.shared_experts or 1} shared of width {moe.shared_intermediate_size}"
        first = card.feed_forward.dense_first()
        text = f"{moe.experts} of width {moe.intermediate_size}, {moe.experts_per_token} per token, {shared}"
        rows.append(("experts", text + (f", {first} layers without experts first" if first else "")))
    if quant is not None:
        kept = f", {len(quant.excluded)} exclusions" if quant.excluded else ""
        rows.append(("quantisation", f"{quant.method}: {quant.scheme}{kept} ({', '.join(quant.files)})"))
    rows.append(("MTP", f"{card.mtp.status} ({card.mtp.field})"))
    if media is not None:
        rows.append(("modalities", ", ".join((*media.modalities, *media.needs)) or "none"))
    rows.append(
        (
            "tokenizer",
            f"{tokens.tokenizer_class or 'class unknown'}, {tokens.vocabulary or 'unknown'} ids, chat "
            f"template {tokens.chat_template or 'none'}, EOS {list(tokens.eos) or 'unknown'}",
        )
    )
    rows.append(("parameters", f"{_quantity(card.parameters.total)}, active {_quantity(card.parameters.active)}"))
    rows.append(
        (
            "context",
            f"{card.context.value} tokens ({card.context.note})"
            if card.context.value
            else f"unknown: {card.context.note}",
        )
    )
    rows.append(("tensor parallel", _parallel(card)))
    return rows


def _attention(card: Card) -> str:
    attention = card.attention
    extra = [
        f"head size {attention.head_dim}" if attention.head_dim else "",
        f"QK-norm {attention.qk_norm}" if attention.qk_norm else "",
        "sinks" if attention.sinks else "",
        "output gate" if attention.output_gate else "",
    ]
    return ", ".join(filter(None, [attention.short() or "unknown", *extra]))


def _quantity(quantity: Quantity) -> str:
    if quantity.value is None:
        return f"unknown ({quantity.note})"
    mark = "" if quantity.source is Source.MEASURED else " (derived)"
    return f"{human_count(quantity.value)}{mark}"


def _parallel(card: Card) -> str:
    if not card.tensor_parallel:
        return "unknown: the heads are not stated"
    good = ", ".join(str(s) for s in fitting(card.tensor_parallel))
    first = next((check for check in powers(card.tensor_parallel) if not check.fits), None)
    return f"fits {good}" + (f"; {first.size}: {'; '.join(first.problems)}" if first else "")


def _tree(card: Card) -> Tree:
    weights = card.weights
    size = human_bytes(weights.nbytes) if weights.nbytes is not None else "sizes unknown"
    dtypes = ", ".join(f"{d.dtype} {human_bytes(d.nbytes)}" for d in weights.dtypes)
    tree = Tree(escape(f"weights: {len(weights.shards)} shards, {weights.tensors} tensors, {size} {dtypes}".rstrip()))
    for share in weights.components:
        bytes_ = human_bytes(share.nbytes) if weights.nbytes is not None else ""
        branch = tree.add(escape(f"{share.component}: {share.tensors} tensors {bytes_}".rstrip()))
        leaves = [leaf for leaf in weights.tree if leaf.component == share.component]
        for leaf in sorted(leaves, key=lambda leaf: -leaf.nbytes)[:3]:
            shape = f" {list(leaf.shape)}" if leaf.shape else ""
            branch.add(escape(f"{leaf.pattern} x{leaf.tensors}{shape} {'/'.join(leaf.dtypes)}".rstrip()))
        if len(leaves) > 3:
            branch.add(f"[dim]{len(leaves) - 3} more patterns[/]")
    return tree


def show_difference(console: Console, difference: Difference) -> None:
    """Print what changed."""
    console.print(f"[bold]from[/] {escape(difference.before)}")
    console.print(f"[bold]to  [/] {escape(difference.after)}")
    if difference.same:
        console.print("nothing differs in facts, names, dtypes and shapes")
    for change in difference.facts:
        console.print(escape(f"  {change.fact}: {change.before} -> {change.after}"))
    for title, rows in (("only before", difference.removed), ("only after", difference.added)):
        if rows:
            console.print(f"[bold]{title}[/]")
        for row in rows[:MOST_ROWS]:
            console.print(escape(f"  {row.pattern} x{row.tensors} {'/'.join(row.dtypes)}"))
        if len(rows) > MOST_ROWS:
            console.print(f"  {len(rows) - MOST_ROWS} more patterns")
    if difference.changed:
        console.print("[bold]dtype, shape or number changed[/]")
    for pair in difference.changed[:MOST_ROWS]:
        console.print(escape(f"  {pair.pattern}: {pair.before} -> {pair.after}"))
    if len(difference.changed) > MOST_ROWS:
        console.print(f"  {len(difference.changed) - MOST_ROWS} more patterns")
