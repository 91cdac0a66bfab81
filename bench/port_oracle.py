"""What `port --upgrade` proposes for a plugin's forks, against what its own later fixes wrote: recall and precision.

    python bench/port_oracle.py ENGINE_SRC FORK_ROOT FIXED_ROOT [FIXED_ROOT ...]

ENGINE_SRC is the vLLM that the forks shall run on, FORK_ROOT the plugin before, each FIXED_ROOT a later tree of it
(some model files are enough). A place is judged if a fixed file imports the name it asks for (or one that begins with
it) from where this vLLM has it, or calls the function with other arguments; the rest is counted as not judged.
"""

from __future__ import annotations

import argparse
import ast
from pathlib import Path

from seatrial.adapter.port.ground import Ground
from seatrial.adapter.port.propose import Proposal, all_hits, proposals
from seatrial.support.modules import Module, absolute


def imports(path: Path, name: str) -> list[tuple[str, str, str]]:
    """(module, name, name here) of every import in a file."""
    module = Module(name, str(path), False, path.read_bytes())
    if module.tree is None:
        return []
    return [
        (absolute(module, node), alias.name, alias.asname or alias.name)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]


def calls(path: Path, function: str) -> list[ast.Call]:
    tree = ast.parse(path.read_bytes())
    return [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func).split(".")[-1] == function]


def asked(ground: Ground, proposal: Proposal, root: Path) -> list[str]:
    """The names that the place asks for."""
    if proposal.code in ("K002",):
        return [proposal.old.rpartition(".")[2]]
    tree = ast.parse((root / proposal.file).read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.lineno == proposal.line:
            return [a.name for a in node.names]
    return []


def truth(ground: Ground, proposal: Proposal, root: Path, fixed: list[Path]) -> set[str]:
    """What the fixes import instead, where this vLLM has it; or "called" keywords for a call."""
    found: set[str] = set()
    for other in fixed:
        path = other / proposal.file
        if not path.is_file():
            continue
        if proposal.code in ("K004", "K005"):
            name = proposal.old.rpartition(".")[2]
            before = {ast.unparse(c) for c in calls(root / proposal.file, name)}
            for call in calls(path, name):
                if ast.unparse(call) not in before:
                    found |= {k.arg for k in call.keywords if k.arg} | ({"(positional)"} if call.args else set())
            continue
        module_name = proposal.file.removesuffix(".py").replace("/", ".")
        for want in asked(ground, proposal, root):
            for module, name, here in imports(path, module_name):
                same = want in (name, here) or (name.startswith(want) and module.startswith("vllm."))
                if same and module.split(".")[0] == "vllm" and ground.has(module, name):
                    found.add(f"{module}.{name}")
    return found


def right(proposal: Proposal, wanted: set[str]) -> bool:
    """Whether every part of the proposal is what a fix wrote. A class re-exported elsewhere is the same class."""
    if proposal.code in ("K004", "K005"):
        words = {w.split("=")[0].strip() for w in proposal.new.partition("(")[2].rstrip(")").split(",")}
        return bool(words & wanted) or (words == {"model"} and "(positional)" in wanted)
    return all(part in wanted for part in proposal.new.split(", "))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("fork", type=Path)
    parser.add_argument("fixed", type=Path, nargs="+")
    given = parser.parse_args()
    ground = Ground(given.engine, given.fork, "kunlun")
    found = [p for p in proposals(ground, all_hits(ground)) if "/models/" in p.file]
    judged, good, made = 0, 0, 0
    for proposal in found:
        wanted = truth(ground, proposal, given.fork, given.fixed)
        if not wanted:
            continue
        judged += 1
        made += bool(proposal.new)
        # The same definition by another door counts: both names end at one place.
        ends = {_end(ground, w) for w in wanted} | wanted
        ok = bool(proposal.new) and (
            right(proposal, wanted) or all(_end(ground, p) in ends for p in proposal.new.split(", "))
        )
        good += ok
        print(
            f"{'right' if ok else 'WRONG' if proposal.new else 'none '} {proposal.file}:{proposal.line} {proposal.old}"
        )
        if not ok:
            print(f"      proposed {proposal.new or '-'}; the fix has {', '.join(sorted(wanted))}")
    print(
        f"{len(found)} places in model files that do not fit vLLM {ground.version}; {sum(bool(p.new) for p in found)} "
        f"with a proposal; {judged} judged by the fixes"
    )
    print(f"recall {good}/{judged}, precision {good}/{made}")


def _end(ground: Ground, dotted: str) -> str:
    module, _, name = dotted.rpartition(".")
    if "(" in dotted or not ground.has(module, name):
        return dotted
    found = ground.engine.resolve(module, name)
    return f"{found.module}.{found.name}"


if __name__ == "__main__":
    main()
