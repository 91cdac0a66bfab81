"""Secrets out of command lines and variables: by the name of the flag or variable, and logins inside URLs.

In: names and values. Out: the values without secrets; or, the other way round, which values are the secrets, so that
they can be found where a program has printed them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from seatrial.core.command import Command
from seatrial.core.record import replace

SECRET_NAME = re.compile(
    r"(?:^|_)(?:TOKEN|SECRETS?|PASSW(?:OR)?D|PASSPHRASE|CREDENTIALS?|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|AUTH|COOKIE)(?:_|$)",
    re.I,
)
URL_LOGIN = re.compile(r"(?<=://)[^/@\s]+@")
REDACTED = "<redacted>"
SHORTEST = 6  # characters; a shorter value would be found in words that have nothing to do with it


def redact(name: str, value: str) -> str:
    """The value of an environment variable or flag, without secrets: by its name, and logins inside URLs."""
    if SECRET_NAME.search(name) and value not in ("", "0", "1"):
        return REDACTED
    return URL_LOGIN.sub(f"{REDACTED}@", value)


def redact_arguments(argv: tuple[str, ...]) -> tuple[str, ...]:
    """A command line without secrets: `--api-key X Y`, `--api-key=X`, and logins inside URLs; also where single words
    are handed on (`--arg=--api-key --arg=X`, `--arg --api-key --arg X`).
    """
    out: list[str] = []
    hidden = _secret_places(argv)
    for handed in _handed_on(argv).values():
        hidden |= {handed[place].at for place in _secret_places([h.word for h in handed])}
    for at, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if at in hidden:
            out.append(f"{name}={REDACTED}" if equals and word.startswith("--") else REDACTED)
        elif equals and word.startswith("-") and "=" in value:
            # A pair inside an option: --arg=api-key=X, --arg=--api-key=X.
            inner, _, rest = value.partition("=")
            out.append(f"{name}={inner}={redact(_plain_name(f'{name}_{inner}'), rest)}")
        elif equals and "://" not in name:
            out.append(f"{name}={redact(_plain_name(name), value)}")
        else:
            out.append(URL_LOGIN.sub(f"{REDACTED}@", word))
    return tuple(out)


def _secret_places(argv: Sequence[str]) -> set[int]:
    """Where the values of secret flags stand: the next word whatever it is, and what follows up to the next flag."""
    found: set[int] = set()
    for at, word in enumerate(argv):
        behind = argv[at - 1] if at else ""
        is_first = behind.startswith("-") and "=" not in behind and SECRET_NAME.search(_plain_name(behind))
        if is_first or (at - 1 in found and not word.startswith("-")):
            found.add(at)
    return found


class _Handed(NamedTuple):
    at: int
    word: str


def _handed_on(argv: Sequence[str]) -> dict[str, list[_Handed]]:
    """The values of each option in order, with their places in `argv`."""
    found: dict[str, list[_Handed]] = {}
    for at, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if word.startswith("--") and equals:
            found.setdefault(name, []).append(_Handed(at, value))
        elif word.startswith("--") and at + 1 < len(argv):
            found.setdefault(name, []).append(_Handed(at + 1, argv[at + 1]))
    return found


def _plain_name(flag: str) -> str:
    return flag.lstrip("-").replace("-", "_")


def redact_plain(value: Any, name: str = "") -> Any:
    """Plain data without secrets: texts by the key they stand under, and lists of texts as command lines."""
    if isinstance(value, str):
        return redact(_plain_name(name), value)
    if isinstance(value, Mapping):
        return {k: redact_plain(v, str(k)) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        if any(isinstance(v, str) and v.startswith("-") for v in value) and all(isinstance(v, str) for v in value):
            return list(redact_arguments(tuple(value)))
        if name and all(isinstance(v, str) and "=" in v for v in value):
            # Pairs: facts as NAME=VALUE.
            pairs = (v.partition("=") for v in value)
            return [f"{n}={redact(_plain_name(n.rpartition('.')[2]), v)}" for n, _, v in pairs]
        return [redact_plain(v, name) for v in value]
    return value


def without_secrets(command: Command) -> Command:
    """The command as it may be kept."""
    return replace(command, argv=redact_arguments(command.argv), env={n: redact(n, v) for n, v in command.env.items()})


def secret_values(argv: Iterable[str], env: Mapping[str, str]) -> frozenset[str]:
    """The values of secret flags (`--api-key X Y`: all that follow) and variables, for finding them in other text."""
    found: set[str] = {v for n, v in env.items() if SECRET_NAME.search(n)}
    inside = False
    for word in argv:
        name, equals, value = word.partition("=")
        if word.startswith("-"):
            is_secret = bool(SECRET_NAME.search(_plain_name(name)))
            inside = is_secret and not equals
            found |= {value} if is_secret and equals else set()
        elif inside:
            found.add(word)
    return frozenset(value for value in found if len(value) >= SHORTEST)
