"""Every rule, found by its file; a file that does not import stops the program, it is never skipped."""

from __future__ import annotations

import importlib
from pathlib import Path

from seatrial.adapter.lint.rule import Rule

FILES = sorted(f.stem for f in Path(__file__).parent.glob("[a-z]*.py") if f.stem[-1:] != "_" and f.stem != "common")
RULES: tuple[Rule, ...] = tuple(importlib.import_module(f"{__name__}.{name}").RULE for name in FILES)
if len({r.code for r in RULES}) != len(RULES):
    raise ValueError("two lint rules share a code")
