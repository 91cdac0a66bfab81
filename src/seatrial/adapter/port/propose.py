"""What to write instead, where a plugin's file does not fit a vLLM: one proposal for each place, or none and why.

In: the ground, a file of the plugin. Out: `Proposal`s, by line. The places are those the compatibility meter finds (so
nothing is proposed for what fits); the replacement comes from this vLLM's source: where a name is now, a class whose
name begins with the missing one's, the parameters a function has now. Nothing is proposed that is not in that source.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from seatrial.adapter.port.ground import Ground
from seatrial.core.record import Record
from seatrial.support.compat.check_calls import check_calls
from seatrial.support.compat.check_imports import check_attributes, check_imports
from seatrial.support.compat.records import (
    MISSING_ARGUMENT,
    NO_MODULE,
    NO_NAME,
    OWN_GONE,
    UNKNOWN_ARGUMENT,
    Hit,
)
from seatrial.support.compat.signature import signature

# So many longer names are worth reading.
SEVERAL = 4
# The words of a name: `MLACommonImpl` has MLA, Common and Impl; `get_vit_backend` has get, _vit and _backend.
WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z]+|_[a-zA-Z0-9]*")


class Proposal(Record):
    """`old` is what the file has, `new` what to write ("" for nothing to propose, with the reason in `why`)."""

    file: str
    line: int
    code: str
    old: str
    new: str
    why: str


def all_hits(ground: Ground) -> list[Hit]:
    """Every place of the plugin that does not fit, guarded ones left out."""
    pair = ground.pair
    hits = [*check_imports(pair), *check_attributes(pair), *check_calls(pair)]
    return [h for h in hits if not h.guarded]


def proposals(ground: Ground, hits: list[Hit], file: str = "") -> tuple[Proposal, ...]:
    """For one file of the plugin (or, with "", for all), in order of lines; one for each place and symbol."""
    found: dict[tuple[str, int, str, str], Proposal] = {}
    for hit in hits:
        if file and hit.file != file:
            continue
        for proposal in _propose(ground, hit):
            found.setdefault((hit.file, hit.line, hit.code, proposal.old), proposal)
    return tuple(sorted(found.values(), key=lambda p: (p.file, p.line, p.old)))


def _propose(ground: Ground, hit: Hit) -> Iterator[Proposal]:
    """One for a name, an attribute or a call; for a module that is gone, one for each name asked of it."""
    whole = hit.code == NO_MODULE or (hit.code == OWN_GONE and " has no module " in hit.message)
    asked = _asked(ground, hit) if whole else []
    for old in [f"{hit.symbol}.{name}" for name in asked] or [hit.symbol]:
        module, _, name = old.rpartition(".")
        new, why = "", hit.message
        if hit.code == NO_NAME or (hit.code == NO_MODULE and asked):
            new, why = _named(ground, module, name)
        elif hit.code == NO_MODULE:
            moved = ground.moved(old, "")
            new, why = moved.module, f"candidates: {', '.join(moved.candidates) or 'none'}"
        elif hit.code == OWN_GONE:
            new, why = _own(ground, hit, module, name)
        elif hit.code in (UNKNOWN_ARGUMENT, MISSING_ARGUMENT):
            new, why = _call(ground, hit)
        yield Proposal(file=hit.file, line=hit.line, code=hit.code, old=old, new=new, why=why)


def _named(ground: Ground, module: str, name: str) -> tuple[str, str]:
    moved = ground.moved(module, name)
    if moved.module and name.startswith("_") and ground.has(module, ""):
        # Neighbours have private names in common (a table, a logger) that are other things.
        return "", f"its module has no {name} any more; {moved.module} has one of its own"
    if moved.module:
        return f"{moved.module}.{moved.name}", "this vLLM has it there"
    if moved.candidates:
        return "", f"several have it: {', '.join(moved.candidates)}"
    renamed = _renamed(ground, module, name)
    if 1 < len(renamed) <= SEVERAL:
        return "", f"this vLLM has no {name}; its words are in {', '.join(renamed)}"
    if len(renamed) == 1:
        return renamed[0], "the one name of this vLLM that has the missing one's words"
    return "", f"this vLLM has no {name}, and none that has its words"


def _renamed(ground: Ground, module: str, name: str) -> list[str]:
    """Classes and functions of a longer name: those that go on where the missing one ends, or, where the missing one
    stood, those that have its words with others between. In order of names."""
    pattern = re.compile(re.escape(name) + r"[A-Z_]\w*")
    found = _matches(ground, pattern, "")
    near = {f for f in found if f.rpartition(".")[0] == module}
    words = [re.escape(word) for word in WORDS.findall(name)]
    if not found and len(words) > 2:
        home = module if ground.has(module, "") else module.rpartition(".")[0]
        found = _matches(ground, re.compile(r"(?:[A-Z][a-z0-9]*|_\w+?)*".join(words)), home)
    return sorted(near or found)


def _matches(ground: Ground, pattern: re.Pattern[str], home: str) -> set[str]:
    """Definitions of matching names, in no single model's file; below `home`, if that is not ""."""
    return {
        f"{place}.{name}"
        for name, places in ground.definitions.items()
        if pattern.fullmatch(name)
        for place in places
        if ".models." not in place and (not home or f"{place}.".startswith(f"{home}."))
    }


