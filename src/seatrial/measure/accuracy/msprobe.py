"""The NPU side from msProbe: a dump of level L0 (modules) with tensors, read as slices for `locate`.

In: the folder of one step and rank, with `dump.json` and `dump_tensor_data/`. Only modules' forward outputs are taken.
The tensors must have been saved as `.npy` (msProbe writes `.pt` by default, which is a pickle and is refused here:
`numpy.save` them in the environment they come from). A dump with statistics only has no slices: it is refused too.
Which tokens the rows of a call are is told by the order of dump.json, which is that of the calls: what is called first,
the embedding, begins a forward pass, and passes continue one another's tokens. A module with fewer rows than its pass
(the logits) has its last ones. Refuses (FileFormatError): no dump.json, no `.npy` behind any module.
"""

from __future__ import annotations

import math
import re
import struct
from pathlib import Path
from typing import Any

from seatrial.core.errors import FileFormatError
from seatrial.core.record import Record
from seatrial.measure.accuracy.tool_files import load

# `Module.model.layers.0.self_attn.q_proj.QKVParallelLinear.forward.0`, and `.output.0` in file names.
NAME = re.compile(r"^Module\.(?P<module>.+)\.(?P<kind>[A-Za-z_]\w*)\.forward\.(?P<call>\d+)$")
APART = ("vision", "visual", "projector")  # as the probe `accuracy_watch` knows a tower and its projector


class Dump(Record):
    """`modules` as the probe `accuracy_watch` gives them; `dropped`: names and why. `passes`: tokens of each."""

    modules: tuple[dict[str, Any], ...]
    dropped: tuple[str, ...]
    passes: tuple[int, ...]


class Passes:
    """Forward passes as they go by; `tokens` of each so far."""

    def __init__(self) -> None:
        self.first = ""
        self.tokens: list[int] = []

    def rows(self, module: str, count: int, numbers: int) -> list[int]:
        """Token numbers of a call's `count` rows; a tower's rows are patches, counted by themselves.

        Several rows for each token (heads) are one row of all their `numbers`.
        """
        if any(word in module for word in APART):
            return list(range(count))
        if not self.first or module == self.first:
            self.first = module
            self.tokens.append(count)
        now = self.tokens[-1]
        count = now if now and count >= now and numbers % now == 0 else count
        at = sum(self.tokens[:-1]) + max(0, now - count)
        return list(range(at, at + count))


def read_msprobe(folder: Path) -> Dump:
    """All modules of the dump with a tensor that can be read."""
    if not (folder / "dump.json").is_file():
        raise FileFormatError(f"{folder} has no dump.json", mend="Name the folder of one step and rank.")
    data = load(folder / "dump.json").get("data")
    if not isinstance(data, dict):
        raise FileFormatError(f"{folder / 'dump.json'}: `data` is no table")
    modules: list[dict[str, Any]] = []
    dropped: list[str] = []
    passes = Passes()
    for name in data:
        found = NAME.match(name)
        if not found:
            continue
        file = folder / "dump_tensor_data" / f"{name}.output.0.npy"
        if not file.is_file() or file.is_symlink():
            dropped.append(f"{name}: no {file.name}")
            continue
        modules.append(_record(found, file, passes))
    if not modules:
        why = dropped[0] if dropped else "no module's forward output is listed"
        raise FileFormatError(
            f"{folder} holds no tensor to compare ({why})",
            mend="Dump level L0 with task tensor, and save the .pt files as .npy where they were made.",
        )
    return Dump(modules=tuple(modules), dropped=tuple(dropped), passes=tuple(passes.tokens))


def _record(found: re.Match[str], file: Path, passes: Passes) -> dict[str, Any]:
    shape = npy_shape(file)
    numbers = math.prod(shape)
    rows = passes.rows(found["module"], math.prod(shape[:-1]), numbers)
    return {
        "key": "",
        "module": found["module"],
        "class": found["kind"],
        "tokens": len(rows),
        "width": numbers // len(rows) if rows else 0,
        "step": max(0, len(passes.tokens) - 1),
        "rows": rows,
        "bad": 0,
        "rank": 0,
        "file": str(file),
    }


def npy_shape(file: Path) -> tuple[int, ...]:
    """The shape in a `.npy` header, without numpy; raises FileFormatError for objects and broken headers."""
    with file.open("rb") as stream:
        head = stream.read(10)
        if head[:6] != b"\x93NUMPY" or len(head) < 10:
            raise FileFormatError(f"{file} is no .npy file")
        long = head[6] >= 2
        size = struct.unpack("<I", head[8:10] + stream.read(2))[0] if long else struct.unpack("<H", head[8:10])[0]
        if size > 65536:
            raise FileFormatError(f"{file}: a header of {size} bytes")
        text = stream.read(size).decode("latin-1")
    kind = re.search(r"'descr':\s*'([^']+)'", text)
    shape = re.search(r"'shape':\s*\(([^)]*)\)", text)
    if not kind or "O" in kind[1] or not shape:
        raise FileFormatError(f"{file}: not an array of numbers")
    return tuple(int(n) for n in re.findall(r"\d+", shape[1]))
