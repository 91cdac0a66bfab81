"""Which sources the engine's processes ran: by their memory maps, and by the file names in a worker's memory."""

from __future__ import annotations

from seatrial.report.blocks import Block, Cell, Column, Notice, Table
from seatrial.report.facts import Facts
from seatrial.report.generic import MAX_ROWS
from seatrial.report.words import plural, size


def blocks(facts: Facts) -> list[Block]:
    """From a gate's facts; a gate of before these were recorded shows nothing."""
    if "worker_sources" not in facts:
        return []
    memory = facts.child("worker_sources")
    rows = []
    for one in map(Facts, memory.objects("seen")[:MAX_ROWS]):
        files, pid = one.whole("files"), one.whole("pid")
        named = "source files" if files is None else plural(files, "source file")
        where = one.text("process") if pid is None else f"{one.text('process')} ({pid})"
        rows.append(_row(one, where, f"{named} named in memory"))
    for one in map(Facts, facts.objects("sources")[:MAX_ROWS]):
        number = one.whole("processes")
        where = "processes" if number is None else "1 process" if number == 1 else f"{number} processes"
        rows.append(_row(one, where, "native modules mapped"))
    looked, refused = memory.whole("read_bytes"), memory.text("refused")
    columns = tuple(Column(title=t) for t in ("package", "folder", "where", "by what"))
    left = f"{size(looked)} of the workers' memory was looked through" if looked else ""
    table = Table(title="Sources that ran", columns=columns, rows=tuple(rows), left_out=left)
    told: list[Block] = [Notice(tone="unknown", title="Not all workers could be read", text=refused)] if refused else []
    return [table, *told] if rows else told


def _row(one: Facts, where: str, how: str) -> tuple[Cell, ...]:
    folder = Cell(text=one.text("folder"), is_code=True)
    return (Cell(text=one.text("name")), folder, Cell(text=where), Cell(text=how))
