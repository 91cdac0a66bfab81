"""The dry run's listing (`dry-tensors.jsonl.gz`) as a tree that a script can search, tensor by tensor.

In: a step's artifacts. Out: a `Tree`, or a notice why there is none. 100,000 rows become some dozens of groups: rows
whose names and places differ only in numbers are one, and the numbers that a place shares with the name are written as
`{0}`, `{1}`. The listing is read with bounds and is hostile: what cannot be read is said, never guessed.
"""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import msgspec

from seatrial.evidence import ArtifactRef
from seatrial.report.blocks import Block, Notice, Tree, TreeGroup
from seatrial.report.gather import Gathered, StepFacts, read_artifact
from seatrial.report.patterns import STAR, runs, split
from seatrial.report.sections.dry_tables import tone_of

# `dryrun.listing.FILE_NAME`; a report is made from what is kept, by whichever version wrote it.
FILE_NAME = "dry-tensors.jsonl.gz"
MAX_PACKED = 64 << 20
MAX_PLAIN = 512 << 20
MOST_ROWS = 1_000_000
MOST_PLACES = 8


class Row(msgspec.Struct):
    """One line of the listing, as far as the tree shows it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    state: str
    into: dict[str, list[dict[str, str]]] = {}
    reason: str = ""
    at: str = ""


def tree_of(step: StepFacts, run: Gathered) -> list[Block]:
    """The tree of the step's listing; nothing where the step kept none."""
    ref = next((ref for ref in step.stored.artifacts if ref.name == FILE_NAME), None)
    if ref is None:
        return []
    try:
        groups, count = _groups(_plain(Path(run.folder), ref))
    except (ValueError, msgspec.MsgspecError, RecursionError) as exc:
        return [Notice(tone="inconclusive", title="The listing tensor by tensor is not shown", text=str(exc))]
    return [
        Tree(
            id="tensor-tree",
            title="Every tensor by its place in the checkpoint",
            groups=groups,
            count=count,
            source=f"artifacts/{ref.file}",
        )
    ]


def _plain(folder: Path, ref: ArtifactRef) -> bytes:
    content = read_artifact(folder, ref, MAX_PACKED)
    if content.problem:
        raise ValueError(content.problem)
    unpack = zlib.decompressobj(wbits=31)
    try:
        data = unpack.decompress(content.data, MAX_PLAIN)
    except zlib.error as exc:
        raise ValueError(f"{ref.file} is no gzip file: {exc}") from exc
    if unpack.unconsumed_tail:
        raise ValueError(f"{ref.file} unpacks to more than {MAX_PLAIN >> 20} MiB")
    if not unpack.eof:
        raise ValueError(f"{ref.file} was cut off")
    return data


def _groups(data: bytes) -> tuple[tuple[TreeGroup, ...], int]:
    lines = io.BytesIO(data)
    head = msgspec.json.decode(lines.readline())
    if not isinstance(head, dict) or head.get("schema_version") != 1:
        raise ValueError(f"its first line is {str(head)[:80]!r}, which this seatrial does not read")
    decode = msgspec.json.Decoder(Row).decode
    members: dict[tuple[Any, ...], list[tuple[int, ...]]] = {}
    count = 0
    for line in lines:
        row = decode(line)
        count += 1
        if count > MOST_ROWS:
            raise ValueError(f"it has more than {MOST_ROWS:,} rows")
        pattern, numbers = split(row.name)
        why = "; ".join(filter(None, (row.reason, row.at)))
        places = tuple(_place(ranks, given, numbers) for ranks, given in row.into.items())
        key = (pattern, len(numbers), row.state, row.dtype, row.shape, places, why)
        members.setdefault(key, []).append(numbers)
    if count != head.get("tensors"):
        raise ValueError(f"it has {count:,} rows and says that it has {head.get('tensors')}")
    found = tuple(
        TreeGroup(
            pattern=pattern,
            fate=state,
            tone=tone_of(state),
            about=f"{dtype} [{', '.join(map(str, shape))}]",
            places=places,
            why=why,
            runs=runs(numbers),
        )
        for (pattern, _, state, dtype, shape, places, why), numbers in members.items()
    )
    return found, count


def _place(ranks: str, places: list[dict[str, str]], numbers: tuple[int, ...]) -> str:
    """`ranks 0-15: model.layers.{0}.w2_weight (experts.{1}.down_proj)`, with the numbers of the name by position."""
    texts = []
    for place in places[:MOST_PLACES]:
        text = _numbered(place.get("parameter", ""), numbers)
        shard = place.get("shard", "")
        texts.append(f"{text} ({_numbered(shard, numbers, last=True)})" if shard else text)
    more = f" and {len(places) - MOST_PLACES} more" if len(places) > MOST_PLACES else ""
    some = "rank" if ranks.isdigit() else "ranks"
    return f"{some} {ranks}: {', '.join(texts)}{more}"


def _numbered(name: str, numbers: tuple[int, ...], *, last: bool = False) -> str:
    """The name with each number that the tensor's own name has too as its position there: the first that fits, or the
    `last`. A shard's numbers come after the parameter's, so that layer 3's expert 3 is told from its layer."""
    if "{" in name or "}" in name:
        return name  # braces of its own; kept as it is, one group for each
    pattern, own = split(name)
    if not own:
        return name
    order = range(len(numbers) - 1, -1, -1) if last else range(len(numbers))
    parts = pattern.split(STAR)
    text = parts[0]
    for number, part in zip(own, parts[1:], strict=True):
        at = next((i for i in order if numbers[i] == number), None)
        text += (f"{{{at}}}" if at is not None else str(number)) + part
    return text
