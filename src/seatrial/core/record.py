"""The base of every record: frozen, keyword-only, refuses unknown fields; and the one way to and from JSON.

In: records or JSON bytes. Out: JSON bytes or records. Refuses: unknown fields, wrong types, trailing data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from seatrial.core.errors import FileFormatError

R = TypeVar("R", bound="Record")

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform

    @dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
    class Record:
        """What a type checker sees of the class below: it cannot inherit "frozen" from a Struct."""

        def __init_subclass__(cls, *, tag_field: str | None = None, tag: str | None = None) -> None: ...

else:

    class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Base of all records. Documents that reach a file add a `schema_version` field of their own."""


def to_json(value: Any, *, indent: int | None = None) -> bytes:
    """JSON (UTF-8) of a record or of plain data. Key order is the field order, so equal records give equal bytes."""
    try:
        data = msgspec.json.encode(value)
    except UnicodeEncodeError:
        # A path or a variable that is not UTF-8 reaches us with surrogates, which JSON cannot hold.
        data = msgspec.json.encode(_escaped(msgspec.to_builtins(value)))
    return msgspec.json.format(data, indent=indent) if indent is not None else data


def _escaped(value: Any) -> Any:
    """Plain data with every surrogate as a backslash escape."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_escaped(k): _escaped(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_escaped(v) for v in value]
    return value


def to_plain(value: Any) -> Any:
    """The record as dicts, lists, strings and numbers, as `to_json` would write it."""
    return msgspec.to_builtins(value)


def from_json(kind: type[R], data: bytes | str, *, where: str) -> R:
    """Decode `data` as `kind`.

    `where` is the file or channel, for the message. Raises FileFormatError, which names the offending key.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise FileFormatError(f"{where}: {exc}") from exc


def from_plain(kind: type[R], data: Any, *, where: str) -> R:
    """Convert plain data (from TOML or YAML, say) to `kind`; raises FileFormatError like `from_json`."""
    try:
        return msgspec.convert(data, type=kind)
    except msgspec.ValidationError as exc:
        raise FileFormatError(f"{where}: {exc}") from exc


def replace(record: R, **changes: Any) -> R:
    """A copy of the record with some fields changed."""
    copy: Any = msgspec.structs.replace(record, **changes)  # type: ignore[type-var]
    return copy  # type: ignore[no-any-return]


def json_schema(kind: type[Record]) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a record."""
    return msgspec.json.schema(kind)
