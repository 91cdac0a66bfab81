"""The signature families, one file each; every file declares a tuple SIGNATURES.

A family that fails to import stops the program: a missing signature would be a silent wrong answer.
"""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path

from seatrial.triage.signature import Library, Signature


def families() -> list[str]:
    """Names of the family files, sorted."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_"))


@cache
def by_family() -> dict[str, tuple[Signature, ...]]:
    """Every family's signatures, in the order of their files."""
    return {name: importlib.import_module(f"{__name__}.{name}").SIGNATURES for name in families()}


@cache
def library() -> Library:
    """All families together."""
    return Library(tuple(s for group in by_family().values() for s in group))
