"""The space of candidates: one TOML file a search, per framework flags and variables with the values to try.

In: a path. Out: `Space` and its candidates, at most as many as the tier allows, spread evenly over the whole product so
that a small tier is no corner of it. The first candidate is always the base: a search starts from what is known.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Literal

import msgspec

from seatrial.core.errors import FileFormatError
from seatrial.core.plain_file import read_plain
from seatrial.core.record import Record, from_plain

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TIERS = {1: 3, 2: 10, 3: 30}
Value = str | int | float | bool
LARGEST_PRODUCT = 100_000


class Space(Record):
    """`base` and `flags`/`env` by name; each of `flags` and `env` has the list of values to try.

    A flag's value false leaves the flag out, true sets it bare.
    """

    schema_version: int
    framework: Literal["vllm", "sglang", "xllm"]
    tier: Literal[1, 2, 3] = 2
    base: dict[str, Value] = msgspec.field(default_factory=dict)
    flags: dict[str, tuple[Value, ...]] = msgspec.field(default_factory=dict)
    env: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, values in [*self.flags.items(), *self.env.items()]:
            if not values or len(set(map(str, values))) != len(values):
                raise ValueError(f"the values of {name} must be at least one, and all different")


class Candidate(Record):
    """One configuration; `name` is what it is kept under."""

    name: str
    flags: dict[str, Value]
    env: dict[str, str]

    def args(self) -> tuple[str, ...]:
        """The flags as a command line has them."""
        words: list[str] = []
        for flag, value in self.flags.items():
            if value is False:
                continue
            words += [f"--{flag}"] if value is True else [f"--{flag}", str(value)]
        return tuple(words)


def read_space(file: Path) -> Space:
    """The space in `file`; raises FileFormatError naming file and key."""
    try:
        data = tomllib.loads(read_plain(file).decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise FileFormatError(f"{file}: not valid TOML: {exc}") from exc
    except OSError as exc:
        raise FileFormatError(f"{file}: cannot be read: {exc.strerror}", mend="Name a search's TOML file.") from exc
    space = from_plain(Space, data, where=str(file))
    if space.schema_version != 1:
        raise FileFormatError(f"{file}: schema_version is {space.schema_version}, this seatrial reads 1")
    return space


def candidates(space: Space) -> list[Candidate]:
    """At most the tier's number, the base first, without repeats."""
    names = [("flag", n) for n in space.flags] + [("env", n) for n in space.env]
    lists = [*space.flags.values(), *space.env.values()]
    size = 1
    for values in lists:
        size *= len(values)
    if size > LARGEST_PRODUCT:
        raise FileFormatError(f"the space has {size:,} configurations", mend="Give fewer values.")
    product = list(itertools.product(*lists)) if lists else []
    most = TIERS[space.tier] - 1
    if len(product) > most:
        # Even steps through the product, from its first to its last.
        product = [product[round(i * (len(product) - 1) / max(1, most - 1))] for i in range(most)]
    found = [_candidate(space.base, {})]
    for values in product:
        flags = dict(space.base)
        env: dict[str, str] = {}
        for (kind, name), value in zip(names, values, strict=True):
            if kind == "flag":
                flags[name] = value
            else:
                env[name] = str(value)
        made = _candidate(flags, env)
        if all(made.flags != c.flags or made.env != c.env for c in found):
            found.append(made)
    return found


def _candidate(flags: dict[str, Value], env: dict[str, str]) -> Candidate:
    told = [f"{n}={v}" for n, v in [*flags.items(), *env.items()]]
    return Candidate(name=", ".join(told) or "base", flags=dict(flags), env=dict(env))
