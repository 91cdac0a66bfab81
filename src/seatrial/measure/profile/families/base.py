"""A kernel family: what its kernels and operators are called, with real names as its test cases."""

from __future__ import annotations

import re

from seatrial.core.record import Record


class Family(Record):
    """Names of one purpose. `patterns` are searched, case ignored; the first family in the list's order wins.

    `examples` are names that profilers really wrote; `not_these` are real names that look alike and belong elsewhere.
    """

    name: str
    about: str
    patterns: tuple[str, ...]
    examples: tuple[str, ...]
    not_these: tuple[str, ...] = ()

    def compiled(self) -> re.Pattern[str]:
        return re.compile("|".join(f"(?:{p})" for p in self.patterns), re.IGNORECASE)
