"""Distributions and their entry points, from metadata or, where nothing is installed, from build files.

Order of truth: `*.dist-info` (what an installation uses), `*.egg-info`, then `pyproject.toml`, `setup.cfg`, `setup.py`.
"""

from __future__ import annotations

import ast
import configparser
import sys
from email.parser import HeaderParser

from seatrial.core.record import Record
from seatrial.support.source.tree import SourceTree, Trees

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

VLLM_GROUPS = (
    "vllm.platform_plugins",
    "vllm.general_plugins",
    "vllm.io_processor_plugins",
    "vllm.stat_logger_plugins",
    "vllm.endpoint_plugins",
)


class EntryPoint(Record):
    """`group`: `name = target`, and the file that says so."""

    group: str
    name: str
    target: str
    place: str


class Distribution(Record):
    """`version` is empty when the files do not say. `installed`: described by a `dist-info` folder."""

    name: str
    version: str
    place: str
    installed: bool
    entry_points: tuple[EntryPoint, ...] = ()

    def plugins(self) -> tuple[EntryPoint, ...]:
        """Entry points of the groups vLLM loads."""
        return tuple(e for e in self.entry_points if e.group in VLLM_GROUPS)


def distributions(trees: Trees) -> list[Distribution]:
    """All distributions of the trees, in search order; the first of a name counts, as for the import system."""
    found: dict[str, Distribution] = {}
    for tree in trees:
        for distribution in [*_installed(tree), *_from_build_files(tree)]:
            key = distribution.name.lower().replace("_", "-")
            found.setdefault(key, distribution)
    return list(found.values())


def _installed(tree: SourceTree) -> list[Distribution]:
    found = []
    names = tree.names("")
    for suffix, metadata, installed in ((".dist-info/", "METADATA", True), (".egg-info/", "PKG-INFO", False)):
        for folder in (n for n in names if n.endswith(suffix)):
            head = _headers(tree.read(folder + metadata))
            name = head.get("name") or folder.split("-")[0].removesuffix(suffix)
            text = tree.read(folder + "entry_points.txt")
            points = _ini_points(text, folder + "entry_points.txt") if text else ()
            found.append(
                Distribution(
                    name=name,
                    version=head.get("version", ""),
                    place=folder.rstrip("/"),
                    installed=installed,
                    entry_points=points,
                )
            )
    return found


def _headers(data: bytes | None) -> dict[str, str]:
    """The RFC 822 headers of METADATA or PKG-INFO, lower-case keys."""
    if data is None:
        return {}
    message = HeaderParser().parsestr(data.decode("utf-8", errors="replace"), headersonly=True)
    return {key.lower(): value for key, value in message.items()}


def _ini(data: bytes) -> configparser.ConfigParser:
    """What can be read of it; nothing if it is no such file."""
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False, allow_no_value=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(data.decode("utf-8", errors="replace"))
    except configparser.Error:
        parser.clear()
    return parser


def _plain_version(cfg: configparser.ConfigParser) -> str:
    """The version in setup.cfg; empty where it points to another place ("attr: ...", "file: ...")."""
    version = cfg.get("metadata", "version", fallback="") or ""
    return "" if ":" in version else version.strip()


def _ini_points(data: bytes, place: str) -> tuple[EntryPoint, ...]:
    parser = _ini(data)
    return tuple(
        EntryPoint(group=group, name=name, target=(value or "").strip(), place=place)
        for group in parser.sections()
        for name, value in parser.items(group)
    )


def _from_build_files(tree: SourceTree) -> list[Distribution]:
    head = _headers(tree.read("PKG-INFO"))
    name, version = head.get("name", ""), head.get("version", "")
    points: list[EntryPoint] = []
    project = _pyproject(tree)
    name, version = name or str(project.get("name", "")), version or str(project.get("version", ""))
    groups = project.get("entry-points", {})
    if isinstance(groups, dict):
        points += [
            EntryPoint(group=str(g), name=str(n), target=str(t), place="pyproject.toml")
            for g, table in groups.items()
            if isinstance(table, dict)
            for n, t in table.items()
        ]
    cfg = _ini(tree.read("setup.cfg") or b"")
    if cfg.has_section("metadata"):
        name, version = name or cfg.get("metadata", "name", fallback="") or "", version or _plain_version(cfg)
    for group, lines in cfg.items("options.entry_points") if cfg.has_section("options.entry_points") else ():
        named = {(p.group, p.name) for p in points}
        points += [p for p in _points(group, (lines or "").splitlines(), "setup.cfg") if (p.group, p.name) not in named]
    setup_name, setup_points = _setup_py(tree.read("setup.py"))
    named = {(p.group, p.name) for p in points}
    points += [p for p in setup_points if (p.group, p.name) not in named]
    # The name may be made at run time; what the distribution plugs into vLLM is said all the same.
    name = name or setup_name or ("(name not in the source)" if points else "")
    if not name:
        return []
    return [Distribution(name=name, version=version, place="source", installed=False, entry_points=tuple(points))]


def _pyproject(tree: SourceTree) -> dict[str, object]:
    """The `project` table; Poetry's own, put into the same words, where there is no such table."""
    data = tree.read("pyproject.toml")
    if data is None:
        return {}
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):
        return {}
    project = document.get("project")
    if isinstance(project, dict):
        return project
    tool = document.get("tool")
    poetry = tool.get("poetry") if isinstance(tool, dict) else None
    if not isinstance(poetry, dict):
        return {}
    return {**poetry, "entry-points": poetry.get("plugins", {})}


def _setup_py(data: bytes | None) -> tuple[str, list[EntryPoint]]:
    """`name` and `entry_points` of a literal `setup(...)` call."""
    if data is None:
        return "", []
    try:
        module = ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "", []
    for node in ast.walk(module):
        if not (isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "setup"):
            continue
        values = {k.arg: k.value for k in node.keywords if k.arg}
        given = values.get("name")
        name = given.value if isinstance(given, ast.Constant) else ""
        return str(name), _literal_points(values.get("entry_points"))
    return "", []


def _literal_points(node: ast.expr | None) -> list[EntryPoint]:
    if node is None:
        return []
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return []
    if isinstance(value, str):
        return list(_ini_points(value.encode(), "setup.py"))
    points = []
    for group, lines in value.items() if isinstance(value, dict) else ():
        many = lines.splitlines() if isinstance(lines, str) else lines if isinstance(lines, (list, tuple)) else ()
        points += _points(str(group), [str(line) for line in many], "setup.py")
    return points


def _points(group: str, lines: list[str], place: str) -> list[EntryPoint]:
    """`name = target` lines of one group."""
    found = []
    for line in lines:
        entry, equals, target = line.partition("=")
        if equals:
            found.append(EntryPoint(group=group, name=entry.strip(), target=target.strip(), place=place))
    return found
