"""Lint, the compatibility meter and `port --upgrade` against what a plugin's maintainers later mended by hand.

    python bench/adapter_oracle.py PLUGIN_SRC ENGINE_SRC FIXED_SRC [--platform P] [--show N]

PLUGIN_SRC is a plugin at the state that did not fit ENGINE_SRC (a vLLM), FIXED_SRC the same plugin after people mended
it; it may hold only some of the files. The truth is adapter_truth.py's: imports, attributes and arguments that went
from a file and that this vLLM plainly lacks. A row a file: how many went; how many lint and compat named; how many were
replaced by something of this vLLM, and for how many of those `port --upgrade` proposes the same definition; and its
proposals that people contradicted: something else of vLLM stands there now.

Named rightly: what was named is gone from the mended file, or plainly missing in the sources still. The remaining
proposals, for places that people have dropped, rewritten or not come to, cannot be judged and are counted so. A file
that does not parse is a row of its own.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from adapter_truth import Mended, Tree, files, mended, parse

from seatrial.adapter.lint import RULES, lint
from seatrial.adapter.lint.engine import EngineFacts
from seatrial.adapter.port.ground import Ground
from seatrial.adapter.port.propose import all_hits, proposals
from seatrial.support.compat.records import Hit

Named = dict[str, set[str]]
NAMES, ARGUMENTS = ("K001", "K002", "K003", "K013"), ("K004",)


class Row(NamedTuple):
    """One file. `wrong`: proposals that people contradicted, as (asked, proposed, what stands there)."""

    file: str
    mended: list[Mended]
    lint: set[str]
    compat: set[str]
    proposed: set[str]
    wrong: list[tuple[str, str, str]]
    error: str = ""

    @property
    def replaced(self) -> list[Mended]:
        return [m for m in self.mended if m.now]


class Judged(NamedTuple):
    """One plugin's mending. `alarms`: named, still there afterwards, and not plainly missing. `open`: not judged."""

    rows: list[Row]
    named: int
    alarms: list[str]
    proposals: int
    open: int


def by_lint(plugin: Path, engine: Path, platform: str) -> Named:
    """What the linter named, read back from its problems by line."""
    report = lint(plugin, RULES, engine=engine, platform=platform, select=["VLM018", "KUN001", "VLM012"]).report
    named: Named = defaultdict(set)
    facts = EngineFacts.open(engine)
    trees: dict[str, ast.Module | None] = {}
    for problem in report.problems:
        path = Path(report.root) / problem.path
        tree = trees.setdefault(problem.path, parse(path))
        file = problem.path[problem.path.find("vllm_") :]
        for node in ast.walk(tree) if tree is not None else ():
            if getattr(node, "lineno", 0) != problem.line:
                continue
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    ours = problem.code == "KUN001" and alias.name in problem.message
                    if ours or (problem.code == "VLM018" and facts.missing(node.module, alias.name)):
                        named[file].add(f"{node.module}.{alias.name}")
            elif isinstance(node, ast.Call) and problem.code == "VLM012":
                name, _, lost = problem.message.partition("() of this vLLM takes no ")
                if ast.unparse(node.func).split(".")[-1] == name:
                    named[file] |= {f"{name}({word})" for word in lost.split(":")[0].split(", ")}
    return named


def by_compat(hits: Iterable[Hit]) -> Named:
    """What the meter's checks found, guarded places left out."""
    named: Named = defaultdict(set)
    for hit in hits:
        if hit.code in NAMES:
            named[hit.file].add(hit.symbol)
        elif hit.code in ARGUMENTS:
            words = re.findall(r"'(\w+)'", hit.message)
            named[hit.file] |= {f"{hit.symbol.split('.')[-1]}({word})" for word in words}
    return named


def holds(named: Iterable[str], item: Mended) -> bool:
    """Whether a dotted name, or the module it was asked of, or the call's argument is among those named."""
    if item.kind == "argument":
        return item.asked in named
    return item.asked in named or item.asked.rpartition(".")[0] in named


