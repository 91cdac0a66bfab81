"""The dry run: problems first, then the sums, then the account of every tensor and every parameter by kind."""

from __future__ import annotations

from typing import Any

from seatrial.report.blocks import Block, Cell, Code, Column, Fold, Notice, Pairs, Table
from seatrial.report.facts import Facts
from seatrial.report.gather import Gathered, StepFacts
from seatrial.report.generic import MAX_ROWS, blocks_of, cell, table_of
from seatrial.report.sections.common import leftover, pair
from seatrial.report.sections.dry_listing import tree_of
from seatrial.report.sections.dry_tables import account_of, calls_of, rank, shape_of, tone_of, troubles_of
from seatrial.report.words import count, label, plural, seconds, size

NOT_COUNTED = "the step ended before it was counted"


def blocks(step: StepFacts, run: Gathered) -> list[Block]:
    if not isinstance(step.facts, dict) or not step.facts:
        return blocks_of(step.facts, "facts") if step.facts else []
    facts = Facts(step.facts)
    facts.take("schema_version")
    found: list[Block] = [*_summary(facts), *_failures(facts)]
    if troubles := facts.objects("parameter_troubles"):
        found.append(troubles_of(troubles, "Parameters that are not in order", "parameter-troubles", "parameters"))
    if troubles := facts.objects("tensor_troubles"):
        found.append(troubles_of(troubles, "Tensors that are not in order", "tensor-troubles", "tensors"))
    for key, title in (
        ("overlaps", "Tensors that wrote to the same elements"),
        ("casts", "Tensors cast on the way in"),
    ):
        if rows := facts.objects(key):
            found.append(Fold(title=f"{title} ({count(len(rows))})", blocks=(table_of(rows),)))
    if lines := facts.objects("tensors"):
        found.append(account_of(lines, "Every tensor of the checkpoint", "tensors", "goes into", "into", "tensors"))
    if lines := facts.objects("parameters"):
        found.append(
            account_of(lines, "Every parameter of the model", "parameters", "filled by", "filled_by", "parameters")
        )
    found += tree_of(step, run)
    found += calls_of(facts)
    found += _ranks(facts)
    return [*found, *leftover(facts)]


def _summary(facts: Facts) -> list[Block]:
    sums = facts.child("sums")
    exact = sums.flag("exact")
    rows = [pair("layout", f"tensor parallel {facts.take('tp')}, pipeline parallel {facts.take('pp')}")]
    if (expert_parallel := facts.flag("ep")) is not None:
        rows.append(pair("expert parallel", expert_parallel))
    if (all_ranks := facts.flag("all_ranks")) is not None:
        rows.append(pair("ranks", "all" if all_ranks else "only some were asked for"))
    rows += [pair(t, sums.take(t), NOT_COUNTED) for t in ("tensors", "parameters")]
    for key in [k for k in sums if k.startswith("bytes_")]:
        number = sums.whole(key)
        rows.append(pair(label(key), size(number) if number is not None else None, NOT_COUNTED))
    if exact is not None:
        rows.append(pair("sums are exact", exact))
    if (names_only := facts.flag("names_only")) is not None:
        rows.append(pair("shapes", "not known: from names only" if names_only else "from the shards' headers"))
    rows += [pair(label(k), facts.take(k)) for k in ("rank_shapes", "duplicates", "unknown_dtypes") if k in facts]
    states = _states(facts.peek("tensors")) or _states(facts.peek("parameters"))
    found: list[Block] = [Pairs(rows=tuple(rows))]
    if states:
        fates = [("tensors", _states(facts.peek("tensors"))), ("parameters", _states(facts.peek("parameters")))]
        table = [
            (Cell(text=what), Cell(text=state, tone=tone_of(state)), Cell(text=count(number)))
            for what, by_state in fates
            for state, number in sorted(by_state.items(), key=lambda item: rank(item[0]))
        ]
        columns = (Column(title="of the"), Column(title="state"), Column(title="number", is_number=True))
        found.append(Table(title="In sum", columns=columns, rows=tuple(table)))
    return found


def _states(lines: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for line in lines if isinstance(lines, list) else []:
        number = line.get("count") if isinstance(line, dict) else None
        if isinstance(number, int):
            state = str(line.get("state", "unknown"))
            found[state] = found.get(state, 0) + number
    return found


def _failures(facts: Facts) -> list[Block]:
    found: list[Block] = []
    for failure in facts.objects("failures")[:MAX_ROWS]:
        one = Facts(failure)
        raw = one.child("raw")
        at = raw.child("at")
        where = f"{at.text('file')}:{at.take('line')} in {at.text('function')}" if at else "place unknown"
        source = at.text("source")
        ranks = ", ".join(map(str, one.items("ranks"))) or "unknown"
        tensor = one.text("tensor")
        shape = one.take("tensor_shape")
        title = f"{raw.text('type')} while the engine was at {raw.text('stage') or 'an unknown stage'}, rank {ranks}"
        lines = [f"{raw.text('type')}: {raw.text('message')}", f"  at {where}"]
        lines += [f"     {source}"] if source else []
        lines += [f"  with the tensor {tensor} {shape_of(shape)}"] if tensor else []
        if parameter := raw.text("parameter"):
            lines.append(f"  into the parameter {parameter} {shape_of(raw.take('parameter_shape'))}")
        frames = raw.objects("frames")
        found.append(Notice(tone="fail", title=title, text=""))
        found.append(Code(title="The engine's exception", text="\n".join(lines)))
        if frames:
            text = "\n".join(
                f"{f.get('file')}:{f.get('line')} in {f.get('function')}\n    {f.get('source')}" for f in frames[:100]
            )
            found.append(Fold(title=f"{plural(len(frames), 'frame')} of its traceback", blocks=(Code(text=text),)))
        raw.take("tensor")  # Its index in the request; the name is shown.
        raw.take("parameter_shape")
        found += leftover(one)
    crashed = facts.take("crashed_ranks")
    if crashed:
        found.append(Notice(tone="fail", title="Ranks whose process ended without an answer", text=cell_text(crashed)))
    return found


def cell_text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"rank {k}: exit code {v}" for k, v in value.items())
    return cell(value).text


def _ranks(facts: Facts) -> list[Block]:
    found: list[Block] = []
    if classes := facts.objects("rank_classes"):
        found.append(Fold(title="Ranks loaded, and those they stand for", blocks=(table_of(classes),)))
    placeholders = facts.child("placeholders")
    if names := placeholders:
        stood_in = Pairs(rows=tuple(pair(n, placeholders.take(n)) for n in names))
        found.append(Fold(title="Kernels answered by a placeholder", blocks=(stood_in,)))
    found += [Notice(tone="info", title="Note", text=n) for n in facts.texts("notes")[:MAX_ROWS]]
    rows = []
    for key in ("engine", "platform", "config"):
        part = facts.child(key)
        rows += [pair(f"{key}: {label(name)}", part.take(name), "the engine did not say") for name in part]
    timing = facts.child("timing")
    for key in timing:
        value = timing.number(key)
        if value is not None:
            shown = size(int(value) * 1024) if key.endswith("_kib") else seconds(value)
            rows.append(pair(label(key.removesuffix("_kib").removesuffix("_s")), shown, "", "measured"))
    if rows:
        found.append(Fold(title="The engine, its configuration and the time taken", blocks=(Pairs(rows=tuple(rows)),)))
    return found
