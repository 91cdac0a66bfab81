"""Does the table swap what a plugin's own forks take from the plugin, and nothing else?

    python bench/port_swaps.py ENGINE_SRC PLUGIN_ROOT PLATFORM

For every model file of PLUGIN_ROOT whose namesake is in the vLLM it was copied from: the names that upstream imports
from vLLM and the fork from its own plugin (outside its models) are what people swapped; beside it stands what `port`
would swap, and where it would not, why. What people left with vLLM counts too: a platform whose operators take vLLM's
place by themselves has forks that swap no import at all, and then that is the figure. Names of the plugin that upstream
has under no name (its own helpers) are counted apart. Needs no device and changes nothing.
"""

from __future__ import annotations

import argparse
import ast
from collections import Counter
from pathlib import Path

from seatrial.adapter.port.ground import Ground
from seatrial.adapter.port.rewrite import rewrite


def imported(source: bytes) -> dict[str, tuple[str, str]]:
    """Bound name to (module, name) of every absolute `from` import."""
    return {
        alias.asname or alias.name: (node.module or "", alias.name)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and not node.level
        for alias in node.names
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("plugin", type=Path)
    parser.add_argument("platform")
    given = parser.parse_args()
    ground = Ground(given.engine, given.plugin, given.platform)
    package = ground.plugin.package
    files, kept, right, missed, extra, own = 0, 0, Counter(), Counter(), Counter(), Counter()
    for name in package.names():
        if ".models." not in name:
            continue
        upstream = ground.engine.package.get(f"vllm.model_executor.models.{name.rpartition('.')[2]}")
        fork = package.get(name)
        if upstream is None or fork is None or upstream.source is None or fork.tree is None:
            continue
        files += 1
        made = rewrite(upstream.source.decode(), upstream.name, upstream.is_package, ground)
        before = imported(rewrite(upstream.source.decode(), upstream.name, upstream.is_package, None).source.encode())
        theirs = imported(fork.source or b"")
        swapped = {e.old.rpartition(".")[2]: e for e in made.edits if e.kind == "swap"}
        refused = {e.old.rpartition(".")[2]: e.reason for e in made.edits if e.kind == "not swapped"}
        for bound, (module, word) in before.items():
            place, _ = theirs.get(bound, ("", ""))
            fork_swaps = place.startswith(f"{package.name}.") and ".models" not in place
            if fork_swaps and word in swapped:
                right[f"{module}.{word}"] += 1
            elif fork_swaps:
                missed[f"{module}.{word} -> {place}: {refused.get(word, 'no entry in the table')}"] += 1
            elif word in swapped and bound in theirs:
                extra[f"{module}.{word}; the fork keeps {theirs[bound][0]}"] += 1
            elif place.startswith("vllm."):
                kept += 1
        for bound, (place, word) in theirs.items():
            if place.startswith(f"{package.name}.") and ".models" not in place and bound not in before:
                own[f"{place}.{word}"] += 1
    print(f"{given.platform}, vLLM {ground.version}: {files} forks with a namesake")
    agreed, judged = right.total() + kept, right.total() + kept + missed.total() + extra.total()
    print(f"  swapped as the fork does: {right.total()}; not swapped: {missed.total()}; swapped alone: {extra.total()}")
    print(f"  left with vLLM as the fork does: {kept}; so {agreed} of {judged} names of upstream agree")
    print(f"  names of the plugin that upstream has under no name: {own.total()}")
    for title, counts in (("as the fork", right), ("not swapped", missed), ("alone", extra)):
        for what, count in counts.most_common():
            print(f"  {title}: {count} x {what}")


if __name__ == "__main__":
    main()
