"""Any JSON as blocks: what a section of its own does not know is shown all the same, within bounds that are said."""

from __future__ import annotations

from typing import Any

from seatrial.report.blocks import Block, Cell, Code, Column, Fold, Pair, Pairs, Paragraph, Table, unknown
from seatrial.report.words import count, label, plural, scalar, size

MAX_ROWS = 200
MAX_KEYS = 200
MAX_DEPTH = 6
MAX_TEXT = 4000
NOT_RECORDED = "recorded without a value"
QUANTITY = {"value", "unit", "source", "note"}


def cell(value: Any, why: str = NOT_RECORDED) -> Cell:
    """A scalar, a quantity, or a list of scalars in one cell. `why` is the reason shown for an unknown."""
    if value is None:
        return unknown(why)
    if is_quantity(value):
        return _quantity(value)
    if isinstance(value, str):
        return text_cell(value)
    if isinstance(value, list):
        if not value:
            return Cell(text="none")
        shown = ", ".join(scalar(v) for v in value[:40])
        return Cell(text=shown, note=f"and {count(len(value) - 40)} more" if len(value) > 40 else "")
    return Cell(text=scalar(value))


def text_cell(value: str) -> Cell:
    if not value:
        return Cell(text="empty", tone="unknown")
    cut = f"{count(len(value) - MAX_TEXT)} more characters are in the facts file" if len(value) > MAX_TEXT else ""
    return Cell(text=value[:MAX_TEXT], note=cut)


def is_quantity(value: Any) -> bool:
    return isinstance(value, dict) and {"value", "unit", "source"} <= set(value) <= QUANTITY


def is_flat(value: Any) -> bool:
    """Whether `cell` can show it."""
    if isinstance(value, list):
        return all(not isinstance(v, (dict, list)) for v in value)
    return not isinstance(value, dict) or is_quantity(value)


def blocks_of(value: Any, title: str = "", depth: int = 0) -> list[Block]:
    """Blocks that show `value`: pairs for an object, a table for a list of objects, folds for what is inside."""
    if depth >= MAX_DEPTH:
        return [Paragraph(text=f"{title}: nested deeper than {MAX_DEPTH} levels; see the facts file.")]
    if isinstance(value, dict) and not is_quantity(value):
        return _object(value, title, depth)
    if isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
        return [table_of(value, title)]
    if isinstance(value, list) and not is_flat(value):
        return [_list(value, title)]
    if isinstance(value, str) and "\n" in value:
        cut = f"the first {count(MAX_TEXT)} characters, the rest is in the facts file" if len(value) > MAX_TEXT else ""
        return [Code(title=", ".join(filter(None, [label(title), cut])), text=value[:MAX_TEXT])]
    return [Pairs(rows=(Pair(label=label(title) or "value", value=cell(value)),))]


def table_of(rows: list[dict[str, Any]], title: str = "") -> Table:
    """A list of objects with the union of their keys as columns (first come, first shown)."""
    shown = rows[:MAX_ROWS]
    keys = list(dict.fromkeys(k for row in shown for k in row))
    kept = keys[:12]
    numeric = {k: all(_is_number(r.get(k)) for r in shown if r.get(k) is not None) for k in kept}
    left = [f"{count(len(rows) - MAX_ROWS)} more rows"] if len(rows) > MAX_ROWS else []
    left += [f"the columns {', '.join(map(label, keys[12:40]))}"] if len(keys) > 12 else []
    return Table(
        title=label(title),
        columns=tuple(Column(title=label(k), is_number=numeric[k]) for k in kept),
        rows=tuple(tuple(_inner(r[k]) if k in r else Cell(text="–") for k in kept) for r in shown),
        left_out=f"{' and '.join(left)} are in the facts file" if left else "",
    )


def _object(value: dict[str, Any], title: str, depth: int) -> list[Block]:
    names = list(value)[:MAX_KEYS]
    flat = [k for k in names if is_flat(value[k]) and not (isinstance(value[k], str) and "\n" in value[k])]
    found: list[Block] = []
    if flat:
        found.append(Pairs(title=label(title), rows=tuple(Pair(label=label(k), value=cell(value[k])) for k in flat)))
    elif not value:
        found.append(Paragraph(text=f"{label(title) or 'This'}: empty."))
    for key in names:
        if key not in flat:
            inner = blocks_of(value[key], "", depth + 1)
            size_of = len(value[key]) if isinstance(value[key], (list, dict)) else 0
            name = f"{label(key)} ({plural(size_of, 'entry')})" if isinstance(value[key], list) else label(key)
            found.append(Fold(title=name.replace("entrys", "entries"), blocks=tuple(inner)))
    if len(value) > MAX_KEYS:
        found.append(Paragraph(text=f"{count(len(value) - MAX_KEYS)} more keys are in the facts file."))
    return found


def _list(value: list[Any], title: str) -> Table:
    left = f"{count(len(value) - MAX_ROWS)} more rows are in the facts file" if len(value) > MAX_ROWS else ""
    rows = tuple((_inner(v),) for v in value[:MAX_ROWS])
    return Table(title=label(title), columns=(Column(title="value"),), rows=rows, left_out=left)


def _inner(value: Any) -> Cell:
    """A value inside a table: what is not flat becomes one line of `key: value`."""
    if is_flat(value):
        return cell(value)
    return text_cell(line_of(value))


def line_of(value: Any, depth: int = 0) -> str:
    """Any JSON on one line, `key: value; key: value`."""
    if depth > MAX_DEPTH:
        return "…"
    if isinstance(value, dict):
        if is_quantity(value):
            shown = _quantity(value)
            return f"{shown.text} ({shown.note})" if shown.note else shown.text
        parts = [f"{label(k)}: {line_of(v, depth + 1)}" for k, v in list(value.items())[:MAX_KEYS]]
        return "; ".join(parts) or "empty"
    if isinstance(value, list):
        return ", ".join(line_of(v, depth + 1) for v in value[:MAX_KEYS]) or "none"
    return scalar(value)


def _quantity(value: dict[str, Any]) -> Cell:
    source, note = str(value.get("source", "")), str(value.get("note") or "")
    if value.get("value") is None:
        return unknown(note or NOT_RECORDED)
    number, unit = value["value"], str(value.get("unit", ""))
    text = size(number) if unit in ("bytes", "B") and isinstance(number, int) else f"{scalar(number)} {unit}"
    return Cell(text=text.strip(), note=(f"{source}: {note}" if note else source))


def _is_number(value: Any) -> bool:
    return (isinstance(value, (int, float)) and not isinstance(value, bool)) or is_quantity(value)
