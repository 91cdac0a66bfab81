"""Renames that would explain what is left over: unplaced tensors matched to missing parameters by their names.

A tensor and a parameter match when their names end alike; what differs before is a candidate prefix rename, and the
candidate that explains most tensors is taken first. A tensor that no prefix explains is matched to the nearest missing
parameter of its size. Nothing here runs the engine; `run.py` tries the prefix renames before they are shown.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence

from seatrial.dryrun.account import DryAccount, Mend
from seatrial.dryrun.tensor import elements

# A prefix that fewer tensors vote for is chance; below this likeness two names are strangers.
FEWEST_VOTES = 3
LIKENESS = 0.75
MOST_TENSORS = 20_000


def propose(account: DryAccount) -> tuple[Mend, ...]:
    """Prefix renames, best first, then single names; untried."""
    loose = {t.name: t for t in account.tensor_troubles if t.state in ("failed", "unexplained")}
    wanted = [t for t in account.parameter_troubles if t.state == "missing"]
    if not loose or not wanted or len(loose) > MOST_TENSORS:
        return ()
    left = list(loose)
    found: list[Mend] = []
    by_ending: dict[str, list[str]] = {}
    for trouble in wanted:
        by_ending.setdefault(".".join(trouble.name.split(".")[-2:]), []).append(trouble.name)
    while len(found) < 4:
        votes = Counter(c for name in left for c in candidates(name, by_ending))
        if not votes:
            break
        (old, new), count = max(votes.items(), key=lambda item: (item[1], -len(item[0][0])))
        if count < FEWEST_VOTES:
            break
        explained = [name for name in left if name.startswith(old)]
        found.append(Mend(kind="prefix", old=old, new=new, tensors=len(explained)))
        left = [name for name in left if not name.startswith(old)]
    sizes = {t.name: t.elements for t in wanted}
    for name in left[:20]:
        near = difflib.get_close_matches(name, sizes, n=1, cutoff=LIKENESS)
        if near and name != near[0] and sizes[near[0]] * account.tp >= elements(loose[name].shape) >= sizes[near[0]]:
            found.append(Mend(kind="name", old=name, new=near[0], tensors=1))
    return tuple(found)


def candidates(name: str, by_ending: dict[str, list[str]]) -> set[tuple[str, str]]:
    """Prefix renames under which `name` becomes one of the missing parameters with the same last two components."""
    parts = name.split(".")
    found: set[tuple[str, str]] = set()
    best = 0
    for parameter in by_ending.get(".".join(parts[-2:]), ()):
        other = parameter.split(".")
        same = 0
        while same < min(len(parts), len(other)) and parts[-1 - same] == other[-1 - same]:
            same += 1
        if same < best or parts == other:
            continue
        if same > best:
            best, found = same, set()
        found.add((_prefix(parts[: len(parts) - same]), _prefix(other[: len(other) - same])))
    return found


def _prefix(parts: Sequence[str]) -> str:
    return "".join(part + "." for part in parts)


def renamed(names: Iterable[str], mends: Sequence[Mend]) -> list[str]:
    """The names with each prefix rename applied once, the first that fits."""
    result = []
    for name in names:
        fit = next((m for m in mends if m.kind == "prefix" and name.startswith(m.old)), None)
        result.append(fit.new + name[len(fit.old) :] if fit else name)
    return result


def mapper_code(mends: Iterable[Mend]) -> str:
    """A `WeightsMapper` for the model class, ready to paste."""
    entries = "".join(f"\n        {m.old!r}: {m.new!r}," for m in mends if m.kind == "prefix")
    return f"hf_to_vllm_mapper = WeightsMapper(\n    orig_to_new_prefix={{{entries}\n    }}\n)"
