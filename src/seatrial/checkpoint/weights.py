"""All shards of a checkpoint together: every tensor once, every shard with its header's hash, every disagreement named.

In: a folder. Out: `WeightFiles`. Which files count follows vLLM: all `*.safetensors` at the top of the folder, except
those that the index, where there is one, does not name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

import msgspec

from seatrial.checkpoint.codes import (
    BAD_ENTRY,
    DUPLICATE_TENSOR,
    EXTRA_SHARD,
    INDEX_ESCAPES,
    NO_WEIGHTS,
    OTHER_FORMAT,
    SHARD_ABSENT,
    TENSOR_ABSENT,
    TOO_MANY_FILES,
    TOO_MANY_TENSORS,
    note,
)
from seatrial.checkpoint.files import Folder
from seatrial.checkpoint.headers import Entry, Header, read_header
from seatrial.checkpoint.index import MAX_SHARDS, Index, compare, find_index, read_index, safe
from seatrial.core.finding import Finding
from seatrial.core.record import Record

# A bound for memory (about 500 bytes each with everything derived); the largest real ones have some 300,000.
MAX_TENSORS = 700_000
NUMBERED = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5,6})-of-(?P<count>\d{5,6})\.safetensors$")
# After these, tensors that cannot be seen are no news.
GONE = {SHARD_ABSENT, TENSOR_ABSENT, INDEX_ESCAPES, BAD_ENTRY, TOO_MANY_FILES}
# Shards named, of those missing from one numbered set; the others are counted.
NAMED_GAPS = 20
PICKLES = (".bin", ".pt", ".pth", ".ckpt")


class Tensor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """A tensor as a header has it: dtype in safetensors' spelling, shape in elements, its bytes, the shard's name.

    A Record but for gc=False: it holds no cycles, and a checkpoint may have a million.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    shard: str


class Shard(Record):
    """One weight file. The hash covers the 8 length bytes and the header; `usable` false where it cannot be read."""

    file: str
    size: int
    mtime_ns: int
    header_bytes: int
    header_sha256: str
    tensors: int
    usable: bool
    metadata: dict[str, str] = msgspec.field(default_factory=dict)


class WeightFiles(Record):
    """What the weight files are.

    `known`: "headers" all tensors with shapes; "names" only the index's names; "none" nothing. `index_names` holds the
    names where only the index is there. `whole`: every shard that belongs to it could be read.
    """

    known: Literal["headers", "names", "none"]
    whole: bool
    index: str
    index_total_size: int | None
    shards: tuple[Shard, ...]
    headers: tuple[Header, ...]
    count: int
    index_names: tuple[str, ...]
    other_formats: tuple[str, ...]
    findings: tuple[Finding, ...]

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """Every tensor once, in shard and header order."""
        for header in self.headers:
            yield from header.tensors.items()

    def tensors(self) -> tuple[Tensor, ...]:
        """The same as records. Made on demand: the card does not need them."""
        return tuple(
            [
                Tensor(name=n, dtype=e.dtype, shape=e.shape, nbytes=e.data_offsets[1] - e.data_offsets[0], shard=h.file)
                for h in self.headers
                for n, e in h.tensors.items()
            ]
        )


def read_weights(folder: Folder) -> WeightFiles:
    """Read the index and every shard's header."""
    found: list[Finding] = []
    index_file = find_index(folder)
    index = read_index(folder, index_file) if index_file else None
    if index:
        found += index.findings
    present = [n for n in folder.names if n.endswith(".safetensors")]
    wanted = _wanted(folder, index, present, found)
    headers = _read_all(folder, wanted, found)
    total = sum([h.nbytes for h in headers])
    good = _agree(index, headers)
    owned = Owned(headers=headers, owners=index.weight_map) if good and index else _own(headers, found)
    headers = owned.headers
    if index and index.usable and headers:
        unreadable = {h.file for h in headers if not h.usable} | {s for s in index.shards() if s not in wanted}
        found += compare(index, owned.owners, unreadable, total)
    others = tuple(n for n in folder.names if n.endswith((*PICKLES, ".gguf")) and n != "training_args.bin")
    if others:
        found.append(note(OTHER_FORMAT, others[0], f"{len(others)} weight files of another format were not read"))
    names = tuple(index.weight_map) if index and index.usable and not headers else ()
    if not headers:
        found.append(note(NO_WEIGHTS, "*.safetensors", "no shard is there" + (", only its index" if names else "")))
    return WeightFiles(
        known="headers" if headers else "names" if names else "none",
        whole=folder.whole and all(h.usable for h in headers) and not any(f.code in GONE for f in found),
        index=index_file or "",
        index_total_size=index.total_size if index else None,
        shards=tuple(_shard(h) for h in headers),
        headers=tuple(headers),
        count=len(owned.owners) if headers else 0,
        index_names=names,
        other_formats=others,
        findings=tuple(found),
    )


