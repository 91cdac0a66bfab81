"""A reader of plain facts that remembers what was taken, so that the rest can be shown and nothing is lost unseen.

In: JSON data of a shape that may be another version's or hostile. Out: values of the type asked for. A value of
another type is not taken, and so turns up in `rest`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class Facts:
    """A JSON object under reading. Children taken with `child` report their own rest through their parent."""

    def __init__(self, data: Any) -> None:
        self._data: dict[str, Any] = data if isinstance(data, dict) else {}
        self._other = None if isinstance(data, dict) else data
        self._taken: set[str] = set()
        self._children: dict[str, Facts] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def peek(self, key: str) -> Any:
        """The value, without counting it as taken."""
        return self._data.get(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def take(self, key: str) -> Any:
        """The value as it is, None if absent."""
        self._taken.add(key)
        return self._data.get(key)

    def text(self, key: str) -> str:
        """A string; empty if it is absent or null."""
        return str(self._typed(key, (str,)) or "")

    def number(self, key: str) -> float | int | None:
        value = self._typed(key, (int, float))
        return value if isinstance(value, (int, float)) else None

    def whole(self, key: str) -> int | None:
        value = self._typed(key, (int,))
        return value if isinstance(value, int) else None

    def flag(self, key: str) -> bool | None:
        value = self._data.get(key)
        if value is None or isinstance(value, bool):
            self._taken.add(key)
        return value if isinstance(value, bool) else None

    def items(self, key: str) -> list[Any]:
        """A list; empty if it is absent or null."""
        return self._typed(key, (list,)) or []

    def objects(self, key: str) -> list[dict[str, Any]]:
        """A list of objects only."""
        value = self._data.get(key)
        if value is None or (isinstance(value, list) and all(isinstance(v, dict) for v in value)):
            self._taken.add(key)
            return value or []
        return []

    def texts(self, key: str) -> list[str]:
        """A list of strings only."""
        value = self._data.get(key)
        if value is None or (isinstance(value, list) and all(isinstance(v, str) for v in value)):
            self._taken.add(key)
            return value or []
        return []

    def child(self, key: str) -> Facts:
        """An object inside; empty if it is absent or null."""
        value = self._data.get(key)
        if value is None or isinstance(value, dict):
            self._taken.add(key)
        if key not in self._children:
            self._children[key] = Facts(value if isinstance(value, dict) else {})
        return self._children[key]

    def rest(self) -> Any:
        """What nobody took: an object, or the whole data where it is no object."""
        if self._other is not None:
            return self._other
        left = {k: v for k, v in self._data.items() if k not in self._taken}
        for key, child in self._children.items():
            inner = child.rest()
            if inner and key in self._taken:
                left[key] = inner
        return left

    def _typed(self, key: str, kinds: tuple[type, ...]) -> Any:
        value = self._data.get(key)
        if value is None or (isinstance(value, kinds) and not isinstance(value, bool)):
            self._taken.add(key)
            return value
        return None
