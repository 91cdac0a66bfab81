"""The dry run's tables of tensors and parameters: those in trouble by name, all by kind, folded and sorted."""

from __future__ import annotations

from typing import Any

from seatrial.report.blocks import Block, Cell, Column, Fold, Table, TensorGroup, Tensors, Tone
from seatrial.report.facts import Facts
from seatrial.report.generic import line_of
from seatrial.report.patterns import join, runs, split
from seatrial.report.words import count, label, size

# How the account's words are coloured and sorted; a word this table does not know is a problem until it does.
GOOD = {"loaded", "fused", "filled", "tied", "initialised by design"}


CALM = {"dropped"}


BAD = {"missing", "failed", "unexplained"}


TROUBLE_KEYS = {
    "name", "state", "dtype", "shape", "reason", "likely", "ranks", "placed_elements", "filled_elements", "elements",
}  # fmt: skip


def tone_of(state: str) -> Tone:
    if state in GOOD:
        return "pass"
    return "not-applicable" if state in CALM else "fail" if state in BAD else "inconclusive"


def rank(state: str) -> int:
    """Problems first."""
    return ["fail", "inconclusive", "not-applicable", "pass"].index(tone_of(state))


def troubles_of(rows: list[dict[str, Any]], title: str, anchor: str, things: str) -> Tensors:
    """One by one, by name: folded by what they have in common."""
    members: dict[tuple[str, ...], list[tuple[int, ...]]] = {}
    first: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        pattern, numbers = split(str(row.get("name", "")))
        words = (str(row.get("state", "unknown")), str(row.get("dtype", "")), shape_of(row.get("shape")))
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


def account_of(
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
                shape=" ".join(shape_of(s) for s in shapes[:4]),
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


def shape_of(value: Any) -> str:
    if not isinstance(value, list):
        return ""
    return "[" + ", ".join(str(n) for n in value[:12]) + "]"


CALL_TONES: dict[str, Tone] = {"present": "pass", "missing": "fail", "unknown": "unknown"}


def calls_of(facts: Facts) -> list[Block]:
    """The operators that the model's forward calls, those that are missing first; nothing where none were read."""
    calls = facts.child("calls")
    rows = []
    for name in list(calls):
        call = calls.child(name)
        state, certain, at = call.text("state"), call.flag("certain"), call.child("at")
        where = f"{at.text('file')}:{at.take('line')} in {at.text('function')}" if at else "place unknown"
        how = {True: "always", False: "behind a condition"}.get(certain, "unknown")  # type: ignore[arg-type]
        why = call.text("why")
        order = (state != "missing", not certain, name)
        cells = (
            Cell(text=name, is_code=True),
            Cell(text=state, note=why, tone=CALL_TONES.get(state, "inconclusive")),
            Cell(text=how),
            Cell(text=where, note=at.text("source") if at else "", is_code=True),
            Cell(text=call.text("asker"), is_code=True),
        )
        rows.append((order, cells))
    if not rows:
        return []
    missing = sum(cells[1].text == "missing" for _, cells in rows)
    columns = tuple(Column(title=t) for t in ("operator", "state", "called", "at", "for"))
    table = Table(columns=columns, rows=tuple(cells for _, cells in sorted(rows, key=lambda row: row[0])))
    title = f"Operators that the forward calls ({count(len(rows))}" + (f", {missing} missing)" if missing else ")")
    return [Fold(title=title, blocks=(table,), is_open=bool(missing))]
