"""Are two runs comparable? Their setups, field by field: same, allowed (the thing under test, declared) or forbidden.

With one forbidden difference there is no percentage, no winner and no chart: only this list.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Literal

from seatrial.core.record import Record
from seatrial.measure.compare.setup import NEEDED, PROFILED, TUNABLE, TUNABLE_PREFIXES, Fact, Setup

Kind = Literal["same", "allowed", "forbidden"]


class Difference(Record):
    """One field. `why` says why it is forbidden or what allows it."""

    field: str
    kind: Kind
    a: Fact
    b: Fact
    why: str = ""


class Fairness(Record):
    """`differences` without those that are the same, of which there are `same`. `under_test` as declared."""

    same: int
    differences: tuple[Difference, ...]
    under_test: tuple[str, ...]

    @property
    def is_fair(self) -> bool:
        return not any(d.kind == "forbidden" for d in self.differences)

    def forbidden(self) -> list[Difference]:
        return [d for d in self.differences if d.kind == "forbidden"]


def fairness(a: Setup, b: Setup, under_test: Iterable[str]) -> Fairness:
    """`under_test`: names of fields (or patterns such as `flag.*`) that may differ because they are what is studied.

    Only what belongs to the engine's configuration can be declared: a different model or workload is another question,
    not a fair one. A declared field that does not differ is forbidden too: then nothing was tested.
    """
    declared = tuple(under_test)
    found: list[Difference] = []
    same = 0
    for name in sorted({*a.facts, *b.facts, *NEEDED}):
        left, right = a.get(name), b.get(name)
        if left is None and right is None and name not in NEEDED:
            continue
        if left is None or right is None:
            optional = name not in NEEDED and _may_differ(name) and _is_declared(name, declared)
            who = "both sides" if left is None and right is None else a.label if left is None else b.label
            why = f"declared: {name}, left out on {who}" if optional else f"not known of {who}"
            found.append(Difference(field=name, kind="allowed" if optional else "forbidden", a=left, b=right, why=why))
        elif left == right and type(left) is type(right):
            same += 1
        elif not _is_declared(name, declared):
            hint = "; declare it if it is the thing under test" if _may_differ(name) else ""
            found.append(Difference(field=name, kind="forbidden", a=left, b=right, why=f"differs{hint}"))
        elif not _may_differ(name):
            why = "differs, and cannot be declared: it changes the question, not the answer"
            found.append(Difference(field=name, kind="forbidden", a=left, b=right, why=why))
        else:
            found.append(Difference(field=name, kind="allowed", a=left, b=right, why="declared as under test"))
    for pattern in declared:
        if not any(fnmatchcase(d.field, pattern) for d in found):
            why = "declared as under test, but it does not differ: nothing was tested"
            found.append(Difference(field=pattern, kind="forbidden", a=None, b=None, why=why))
    if a.is_profiled or b.is_profiled:
        name, why = PROFILED, "a run with a profiler attached is never compared"
        found.append(Difference(field=name, kind="forbidden", a=a.get(name), b=b.get(name), why=why))
    for side in (a, b):
        warmup = side.get("workload.warmup")
        if isinstance(warmup, int) and warmup < 1:
            why = f"{side.label} was not warmed up: a cold start"
            found.append(Difference(field="workload.warmup", kind="forbidden", a=warmup, b=warmup, why=why))
    return Fairness(same=same, differences=tuple(found), under_test=declared)


def _may_differ(name: str) -> bool:
    return name in TUNABLE or name.startswith(TUNABLE_PREFIXES) or name in ("quantization", "dtype", "tensor_parallel")


def _is_declared(name: str, declared: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in declared)