def _own(ground: Ground, hit: Hit, module: str, name: str) -> tuple[str, str]:
    """A name of a module of the plugin's own that is gone: vLLM's module of the same last name, if it has the name."""
    last = module.rpartition(".")[2]
    homes = [m for m in ground.engine.package.names() if m.rpartition(".")[2] == last and ground.has(m, name)]
    if len(homes) == 1:
        return f"{homes[0]}.{name}", "vLLM's own module of that name has it"
    moved = ground.moved(module, name)
    if moved.module:
        return f"{moved.module}.{name}", "vLLM has it"
    return "", hit.message


def _asked(ground: Ground, hit: Hit) -> list[str]:
    """The names that the import statement at the hit's line asks for."""
    module = ground.plugin.package.get(hit.module)
    for node in ast.walk(module.tree) if module is not None and module.tree is not None else ():
        if isinstance(node, ast.ImportFrom) and node.lineno == hit.line:
            return [a.name for a in node.names if a.name != "*"]
    return []


def _call(ground: Ground, hit: Hit) -> tuple[str, str]:
    """The call's function as it is now: parameters that take the place of those it has no more."""
    module, name = _split(ground, hit.symbol)
    found = ground.engine.resolve(module, name.split(".")[0])
    node: ast.AST | None = found.node
    for part in name.split(".")[1:]:
        node = next((n for n in getattr(node, "body", []) if getattr(n, "name", "") == part), None)
    if isinstance(node, ast.ClassDef):
        node = next((n for n in node.body if getattr(n, "name", "") == "__init__"), None)
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return "", hit.message
    sign = signature(node, bound=bool(node.args.args) and node.args.args[0].arg in ("self", "cls"))
    parameters = [*sign.positional, *sign.keyword_only]
    quoted = re.findall(r"'(\w+)'", hit.message)
    if hit.code == MISSING_ARGUMENT:
        return f"{name}({', '.join(f'{q}=...' for q in quoted)})", f"it takes ({', '.join(parameters)})"
    given = _keywords(ground, hit)
    free = [p for p in parameters if p not in given]
    words = {w for q in [*quoted, name] for w in q.split("_") if len(w) > 2}
    near = [p for p in free if words & set(p.split("_"))]
    if len(near) == 1:
        return f"{name}({near[0]}=...)", f"it takes ({', '.join(parameters)}), no {', '.join(quoted)}"
    return "", f"it takes ({', '.join(parameters)}), no {', '.join(quoted)}"


def _split(ground: Ground, symbol: str) -> tuple[str, str]:
    """Module and the rest of a dotted symbol."""
    parts = symbol.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:cut])
        if ground.engine.package.has(module):
            return module, ".".join(parts[cut:])
    return symbol.rpartition(".")[0], symbol.rpartition(".")[2]


def _keywords(ground: Ground, hit: Hit) -> set[str]:
    module = ground.plugin.package.get(hit.module)
    for node in ast.walk(module.tree) if module is not None and module.tree is not None else ():
        if isinstance(node, ast.Call) and node.lineno == hit.line:
            return {k.arg for k in node.keywords if k.arg}
    return set()