def proposed(ground: Ground, hits: list[Hit]) -> dict[str, dict[str, str]]:
    """Of every file, what is asked for and what stands proposed for it; an argument by its call."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for proposal in proposals(ground, hits):
        asked = [proposal.old]
        if proposal.code in ("K004", "K005"):
            lost = proposal.why.rpartition("), no ")[2].split(", ") if "), no " in proposal.why else []
            asked = [f"{proposal.old.split('.')[-1]}({word})" for word in lost]
        for each in asked:
            found[proposal.file].setdefault(each, proposal.new)
    return found


def same(ground: Ground, new: str, item: Mended) -> bool:
    """Whether a proposal is what people wrote. A re-export of the same definition is the same."""
    if item.kind == "argument":
        return any(f"{word}=" in new for word in item.now)
    return bool(_ends(ground, [new]) & _ends(ground, item.now))


def _ends(ground: Ground, names: Iterable[str]) -> set[str]:
    ends = set()
    for dotted in names:
        module, _, name = dotted.rpartition(".")
        found = ground.engine.resolve(module, name) if ground.has(module, name) else None
        ends.add(f"{found.module}.{found.name}" if found is not None and found.status == "found" else dotted)
    return ends


def judge(plugin: Path, engine: Path, fixed: Path, platform: str, renamed: Mapping[str, str] | None = None) -> Judged:
    """`renamed`: paths in PLUGIN_SRC to paths in FIXED_SRC, where they differ."""
    before, after = files(plugin), files(fixed)
    sides = Tree(engine), Tree(plugin)
    pairs = {p: after[(renamed or {}).get(p, p)] for p in before if (renamed or {}).get(p, p) in after}
    linted = by_lint(plugin, engine, platform)
    ground = Ground(engine, plugin, platform)
    hits = all_hits(ground)
    metered, offered = by_compat(hits), proposed(ground, hits)
    rows, alarms, count, made, undecided = [], [], 0, 0, 0
    for path, later in pairs.items():
        broken = [str(p) for p in (before[path], later) if parse(p) is None]
        if broken:
            rows.append(Row(path, [], set(), set(), set(), [], f"does not parse: {', '.join(broken)}"))
            continue
        found = mended(before[path], later, path, *sides)
        good, wrong = set(), []
        truth = {m.asked: m for m in found}
        for asked, new in offered[path].items():
            item = truth.get(asked)
            made += bool(new)
            if item is None or not item.now:
                undecided += bool(new)
            elif new and same(ground, new, item):
                good.add(asked)
            elif new:
                wrong.append((asked, new, ", ".join(item.now)))
        rows.append(
            Row(
                path,
                found,
                {m.asked for m in found if holds(linted[path], m)},
                {m.asked for m in found if holds(metered[path], m)},
                good,
                wrong,
            )
        )
        names = {n for n in linted[path] | metered[path] if "(" not in n}
        count += len(names)
        alarms += [f"{path}: {n}" for n in sorted(names) if not _gone(n, truth) and not _plain(n, sides)]
    return Judged(rows, count, alarms, made, undecided)


def _gone(named: str, truth: Mapping[str, Mended]) -> bool:
    return any(named in (asked, asked.rpartition(".")[0]) for asked in truth)


def _plain(named: str, sides: tuple[Tree, Tree]) -> bool:
    """Whether the sources lack it by text: as a name of a module, a module, or an attribute of a class."""
    side = sides[0] if named.startswith("vllm.") else sides[1]
    module, _, name = named.rpartition(".")
    if side.lacks(module, name) or side.lacks_module(named):
        return True
    owner, _, cls = module.rpartition(".")
    node = side.definition(owner, cls) if cls[:1].isupper() else None
    return node is not None and not re.search(rf"\b{name}\b", ast.unparse(node))


def show(judged: Judged) -> None:
    print(f"{'file':<64} {'mended':>6} {'lint':>5} {'compat':>6} {'replaced':>8} {'proposed':>8} {'wrong':>5}")
    for row in judged.rows:
        if row.error:
            print(f"{row.file:<64} {row.error}")
        elif row.mended or row.wrong:
            right = sum(m.asked in row.proposed for m in row.replaced)
            print(
                f"{row.file[-64:]:<64} {len(row.mended):>6} {len(row.lint):>5} {len(row.compat):>6} "
                f"{len(row.replaced):>8} {right:>8} {len(row.wrong):>5}"
            )


def examples(judged: Judged, most: int) -> None:
    for title, lines in details(judged):
        for line in lines[:most]:
            print(f"  {title}: {line}")


def details(judged: Judged) -> list[tuple[str, list[str]]]:
    missed, unsaid, wrong = [], [], []
    for row in judged.rows:
        for m in row.mended:
            if m.asked not in row.lint | row.compat:
                missed.append(f"{row.file}: {m.asked} ({m.by})")
            elif m.now and m.asked not in row.proposed and m.asked not in {w[0] for w in row.wrong}:
                unsaid.append(f"{row.file}: {m.asked}; people wrote {', '.join(m.now)} ({m.by})")
        wrong += [f"{row.file}: {a}; proposed {n}; people wrote {t}" for a, n, t in row.wrong]
    return [
        ("missed", missed),
        ("named, nothing proposed", unsaid),
        ("proposed otherwise", wrong),
        ("no proof", judged.alarms),
    ]


def totals(title: str, judged: Iterable[Judged]) -> None:
    """Recall and precision over one or several."""
    every = list(judged)
    rows = [r for j in every for r in j.rows if not r.error]
    for kind in ("name", "attribute", "argument"):
        items = [(r, m) for r in rows for m in r.mended if m.kind == kind]
        if not items:
            continue
        lints = sum(m.asked in r.lint for r, m in items)
        meters = sum(m.asked in r.compat for r, m in items)
        both = sum(m.asked in r.lint | r.compat for r, m in items)
        moved = [(r, m) for r, m in items if m.now]
        right = sum(m.asked in r.proposed for r, m in moved)
        print(
            f"{title}: {kind}s mended {len(items)}; named by lint {lints}, by compat {meters}, by either {both}; "
            f"replaced by this vLLM's {len(moved)}, proposed rightly {right}"
        )
    wrong = sum(len(r.wrong) for r in rows)
    right = sum(len(r.proposed) for r in rows)
    named, alarms = sum(j.named for j in every), sum(len(j.alarms) for j in every)
    print(f"{title}: {len(rows)} files in both; named with proof {named - alarms}/{named}")
    print(
        f"{title}: of {sum(j.proposals for j in every)} proposals {right} right, {wrong} wrong, "
        f"{sum(j.open for j in every)} not judged (people dropped the place, rewrote it or left it)"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plugin", type=Path)
    parser.add_argument("engine", type=Path)
    parser.add_argument("fixed", type=Path)
    parser.add_argument("--platform", default="kunlun")
    parser.add_argument("--show", type=int, default=10)
    given = parser.parse_args()
    judged = judge(given.plugin, given.engine, given.fixed, given.platform)
    show(judged)
    examples(judged, given.show)
    totals(given.platform, [judged])
    return 0


if __name__ == "__main__":
    sys.exit(main())
