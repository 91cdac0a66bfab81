"""Load a target: the built-in file, laid over its base by `extends`, under the user's `seatrial.toml`.

In: a target's name and the folder to look from. Out: the complete `Target` and where each layer came from.
Refuses: unknown names (with the known ones), unknown keys, wrong types, loops of `extends` — naming file and key.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from seatrial.core.errors import FileFormatError, UsageError
from seatrial.core.record import Record, from_plain
from seatrial.targets.target import Target

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BUILTIN = Path(__file__).parent / "builtin"
OVERRIDES = "seatrial.toml"
SCHEMA_VERSION = 1


class Located(Record):
    """A target and the files it was made from, nearest base first."""

    target: Target
    sources: tuple[str, ...]


def find_overrides(start: Path) -> Path | None:
    """The user's `seatrial.toml` in `start` or the nearest folder above it. FileFormatError if it is no file."""
    for folder in (start, *start.parents):
        file = folder / OVERRIDES
        if file.is_file():
            return file
        if file.exists() or file.is_symlink():
            raise FileFormatError(f"{file} is not a file", mend="Move it away or replace it by a TOML file.")
    return None


def target_names(overrides: Path | None) -> list[str]:
    """Names of the built-in targets and of those in the user's file, sorted."""
    own = _read_overrides(overrides)[0] if overrides else {}
    return sorted({f.stem for f in BUILTIN.glob("*.toml")} | set(own))


def load_target(name: str, overrides: Path | None = None) -> Located:
    """The target `name`; raises UsageError for an unknown one and FileFormatError for a faulty file."""
    own, place = _read_overrides(overrides) if overrides else ({}, "")
    data, sources, lineage = _layers(name, own, place, seen=())
    data["name"] = name
    if "lineage" in data:
        raise FileFormatError(
            f"{sources[-1]}: 'lineage' of target {name!r} is not to be given", mend="Remove it: `extends` says it."
        )
    data["lineage"] = list(dict.fromkeys(lineage))
    where = sources[-1]
    target = from_plain(Target, _with_quantities(data, where), where=f"target {name!r} ({', '.join(sources)})")
    if target.schema_version != SCHEMA_VERSION:
        raise FileFormatError(f"{where}: schema_version is {target.schema_version}, this seatrial reads 1")
    return Located(target=target, sources=tuple(sources))


class _Layers(NamedTuple):
    """The merged plain data of a target, the files it came from, and the names of it and its bases."""

    data: dict[str, Any]
    sources: list[str]
    lineage: list[str]


def _layers(name: str, own: Mapping[str, Any], place: str, seen: tuple[str, ...]) -> _Layers:
    if name in seen:
        raise FileFormatError(f"{place}: targets extend each other in a loop: {' -> '.join([*seen, name])}")
    file = BUILTIN / f"{name}.toml"
    layer = own.get(name)
    is_builtin = file in BUILTIN.glob("*.toml")
    if layer is None and not is_builtin:
        known = ", ".join(sorted({f.stem for f in BUILTIN.glob("*.toml")} | set(own)))
        raise UsageError(
            f"unknown target {name[:80]!r}", mend=f"Known targets: {known}. Add your own to seatrial.toml."
        )
    data: dict[str, Any] = {}
    sources: list[str] = []
    lineage: list[str] = []
    base = (layer or {}).get("extends")
    if base is not None:
        data, sources, lineage = _layers(str(base), own, place, (*seen, name))
    if is_builtin and base is None:
        builtin = _read(file)
        parent = builtin.pop("extends", None)
        if parent is not None:
            data, sources, lineage = _layers(str(parent), {}, "", (*seen, name))
        _merge(data, builtin, str(file.name))
        sources.append(f"built-in {file.name}")
    if layer is not None:
        _merge(data, {key: value for key, value in layer.items() if key != "extends"}, place)
        sources.append(place)
    return _Layers(data, sources, [name, *lineage])


def _read(file: Path) -> dict[str, Any]:
    try:
        data: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
        return data
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise FileFormatError(f"{file}: not valid TOML: {exc}") from exc
    except OSError as exc:
        raise FileFormatError(f"{file}: cannot be read: {exc.strerror}") from exc


def _read_overrides(file: Path) -> tuple[dict[str, Any], str]:
    data = _read(file)
    extra = set(data) - {"targets", "schema_version"}
    if extra:
        raise FileFormatError(
            f"{file}: unknown key {sorted(extra)[0]!r}", mend="Allowed at the top: schema_version and [targets.NAME]."
        )
    version = data.get("schema_version", SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        raise FileFormatError(f"{file}: schema_version is {version!r}, this seatrial reads {SCHEMA_VERSION}")
    targets = data.get("targets", {})
    if not isinstance(targets, dict) or not all(isinstance(t, dict) for t in targets.values()):
        raise FileFormatError(f"{file}: 'targets' must hold tables: [targets.NAME]")
    return targets, str(file)


def _merge(into: dict[str, Any], layer: Mapping[str, Any], where: str) -> None:
    """Lay `layer` over `into`, table by table; a number replaces a quantity whole and is declared by `where`."""
    for key, value in layer.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict) and "value" not in value:
            _merge(into[key], value, where)
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and _is_quantity(into.get(key)):
            into[key] = {"value": value, "unit": into[key]["unit"], "source": "declared", "note": where}
        elif isinstance(value, Mapping):
            fresh: dict[str, Any] = {}
            _merge(fresh, value, where)
            into[key] = fresh
        else:
            into[key] = value


def _is_quantity(value: object) -> bool:
    return isinstance(value, dict) and {"value", "unit"} <= set(value)


def _with_quantities(data: dict[str, Any], where: str) -> dict[str, Any]:
    """Allow a quantity in a file to leave out `source`: it is declared there."""
    out: dict[str, Any] = {}
    for key, value in data.items():
        if _is_quantity(value):
            out[key] = {"source": "declared", "note": where, **value}
        elif isinstance(value, dict):
            out[key] = _with_quantities(value, where)
        else:
            out[key] = value
    return out
