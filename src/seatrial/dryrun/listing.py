"""The account tensor by tensor, as gzipped JSON lines: the facts keep kinds only, and a single name is sought here.

The first line says what the file is; then one row per checkpoint tensor, in the checkpoint's order: its fate and, for
each set of ranks that agree, the parameters it went into, with the shard where it shares the parameter with others.
Equal accounts give equal bytes.
"""

from __future__ import annotations

import gzip
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import msgspec

from seatrial.core.record import Record, to_json
from seatrial.dryrun.build import AccountBuilder
from seatrial.dryrun.names import shard_of

SCHEMA_VERSION = 1
FILE_NAME = "dry-tensors.jsonl.gz"


class ListingHead(Record):
    """The first line: the number of rows and the layout that their ranks belong to."""

    schema_version: int
    tensors: int
    tp: int
    pp: int


class TensorPlace(Record):
    """A parameter that a tensor went into; `shard` is empty where the tensor has it for itself."""

    parameter: str
    shard: str = ""


class TensorRow(Record):
    """One tensor. `into`: ranks (`0-15`, `0,3`) to places; `at` is the engine's line that dropped it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    state: str
    into: dict[str, tuple[TensorPlace, ...]] = msgspec.field(default_factory=dict)
    reason: str = ""
    at: str = ""


def write_listing(builder: AccountBuilder, file: Path) -> None:
    """Write the listing; the file's folder exists."""
    columns, request = builder.columns, builder.request
    head = ListingHead(schema_version=SCHEMA_VERSION, tensors=len(columns.names), tp=request.tp, pp=request.pp)
    # No time and no file name in the gzip header, so that equal listings have equal hashes.
    with file.open("wb") as plain, gzip.GzipFile("", "wb", 3, plain, mtime=0) as stream:
        stream.write(to_json(head) + b"\n")
        for row in rows(builder):
            stream.write(to_json(row) + b"\n")


def rows(builder: AccountBuilder) -> Iterator[TensorRow]:
    """One row per tensor, in the checkpoint's order."""
    columns = builder.columns
    labels = _Labels(builder)
    for index, fate in enumerate(builder.fates):
        name = columns.names[index]
        groups: dict[frozenset[str], list[int]] = defaultdict(list)
        for rank in builder.full:
            found = rank.into.get(index)
            if found:
                groups[frozenset(found)].append(rank.raw.rank)
        rule = fate.drop.rule if fate.drop else None
        yield TensorRow(
            name=name,
            dtype=columns.dtypes[columns.dtype[index]],
            shape=columns.shapes[columns.shape[index]],
            state=fate.state,
            into={
                labels.of(tuple(ranks)): tuple(
                    TensorPlace(parameter=p, shard=shard_of(name, p) if builder.shared_by[p] > 1 else "")
                    for p in sorted(parameters)
                )
                for parameters, ranks in groups.items()
            },
            reason=fate.reason,
            at=f"{rule.file}:{rule.line}" if rule else "",
        )


class _Labels:
    """Loaded ranks as text, with those that they stand for when all of a class agree."""

    def __init__(self, builder: AccountBuilder) -> None:
        self._classes = builder.spread.classes()
        self._known: dict[tuple[int, ...], str] = {}

    def of(self, ranks: tuple[int, ...]) -> str:
        known = self._known.get(ranks)
        if known is None:
            whole = set(ranks)
            for group in self._classes:
                if set(group.loaded) <= whole:
                    whole.update(group.ranks)
            known = self._known[ranks] = spans(sorted(whole))
        return known


def spans(ranks: list[int]) -> str:
    """`0-3,8` for 0, 1, 2, 3, 8."""
    parts: list[list[int]] = []
    for rank in ranks:
        if parts and rank == parts[-1][1] + 1:
            parts[-1][1] = rank
        else:
            parts.append([rank, rank])
    return ",".join(f"{a}-{b}" if b > a else f"{a}" for a, b in parts)
