"""The dry run: problems first, then the sums, then the account of every tensor and every parameter by kind."""

from __future__ import annotations

from typing import Any

from seatrial.report.blocks import Block, Cell, Code, Column, Fold, Notice, Pairs, Table, TensorGroup, Tensors, Tone
from seatrial.report.facts import Facts
from seatrial.report.gather import Gathered, StepFacts
from seatrial.report.generic import MAX_ROWS, blocks_of, cell, line_of, table_of
from seatrial.report.patterns import join, runs, split
from seatrial.report.sections.common import leftover, pair
from seatrial.report.words import count, label, plural, seconds, size

NOT_COUNTED = "the step ended before it was counted"
# How the account's words are coloured and sorted; a word this table does not know is a problem until it does.
GOOD = {"loaded", "fused", "filled", "tied", "initialised by design"}
CALM = {"dropped"}
BAD = {"missing", "failed", "unexplained"}
TROUBLE_KEYS = {
    "name", "state", "dtype", "shape", "reason", "likely", "ranks", "placed_elements", "filled_elements", "elements",
}  # fmt: skip


def blocks(step: StepFacts, run: Gathered) -> list[Block]:
    if not isinstance(step.facts, dict) or not step.facts:
        return blocks_of(step.facts, "facts") if step.facts else []
    facts = Facts(step.facts)
    facts.take("schema_version")
    found: list[Block] = [*_summary(facts), *_failures(facts)]
    if troubles := facts.objects("parameter_troubles"):
        found.append(_troubles(troubles, "Parameters that are not in order", "parameter-troubles", "parameters"))
    if troubles := facts.objects("tensor_troubles"):
        found.append(_troubles(troubles, "Tensors that are not in order", "tensor-troubles", "tensors"))
    for key, title in (
        ("overlaps", "Tensors that wrote to the same elements"),
        ("casts", "Tensors cast on the way in"),
    ):
        if rows := facts.objects(key):
            found.append(Fold(title=f"{title} ({count(len(rows))})", blocks=(table_of(rows),)))
    if lines := facts.objects("tensors"):
        found.append(_account(lines, "Every tensor of the checkpoint", "tensors", "goes into", "into", "tensors"))
    if lines := facts.objects("parameters"):
        found.append(
            _account(lines, "Every parameter of the model", "parameters", "filled by", "filled_by", "parameters")
        )
    found += _ranks(facts)
    return [*found, *leftover(facts)]


def tone_of(state: str) -> Tone:
    if state in GOOD:
        return "pass"
    return "not-applicable" if state in CALM else "fail" if state in BAD else "inconclusive"


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


def rank(state: str) -> int:
    """Problems first."""
    return ["fail", "inconclusive", "not-applicable", "pass"].index(tone_of(state))


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
        lines += [f"  with the tensor {tensor} {_shape(shape)}"] if tensor else []
        if parameter := raw.text("parameter"):
            lines.append(f"  into the parameter {parameter} {_shape(raw.take('parameter_shape'))}")
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


def _troubles(rows: list[dict[str, Any]], title: str, anchor: str, things: str) -> Tensors:
    """One by one, by name: folded by what they have in common."""
    members: dict[tuple[str, ...], list[tuple[int, ...]]] = {}
    first: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        pattern, numbers = split(str(row.get("name", "")))
        words = (str(row.get("state", "unknown")), str(row.get("dtype", "")), _shape(row.get("shape")))
        key = (pattern, *words, _why(row, folded=True), str(len(numbers)))
        members.setdefault(key, []).append(numbers)
        first.setdefault(key, row)
    groups = []
    for shared, found in members.items():
        pattern, state, dtype, shape, note = shared[:5]
        name, inside = pattern, runs(found)
        if len(found) == 1:
            # One alone is named in full, and so is what would fill it.
            name, inside, note = join(pattern, found[0]), ((),), _why(first[shared], folded=False)
        groups.append(
            TensorGroup(
                pattern=name,
                fate=state,
                tone=tone_of(state),
                count=len(found),
                dtype=dtype,
                shape=shape,
                note=_short(note),
                runs=inside,
            )
        )
    groups.sort(key=lambda g: (rank(g.fate), g.pattern))
    return Tensors(id=anchor, title=title, groups=tuple(groups), target_title="", things=things)


def _why(row: dict[str, Any], *, folded: bool) -> str:
    """What there is to say of one: keys this section does not know first, so that they are never cut off."""
    why = [f"{label(k)}: {line_of(row[k])}" for k in row if k not in TROUBLE_KEYS]
    likely, ranks = row.get("likely"), row.get("ranks")
    done, whole = row.get("placed_elements", row.get("filled_elements")), row.get("elements")
    if isinstance(done, int) and isinstance(whole, int) and done:
        why.append(f"{count(done)} of {count(whole)} elements")
    if isinstance(ranks, list) and ranks:
        why.append(f"rank {', '.join(map(str, ranks[:16]))}" + (" …" if len(ranks) > 16 else ""))
    if isinstance(likely, list) and likely:
        why.append("would be filled by " + _names(likely, folded=folded))
    why.append(str(row.get("reason") or ""))
    return "; ".join(filter(None, why))


def _names(names: list[Any], *, folded: bool) -> str:
    """A few in full, more by pattern."""
    if len(names) <= 4 and not folded:
        return ", ".join(str(n) for n in names)
    patterns = list(dict.fromkeys(split(str(n)).pattern for n in names))
    more = f" and {count(len(patterns) - 4)} more patterns" if len(patterns) > 4 else ""
    return f"{count(len(names))} tensors: {', '.join(patterns[:4])}{more}"


def _account(
    lines: list[dict[str, Any]], title: str, anchor: str, target_title: str, target_key: str, things: str
) -> Tensors:
    groups = []
    for line in lines:
        one = Facts(line)
        state = one.text("state") or "unknown"
        rule = one.child("rule")
        notes = [one.text("reason")]
        if rule:
            notes.append(f"{rule.text('file')}:{rule.take('line')} in {rule.text('function')}: {rule.text('source')}")
        if shards := one.texts("shards"):
            notes.append(f"as {', '.join(shards[:8])}")
        placed, nbytes = one.whole("placed_bytes"), one.whole("bytes")
        if placed is not None and nbytes is not None and placed != nbytes:
            notes.append(f"{size(placed)} placed")
        number, example = one.whole("count"), one.text("example")
        kind = one.text("kind")
        if example and number == 1:
            kind = example
        dtype = one.text("dtype") or ", ".join(one.texts("dtypes"))
        shapes = one.items("shapes")
        elements = one.whole("elements")
        if nbytes is None and elements is not None:
            notes.append(f"{count(elements)} elements")
        target = ", ".join(one.texts(target_key)[:8])
        rest = one.rest()
        if rest:
            notes.append(line_of(rest))
        groups.append(
            TensorGroup(
                pattern=kind,
                fate=state,
                tone=tone_of(state),
                count=number or 0,
                dtype=dtype,
                shape=" ".join(_shape(s) for s in shapes[:4]),
                target=target,
                note=_short("; ".join(filter(None, notes))),
                nbytes=nbytes,
            )
        )
    groups.sort(key=lambda g: rank(g.fate))
    return Tensors(id=anchor, title=title, groups=tuple(groups), target_title=target_title, things=things)


def _short(note: str) -> str:
    """A line of a table; a whole exception stands above it, and all of it in the facts."""
    return note if len(note) <= 300 else note[:280] + "… (whole in the facts file)"


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


def _shape(value: Any) -> str:
    if not isinstance(value, list):
        return ""
    return "[" + ", ".join(str(n) for n in value[:12]) + "]"
