"""The signature families, one file each; every file declares a tuple SIGNATURES.

A family that fails to import stops the program: a missing signature would be a silent wrong answer.
"""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path

from seatrial.core.record import Record, from_json, replace
from seatrial.triage.signature import Library, Signature

VERSIONS = Path(__file__).parent / "versions.json"


def families() -> list[str]:
    """Names of the family files, sorted."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_"))


class Versions(Record):
    """In which releases each signature's text was found: id to package to spans such as "0.11.0..0.18.1, 0.32.0".

    Made by bench/triage_versions.py from the sources of the releases in `looked_at`, oldest first.
    """

    looked_at: dict[str, tuple[str, ...]]
    found: dict[str, dict[str, str]]


@cache
def releases() -> Versions:
    """The table beside this file."""
    return from_json(Versions, VERSIONS.read_bytes(), where=str(VERSIONS))


@cache
def by_family() -> dict[str, tuple[Signature, ...]]:
    """Every family's signatures, in the order of their files, with the releases that hold their text."""
    known = releases().found
    return {
        name: tuple(
            replace(s, versions=known[s.id]) if s.id in known else s
            for s in importlib.import_module(f"{__name__}.{name}").SIGNATURES
        )
        for name in families()
    }


@cache
def library() -> Library:
    """All families together."""
    return Library(tuple(s for group in by_family().values() for s in group))
