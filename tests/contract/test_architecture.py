"""The borders of the design, read from the source: import direction, two worlds, no prints, no swallowed errors."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src" / "seatrial"

# A folder may import from those before it, never from those after it. `core` is before all, `cli` after all.
ORDER = [
    "core",
    "platforms",
    "targets",
    "engine",
    "triage",
    "checkpoint",
    "support",
    "adapter",
    "dryrun",
    "gates",
    "estimate",
    "measure",
    "evidence",
    "report",
    "delivery",
    "agents",
    "workflow",
    "cli",
]
FOREIGN = {"torch", "vllm", "transformers", "vllm_ascend", "vllm_kunlun", "torch_npu", "tokenizers", "safetensors"}
FILES = sorted(p for p in SRC.rglob("*.py") if "probes" not in p.relative_to(SRC).parts)
PROBES = sorted((SRC / "engine" / "probes").glob("*.py"))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """All nodes of a file, parsed once for all tests."""
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def room(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def test_every_folder_has_its_place_in_the_order():
    rooms = {room(p) for p in FILES} - {"__init__", "__main__"}
    assert rooms <= set(ORDER)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_imports_point_one_way(path):
    if room(path) in {"__init__", "__main__"}:
        return
    place = ORDER.index(room(path))
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "seatrial" and len(parts) > 1 and parts[1] in ORDER:
            assert ORDER.index(parts[1]) <= place, f"{room(path)} imports {name}, which comes after it"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_nothing_of_the_engine_is_imported(path):
    assert not {name.split(".")[0] for name in imported(path)} & FOREIGN


def test_probes_import_only_the_standard_library_and_the_engine_at_their_top():
    import sys

    for path in PROBES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
                assert {n.split(".")[0] for n in names} <= set(sys.stdlib_module_names), f"{path}: {names}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_only_the_cli_prints_and_only_the_edges_catch_everything(path):
    edges = {"cli/main.py", "gates/runner.py"}
    relative = str(path.relative_to(SRC))
    for node in nodes(path):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            assert room(path) == "cli", f"{relative}:{node.lineno} prints"
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else ""
            broad = caught in {"", "Exception"} or (caught == "BaseException" and "raise" not in ast.unparse(node))
            assert not broad or relative in edges, f"{relative}:{node.lineno} catches everything"
        assert not isinstance(node, ast.Assert), f"{relative}:{node.lineno} asserts"


def test_no_two_test_files_have_the_same_name():
    """Test folders are no packages, so a name can be imported only once."""
    names = [path.name for path in (SRC.parents[1] / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