def _wanted(folder: Folder, index: Index | None, present: list[str], found: list[Finding]) -> list[str]:
    """The shards to read, by name."""
    if index is None or not index.usable:
        found += _numbering_gaps(present)
        found += _too_many(present)
        return present[:MAX_SHARDS]
    named = [s for s in index.shards() if safe(s)]
    absent = [s for s in named if not folder.has(s)]
    # With no shard at all this is an index by itself, which is a way to look at a model, not a broken download.
    if present:
        found += [note(SHARD_ABSENT, s, f"is named in {index.file}, but is not in the folder") for s in absent]
        found += [note(EXTRA_SHARD, s, f"is not named in {index.file}") for s in sorted(set(present) - set(named))]
    gone = set(absent)
    return [s for s in named if s not in gone]


def _too_many(present: list[str]) -> list[Finding]:
    """Without an index every shard of the folder counts; those beyond the bound are not read."""
    left = present[MAX_SHARDS:]
    text = f"is one of {len(left)} shards that were not read: at most {MAX_SHARDS} are"
    return [note(TOO_MANY_FILES, left[0], text)] if left else []


def _numbering_gaps(present: list[str]) -> list[Finding]:
    """Without an index, `x-00002-of-00005` itself says which files belong to the set; the first missing are named."""
    sets: dict[tuple[str, str], set[int]] = {}
    for name in present:
        if match := NUMBERED.match(name):
            sets.setdefault((match["stem"], match["count"]), set()).add(int(match["number"]))
    found: list[Finding] = []
    for (stem, count), numbers in sets.items():
        missing = [n for n in range(1, min(int(count), MAX_SHARDS) + 1) if n not in numbers]
        found += [
            note(SHARD_ABSENT, f"{stem}-{n:0{len(count)}}-of-{count}.safetensors", "is missing from the numbered set")
            for n in missing[:NAMED_GAPS]
        ]
        if more := int(count) - len([n for n in numbers if 1 <= n <= int(count)]) - len(missing[:NAMED_GAPS]):
            found.append(note(SHARD_ABSENT, f"{stem}-*-of-{count}.safetensors", f"lacks {more} more of its shards"))
    return found


def _read_all(folder: Folder, wanted: list[str], found: list[Finding]) -> list[Header]:
    """Headers in file order."""
    headers: list[Header] = []
    count = 0
    for file in wanted:
        header = read_header(folder, file)
        found += header.findings
        count += len(header.tensors)
        if count > MAX_TENSORS:
            found.append(note(TOO_MANY_TENSORS, file, f"this shard takes the number of tensors beyond {MAX_TENSORS}"))
            count -= len(header.tensors)
            header = msgspec.structs.replace(header, tensors={}, usable=False)  # type: ignore[type-var]
        headers.append(header)
    return headers


def _agree(index: Index | None, headers: list[Header]) -> bool:
    """Whether the index names every tensor of every shard in its place, and no other: then none is there twice."""
    if index is None or sum([len(h.tensors) for h in headers]) != len(index.weight_map):
        return False
    place = index.weight_map.get
    return all(set(map(place, h.tensors)) <= {h.file} for h in headers)


class Owned(Record):
    """Headers without a tensor that an earlier shard holds, and each tensor's shard."""

    headers: list[Header]
    owners: dict[str, str]


def _own(headers: list[Header], found: list[Finding]) -> Owned:
    """Which shard each tensor belongs to: the first that holds it; a second one is a finding."""
    owners: dict[str, str] = {}
    kept: list[Header] = []
    for header in headers:
        twice = [] if owners.keys().isdisjoint(header.tensors) else sorted(owners.keys() & header.tensors.keys())
        for name in twice[:5]:
            found.append(note(DUPLICATE_TENSOR, name, f"is in {owners[name]} and in {header.file}"))
        if len(twice) > 5:
            text = f"{len(twice) - 5} more of its tensors are in other shards too"
            found.append(note(DUPLICATE_TENSOR, header.file, text))
        if twice:
            fresh = {n: e for n, e in header.tensors.items() if n not in owners}
            kept.append(msgspec.structs.replace(header, tensors=fresh))  # type: ignore[type-var]
        else:
            kept.append(header)
        owners.update(dict.fromkeys(kept[-1].tensors, header.file))
    return Owned(headers=kept, owners=owners)


def _shard(header: Header) -> Shard:
    return Shard(
        file=header.file,
        size=header.size,
        mtime_ns=header.mtime_ns,
        header_bytes=header.header_bytes,
        header_sha256=header.header_sha256,
        tensors=len(header.tensors),
        usable=header.usable,
        metadata=header.metadata,
    )
