"""A rule: its code, what it says, what it looks at, and the cases that prove it.

`rules/` holds one file a rule. Tests, the docs page and the list in SARIF are made from the same declarations.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from seatrial.core.record import Record

if TYPE_CHECKING:
    from seatrial.adapter.lint.file import LintFile

DEFAULT_PATH = "vllm_plugin/models/thing.py"


class Case(Record):
    """A piece of code. `hits` are the lines the rule fires on (none: a good case), `fixed` the code after the fix.

    `architectures` is what the named checkpoint's config.json says. `others` are more files of the same plugin, by
    path; `engine` is a small vLLM, by path, for a rule that asks one.
    """

    code: str
    hits: tuple[int, ...] = ()
    fixed: str = ""
    path: str = DEFAULT_PATH
    others: dict[str, str] = msgspec.field(default_factory=dict)
    engine: dict[str, str] = msgspec.field(default_factory=dict)
    architectures: tuple[str, ...] = ()


class TextHit(NamedTuple):
    """In a file that is no Python: the bytes from `start` to `end`, what is wrong, and what they should be."""

    start: int
    end: int
    message: str
    text: str


class Hit(NamedTuple):
    """What a rule's check yields: the node it is about, what is wrong there, and edits (start, end, text) if any."""

    node: ast.AST
    message: str
    edits: tuple[tuple[int, int, str], ...] = ()


Check = Callable[[ast.AST, "LintFile"], Iterator[Hit]]
TextCheck = Callable[[bytes], Iterator[TextHit]]
# A commit and what is wrong with it; or, as a plain string, why nothing could be said.
CommitCheck = Callable[[Path, str], "list[tuple[str, str]] | str"]


class Rule(NamedTuple):
    """`check` sees every node of the types `nodes`, in files whose bytes hold one of `needles` (none: every file).

    `texts` also looks at scripts, configurations and documents that hold a needle. `commits` looks at the repository's
    history instead (folder, first revision left out). `platforms` empty: all. `needs_engine`: not run without
    `--engine`. `off_because`: run only when selected, for this reason. `in_tests`: also in test files. `mend` says what
    to do, `why` what goes wrong otherwise, with the source of that knowledge.
    """

    code: str
    name: str
    summary: str
    why: str
    mend: str
    nodes: tuple[type[ast.AST], ...] = ()
    check: Check | None = None
    texts: TextCheck | None = None
    commits: CommitCheck | None = None
    needles: tuple[bytes, ...] = ()
    platforms: tuple[str, ...] = ()
    needs_engine: bool = False
    off_because: str = ""
    in_tests: bool = False
    fixable: bool = False
    good: tuple[Case, ...] = ()
    bad: tuple[Case, ...] = ()
