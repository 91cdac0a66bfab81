"""Where a package has a name now: an index of the definitions in its source, made for the names that are missed.

Likeliest first: modules that define it before those that only assign it, those whose path shares most with the old one,
layers before single models.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from seatrial.support.modules import Package

LIMIT = 4


class Relocations:
    """Built once per package for a set of names; `modules` are last components of missing modules."""

    def __init__(self, package: Package, names: Iterable[str], modules: Iterable[str]) -> None:
        self._defined: dict[str, list[str]] = {}
        self._modules: dict[str, list[str]] = {}
        wanted = sorted({n for n in names if n.isidentifier()})
        if wanted:
            words = b"|".join(re.escape(n.encode()) for n in wanted)
            pattern = re.compile(
                rb"^(?:(?:async[ \t]+)?def|class)[ \t]+(" + words + rb")\b|^(" + words + rb")[ \t]*[:=]", re.MULTILINE
            )
            for module, text in package.texts():
                for match in pattern.finditer(text):
                    name = (match.group(1) or match.group(2)).decode()
                    places = self._defined.setdefault(name, [])
                    if module not in places:
                        places.append(module)
        last = set(modules)
        for module in package.names():
            if module.rpartition(".")[2] in last:
                self._modules.setdefault(module.rpartition(".")[2], []).append(module)

    def of_name(self, old_module: str, name: str) -> tuple[str, ...]:
        """`module.name` now, for a name that was asked of `old_module`."""
        return tuple(f"{m}.{name}" for m in self._ranked(old_module, self._defined.get(name, [])))

    def of_module(self, old_module: str) -> tuple[str, ...]:
        """Modules of the same last component."""
        return tuple(self._ranked(old_module, self._modules.get(old_module.rpartition(".")[2], [])))

    def _ranked(self, old: str, places: list[str]) -> list[str]:
        parts = set(old.split("."))

        def rank(module: str) -> tuple[bool, int, int]:
            mine = module.split(".")
            one_model = ".models." in module and ".models." not in old
            return one_model, -len(parts & set(mine)), len(mine)

        return sorted((p for p in places if p != old), key=rank)[:LIMIT]
