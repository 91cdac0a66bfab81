"""The places that a merge could not settle: what upstream had, what it has now, what a human wrote, and what moved.

In: merged text with `git merge-file`'s marks. Out: `Conflict`s, and the text with marks that say which side is which. A
vLLM name that one of the sides uses and the new vLLM has not is looked up there, as `propose` does.
"""

from __future__ import annotations

import ast
import re
from typing import NamedTuple

from seatrial.adapter.port.ground import Ground
from seatrial.core.record import Record

OURS, BASE, MIDDLE, THEIRS = "<<<<<<< ", "||||||| ", "=======", ">>>>>>> "
_SCOPE = re.compile(r"^([ \t]*)(?:async[ \t]+def|def|class)[ \t]+(\w+)")
_WORD = re.compile(r"[A-Za-z_]\w*")


class Moved(Record):
    """A name of vLLM that a side uses: where it was, and where the new vLLM has it ("" : nowhere that is certain)."""

    old: str
    new: str
    why: str


class Conflict(Record):
    """One marked place: lines of the written file from one, marks included. `symbol`: the class and function around it.

    `human` is what the file had, `old` and `new` are upstream's, all as whole lines ("" where a side has none).
    """

    line: int
    end_line: int
    symbol: str
    human: str
    old: str
    new: str
    moved: tuple[Moved, ...]


class Explained(NamedTuple):
    """The text with its marks explained, and the places."""

    text: str
    conflicts: tuple[Conflict, ...]


class _Sides:
    def __init__(self, line: int) -> None:
        self.line = line
        self.parts: dict[str, list[str]] = {OURS: [], BASE: [], THEIRS: []}


def has_marks(text: str) -> bool:
    """Whether a text holds marks of a merge that nobody settled."""
    lines = text.splitlines()
    return any(n.startswith(OURS) for n in lines) and any(n.startswith(THEIRS) for n in lines)


def explain(text: str, labels: tuple[str, str, str], texts: tuple[str, str], ground: Ground) -> Explained:
    """`labels` name the human's side, upstream's old and new one; `texts` are ours and the base, for their imports."""
    imported = {**_imports(texts[1]), **_imports(texts[0])}
    lines = text.splitlines(keepends=True)
    out: list[str] = []
    found: list[Conflict] = []
    sides: _Sides | None = None
    side = ""
    for line in lines:
        if line.startswith(OURS):
            sides, side = _Sides(len(out) + 1), OURS
            out.append(f"{OURS}human: {labels[0]}, in {_scope(out, lines)}\n")
        elif sides is not None and line.startswith(BASE):
            side = BASE
            out.append(f"{BASE}upstream, old: {labels[1]}\n")
        elif sides is not None and line.rstrip("\r\n") == MIDDLE:
            side = THEIRS
            out.append(line)
        elif sides is not None and line.startswith(THEIRS):
            human, old, new = ("".join(sides.parts[s]) for s in (OURS, BASE, THEIRS))
            moved = _moved(human + old, imported, ground)
            told = "".join(f"; {m.old} is now {m.new}" for m in moved if m.new)
            out.append(f"{THEIRS}upstream, new: {labels[2]}{told}\n")
            symbol = out[sides.line - 1].rpartition(", in ")[2].strip()
            found.append(
                Conflict(line=sides.line, end_line=len(out), symbol=symbol, human=human, old=old, new=new, moved=moved)
            )
            sides, side = None, ""
        else:
            if sides is not None:
                sides.parts[side].append(line)
            out.append(line)
    return Explained("".join(out), tuple(found))


def _scope(before: list[str], lines: list[str]) -> str:
    """The class and function that the next line stands in, by indentation; "the module" outside of all.

    The text does not parse, so it is read upwards. The first line of the conflict says how deep it stands.
    """
    at = len(before) + 1
    first = next((line for line in lines[at:] if line.strip() and not line.startswith((BASE, MIDDLE, THEIRS))), "")
    depth = len(first) - len(first.lstrip())
    names: list[str] = []
    for line in reversed(before):
        match = _SCOPE.match(line)
        if match and len(match[1]) < depth:
            depth = len(match[1])
            names.append(match[2])
    own = _SCOPE.match(first)
    return ".".join([*reversed(names), *([own[2]] if own else [])]) or "the module"


def _imports(text: str) -> dict[str, tuple[str, str]]:
    """Names that a file imports from vLLM, to module and name there."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return {}
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == "vllm":
            for alias in node.names:
                found[alias.asname or alias.name] = (node.module or "", alias.name)
    return found


def _moved(text: str, imported: dict[str, tuple[str, str]], ground: Ground) -> tuple[Moved, ...]:
    """The names of vLLM in these lines that the new one does not have where they are imported from."""
    out = {}
    for word in _WORD.findall(text):
        if word not in imported or word in out:
            continue
        module, name = imported[word]
        if ground.has(module, name):
            continue
        now = ground.moved(module, name)
        why = "this vLLM has it there" if now.module else f"candidates: {', '.join(now.candidates) or 'none'}"
        out[word] = Moved(old=f"{module}.{name}", new=f"{now.module}.{now.name}" if now.module else "", why=why)
    return tuple(out.values())
