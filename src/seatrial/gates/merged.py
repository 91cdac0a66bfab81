"""A JSON argument of the server laid over the one that the target or the user already gives, instead of replacing it.

In: the argument's name, what is to be added, the target's arguments, further words of the command line. Out: the one
argument that holds both, and what must be left out for it. Refuses (UsageError) a value that is no JSON object.

How vLLM reads them (its own argument parser, 0.11 to 0.32): `--name JSON` twice, the later counts alone; dotted words
(`--name.key value`) make one object that counts alone over any JSON; underscores in names are dashes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from seatrial.core.errors import UsageError
from seatrial.core.record import Record
from seatrial.platforms.base import Scalar


class Merged(Record):
    """`args` are the words to add, `drop` the target's arguments to leave out, `extra` the words that remain."""

    args: tuple[str, ...]
    drop: tuple[str, ...]
    extra: tuple[str, ...]


def merged(name: str, more: Mapping[str, Any], args: Mapping[str, Scalar], extra: Sequence[str]) -> Merged:
    """`more` over the value that would count without it; a key of `more` wins over the same key there."""
    given: list[tuple[str, str]] = []
    drop = tuple(key for key in args if _is(key, name))
    given += [(key, str(args[key])) for key in drop]
    rest: list[str] = []
    words = list(extra)
    while words:
        word = words.pop(0)
        key, equals, value = word.partition("=")
        if not (key.startswith("--") and _is(key[2:], name)):
            rest.append(word)
            continue
        if not equals:
            if not words:
                raise UsageError(f"{word} has no value", mend="Give it one, or leave it out.")
            value = words.pop(0)
        given.append((key[2:], value))
    whole: dict[str, Any] = {}
    dotted: dict[str, Any] = {}
    for key, value in given:
        _, dot, path = key.partition(".")
        if dot:
            _lay(dotted, path, value)
        else:
            whole = _object(name, value)
    value = json.dumps({**(dotted or whole), **more})
    return Merged(args=(f"--{name}", value), drop=drop, extra=tuple(rest))


def _is(key: str, name: str) -> bool:
    return key.partition(".")[0].replace("_", "-") == name


def _object(name: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise UsageError(f"--{name} is no JSON object: {text[:60]!r}", mend="Mend it in the target or the command.")
    return value


def _lay(into: dict[str, Any], path: str, text: str) -> None:
    """A dotted word: its value is JSON if it can be read as such, else a text; a plus behind the path makes a list."""
    *above, last = path.removesuffix("+").split(".")
    for part in above:
        inner = into.setdefault(part, {})
        if not isinstance(inner, dict):
            inner = into[part] = {}
        into = inner
    value: Any
    try:
        value = text.split(",") if path.endswith("+") else json.loads(text)
    except (ValueError, RecursionError):
        value = text
    into[last] = value
