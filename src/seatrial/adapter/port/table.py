"""The table of a platform: what a model file takes from the plugin instead of vLLM. Candidates; `ground` proves them.

Refuses (FileFormatError): a table that breaks its format, a version limit that is none.
"""

from __future__ import annotations

import sys
from importlib import resources
from typing import Any

import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from seatrial.core.errors import FileFormatError
from seatrial.core.record import Record, from_plain

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PLATFORMS = ("ascend", "kunlun")


class Entry(Record):
    """One line of a table: `name` of any module in `sources` becomes `to_name` (or `name`) of `to`.

    `engine` is a version specifier of vLLM, "" for any.
    """

    sources: tuple[str, ...] = msgspec.field(name="from")
    name: str
    to: str
    why: str
    to_name: str = ""
    engine: str = ""


class Device(Record):
    """What stands for the string "cuda" as a device: `expression`, of `name` imported from `module`."""

    module: str = msgspec.field(name="from")
    name: str
    expression: str


class Namespace(Record):
    """`module.X` becomes `to.X` for every X that the plugin itself uses."""

    module: str = msgspec.field(name="from")
    to: str


class Table(Record):
    """A platform's file."""

    schema_version: int
    swap: tuple[Entry, ...] = ()
    device: Device | None = None
    namespace: tuple[Namespace, ...] = ()


def read_table(platform: str) -> Table:
    """The data file of a platform; platforms without one have no swaps."""
    file = resources.files("seatrial.adapter.port") / "swaps" / f"{platform}.toml"
    if not file.is_file():
        return Table(schema_version=1)
    where = f"swaps/{platform}.toml"
    try:
        data: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as exc:
        raise FileFormatError(f"{where}: {exc}") from exc
    table = from_plain(Table, data, where=where)
    for entry in table.swap:
        try:
            SpecifierSet(entry.engine)
        except InvalidSpecifier as exc:
            raise FileFormatError(f"{where}: {entry.name}: {exc}") from exc
    return table
