"""Shapes for a checkpoint of which only the index and the config are there, from transformers' own layout on meta.

In: the folder and the names in the index. Out: tensors for the names that transformers knows, the names it does not,
and why, if it knows none. The index stays the truth: a name that only transformers has is not added.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from seatrial.core.record import Record
from seatrial.dryrun.tensor import HeaderTensor
from seatrial.engine.border import ProbeSession


class Derived(Record):
    """`unshaped` are names without a shape; `reason` says why there are no shapes at all."""

    tensors: tuple[HeaderTensor, ...]
    unshaped: tuple[str, ...]
    reason: str = ""


def derive(folder: Path, names: Iterable[str], *, session: ProbeSession, timeout_s: float = 300.0) -> Derived:
    """Give each name the shape and dtype that transformers would write it with."""
    listed = list(names)
    reply = session.call("dry_headers", {"folder": str(folder)}, timeout_s=timeout_s)
    if reply.status != "answered" or "error" in reply.answer:
        reason = reply.trouble() or str(reply.answer["error"])
        return Derived(tensors=(), unshaped=tuple(listed), reason=reason)
    known = {name: (dtype, tuple(shape)) for name, dtype, shape in reply.answer["tensors"]}
    found = [HeaderTensor(name=n, dtype=known[n][0], shape=known[n][1]) for n in listed if n in known]
    return Derived(tensors=tuple(found), unshaped=tuple(n for n in listed if n not in known))
