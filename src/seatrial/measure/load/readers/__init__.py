"""Results of outside tools, read into the one vocabulary. A figure the tool does not give is unknown, never 0.

`read_results(path)` finds out which tool wrote a file or folder; `read_results(path, tool)` insists.
"""

from __future__ import annotations

import os
from pathlib import Path

from seatrial.core.errors import FileFormatError, UsageError
from seatrial.measure.load.metrics import Metrics
from seatrial.measure.load.readers import aiperf, evalscope, guidellm, own, seed, vllm
from seatrial.measure.load.readers.base import Read, document

READERS = {
    "builtin": own,
    "evalscope": evalscope,
    "vllm": vllm,
    "guidellm": guidellm,
    "aiperf": aiperf,
    "seed": seed,
}

MOST_FILES = 20_000

__all__ = ["READERS", "Read", "read_results"]


def read_results(path: Path, tool: str | None = None) -> list[Read]:
    """Every result under `path` (a file, or a folder searched down). Raises FileFormatError when there is none."""
    if tool is not None and tool not in READERS:
        raise UsageError(f"unknown tool {tool!r}", mend=f"Known: {', '.join(READERS)}.")
    files = _candidates(path)
    found: list[Read] = []
    refused = []
    for file in files:
        data = document(file)
        for name, reader in READERS.items():
            if (tool is None or tool == name) and reader.knows(file, data):
                found.extend(Read(file=str(file), metrics=m) for m in _checked(reader.read(file, data), file))
                break
        else:
            refused.append(file.name)
    if not found:
        what = f"of {tool} " if tool else ""
        seen = f" ({', '.join(refused[:5])} is none)" if refused else ""
        raise FileFormatError(f"{path}: holds no result {what}that is known{seen}", mend="Name the tool's output.")
    return found


def _candidates(path: Path) -> list[Path]:
    if path.is_dir():
        files = _found(path)
        # Beside the summary lie files of the same run that only its reader looks into.
        inner = {"benchmark_percentile.json", "benchmark_args.json"}
        # aiperf keeps the figures of single phases, its warm-up among them, beside those of the whole.
        return [f for f in files if f.name not in inner and "phases" not in f.relative_to(path).parts]
    if not path.is_file():
        raise FileFormatError(f"{path}: is not there", mend="Name the tool's output file or folder.")
    return [path]


def _found(folder: Path) -> list[Path]:
    """The JSON files under a folder, not through links; what vanishes or cannot be entered is passed over."""
    found: list[Path] = []
    seen = 0
    for place, _, names in os.walk(folder):
        seen += len(names) + 1
        if seen > MOST_FILES:
            raise FileFormatError(f"{folder}: holds over {MOST_FILES:,} files", mend="Name the tool's own folder.")
        found += [Path(place, n) for n in names if n.endswith(".json")]
    return sorted(f for f in found if f.is_file() and not f.is_symlink())


def _checked(results: list[Metrics], file: Path) -> list[Metrics]:
    for metrics in results:
        if metrics.success is not None and metrics.total is not None and metrics.success > metrics.total:
            raise FileFormatError(f"{file}: {metrics.success} requests succeeded of {metrics.total}")
    return results
