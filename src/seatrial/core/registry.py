"""A small typed registry: name to thing, refuses duplicates, its error lists the valid names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from seatrial.core.errors import UsageError

T = TypeVar("T")


class Registry(Generic[T]):
    """Things of one `kind` (used in messages) by name, in the order they were added."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._things: dict[str, T] = {}

    def add(self, name: str, thing: T) -> T:
        """Register; raises ValueError on a second thing of that name (a programming error)."""
        if name in self._things:
            raise ValueError(f"two things are registered as {self.kind} {name!r}")
        self._things[name] = thing
        return thing

    def get(self, name: str) -> T:
        """The thing; raises UsageError with the valid names."""
        try:
            return self._things[name]
        except KeyError:
            known = ", ".join(sorted(self._things)) or "none"
            raise UsageError(f"unknown {self.kind} {name!r}", mend=f"Known: {known}.") from None

    def __contains__(self, name: object) -> bool:
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)

    def values(self) -> list[T]:
        return list(self._things.values())
