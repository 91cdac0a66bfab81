"""Lint and the compatibility meter against what the plugin's maintainers later changed by hand.

    python bench/adapter_oracle.py PLUGIN_SRC ENGINE_SRC FIXED_SRC [--show N]

PLUGIN_SRC is a plugin at the state that did not fit ENGINE_SRC (a vLLM), FIXED_SRC the same plugin after people mended
it; it may hold only some of the files. Truth is taken from the two states alone, not from our resolver: an import of a
vLLM name in a file that is gone from the same file afterwards. Where the later file takes the same name from another
place, that place is the true replacement.

Recall: of the names that went away, how many lint (VLM018, KUN001) or compat (K001, K002, K013) named. Names that
ENGINE_SRC still has are counted apart: a person moved them for another reason, and no tool could know. Precision: a
name that was named is right if it is gone from FIXED_SRC; or, where people have not come to it yet, if it is plainly
not there: its module has no file in ENGINE_SRC (or in the plugin), or the file does not hold the word.
Suggestions: of the true replacements that were named, how often the first proposal is the one that was made.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import time
from pathlib import Path

from seatrial.adapter.lint import RULES, lint
from seatrial.adapter.lint.engine import EngineFacts
from seatrial.support.compat import compat

Named = tuple[str, str, str]


def imports(path: Path, relative: str) -> set[tuple[str, str]]:
    """(module, name) of every absolute `from vllm... import` and `from vllm_PLUGIN... import` in a file."""
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError:
        return set()
    package = relative.split("/")[0]
    found = set()
    for node in ast.walk(tree):
        module = node.module or "" if isinstance(node, ast.ImportFrom) and not node.level else ""
        if module.split(".")[0] in ("vllm", package):
            found.update((module, alias.name) for alias in node.names)
    return found


def files(root: Path) -> dict[str, Path]:
    return {p.relative_to(root).as_posix(): p for p in root.rglob("*.py") if p.is_file() and "tests" not in p.parts}


def by_lint(plugin: Path, engine: Path) -> set[Named]:
    """What the linter named, read back from its problems by line."""
    report = lint(plugin, RULES, engine=engine, select=["VLM018", "KUN001"]).report
    named = set()
    facts = EngineFacts.open(engine)
    for problem in report.problems:
        tree = ast.parse((Path(report.root) / problem.path).read_bytes())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.lineno == problem.line and node.module and not node.level:
                for alias in node.names:
                    ours = problem.code == "KUN001" and alias.name in problem.message
                    lost = problem.code == "VLM018" and facts.missing(node.module, alias.name)
                    if ours or lost:
                        named.add((problem.path, node.module, alias.name))
    return named


def by_compat(plugin: Path, engine: Path) -> set[Named]:
    named = set()
    for hit in compat(engine, plugin).hits:
        if hit.code in ("K001", "K002", "K013") and not hit.guarded:
            module, _, name = hit.symbol.rpartition(".")
            named.add((hit.file, module, name))
            named.add((hit.file, hit.symbol, "*"))
    return named


def plainly_missing(roots: list[Path], module: str, name: str) -> bool:
    """By text alone: no file of that module under any root, or one without the word and without a star import."""
    for root in roots:
        base = root.joinpath(*module.split("."))
        file = base.with_suffix(".py") if base.with_suffix(".py").is_file() else base / "__init__.py"
        if file.is_file():
            text = file.read_text(encoding="utf-8", errors="replace")
            sub = base / name
            return not (re.search(rf"\b{name}\b|import \*", text) or sub.exists() or sub.with_suffix(".py").exists())
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("plugin", type=Path)
    parser.add_argument("engine", type=Path)
    parser.add_argument("fixed", type=Path)
    parser.add_argument("--show", type=int, default=10)
    arguments = parser.parse_args()

    before, after = files(arguments.plugin), files(arguments.fixed)
    shared = sorted(set(before) & set(after))
    facts = EngineFacts.open(arguments.engine)
    gone: dict[Named, str] = {}
    unneeded = 0
    for path in shared:
        old, new = imports(before[path], path), imports(after[path], path)
        places = {name: module for module, name in new}
        for module, name in old - new:
            if module.split(".")[0] == "vllm" and not facts.missing(module, name):
                unneeded += 1
                continue
            gone[path, module, name] = places.get(name, "")
    replaced = {k: v for k, v in gone.items() if v}

    started = time.monotonic()
    linted = by_lint(arguments.plugin, arguments.engine)
    lint_s = time.monotonic() - started
    compatible = by_compat(arguments.plugin, arguments.engine)

    def hit(key: Named, named: set[Named]) -> bool:
        path, module, _ = key
        return key in named or (path, module, "*") in named

    together = linted | compatible
    print(f"files in both: {len(shared)}; imports that went away: {len(gone)} (of them replaced: {len(replaced)});")
    print(f"imports that were moved though the engine still has them: {unneeded} (not counted)")
    for label, named in (("lint", linted), ("compat", compatible), ("together", together)):
        found = [k for k in gone if hit(k, named)]
        moved = [k for k in replaced if hit(k, named)]
        print(f"{label}: recall {len(found)}/{len(gone)} of those gone, {len(moved)}/{len(replaced)} of those replaced")
    judged = [n for n in linted if n[0] in shared]
    mended = [n for n in judged if (n[1], n[2]) not in imports(after[n[0]], n[0])]
    roots = [arguments.engine, arguments.plugin]
    right = [n for n in judged if n in mended or plainly_missing(roots, n[1], n[2])]
    print(
        f"lint precision: {len(right)}/{len(judged)} of what it named in these files: {len(mended)} mended since, "
        f"{len(right) - len(mended)} still broken"
    )
    proposed = {k: facts.moved(k[1], k[2]) for k in replaced if k[1].split(".")[0] == "vllm"}
    first = [k for k, places in proposed.items() if places and places[0] == f"{replaced[k]}.{k[2]}"]
    same = [k for k, places in proposed.items() if places and _same(facts, places[0], replaced[k], k[2])]
    print(
        f"first proposal is the module people chose: {len(first)}/{len(proposed)}; or the same definition: {len(same)}"
    )
    print(f"lint took {lint_s:.1f} s")
    for title, rows in (
        ("missed", [k for k in gone if not hit(k, together)]),
        ("named, and no proof that it is missing", [n for n in judged if n not in right]),
        ("proposed otherwise", [(k, proposed[k][:2], replaced[k]) for k in proposed if k not in same]),
    ):
        for row in sorted(map(str, rows))[: arguments.show]:
            print(f"  {title}: {row}")
    return 0


def _same(facts: EngineFacts, proposed: str, chosen: str, name: str) -> bool:
    """Whether both places give the same definition: people may import through a re-export."""
    one = facts.names.resolve(proposed.rpartition(".")[0], name)
    other = facts.names.resolve(chosen, name)
    return one.status == "found" and (one.module, one.name) == (other.module, other.name)


if __name__ == "__main__":
    sys.exit(main())
