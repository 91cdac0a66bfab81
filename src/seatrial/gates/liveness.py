"""Does the installed engine still hold the words that would print a log line?

In: folders of Python source and the words. Out: for each, whether some file holds it. Read, never imported; a file
above LARGEST is passed over.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from seatrial.targets import Target

LARGEST = 4 << 20
PACKAGES = ("vllm", "vllm_ascend", "vllm_kunlun", "vllm_fl")


def source_roots(python: Path, target: Target) -> list[Path]:
    """Where the engine's and the plugins' sources are: the target's roots, and the packages beside the interpreter."""
    named = [Path(root) for root in (target.roots.vllm, target.roots.plugin) if root]
    beside = [f for name in PACKAGES for f in python.parent.parent.glob(f"lib/python3*/*-packages/{name}")]
    return [folder for folder in (*named, *beside) if folder.is_dir()]


def living(words: Iterable[str], roots: Iterable[Path]) -> dict[str, bool]:
    """`{words: is it there}`; empty if there is no source to look at."""
    wanted = {w: w.encode() for w in words}
    found: dict[str, bool] = {}
    seen_any = False
    for root in roots:
        for file in root.rglob("*.py"):
            if file.is_symlink() or not file.is_file() or file.stat().st_size > LARGEST:
                continue
            seen_any = True
            data = file.read_bytes()
            for word, code in list(wanted.items()):
                if code in data:
                    found[word] = True
                    del wanted[word]
            if not wanted:
                return found
    return found | dict.fromkeys(wanted, False) if seen_any else {}
