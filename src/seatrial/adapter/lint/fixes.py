"""Edits put into a file's bytes. Everything outside an edit stays byte for byte as it was."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from seatrial.adapter.lint.record import Problem


def apply(source: bytes, problems: Iterable[Problem], *, python: bool = True) -> bytes:
    """The source with the fixes of as many problems as do not touch each other; equal edits are made once.

    A result that does not parse (where the source did) is refused: ValueError, which is a fault of the rule.
    """
    chosen: dict[tuple[int, int, str], None] = {}
    for problem in sorted(problems, key=lambda p: (p.line, p.column)):
        edits = [(e.start, e.end, e.text) for e in problem.fix]
        if edits and all(e in chosen or not any(_touch(e, other) for other in chosen) for e in edits):
            chosen.update(dict.fromkeys(edits))
    out = source
    for start, end, text in sorted(chosen, reverse=True):
        out = out[:start] + text.encode("utf-8") + out[end:]
    if python and out != source:
        try:
            ast.parse(out)
        except SyntaxError as exc:
            raise ValueError(f"a fix breaks the file: {exc}") from exc
    return out


def _touch(one: tuple[int, int, str], other: tuple[int, int, str]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]
