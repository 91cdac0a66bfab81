"""What AISBench was told to ask: `configs/TIME_PID.py` of a run folder, one for every time it was started there.

In: the folder of one run. Out: `Asked`. AISBench has no count of a data set's questions in its results; its own dump of
its settings says whether it took all of them: `test_range` of a data set (`--num-prompts N` becomes `[:N]`), by its
source of August 2026. The dump is Python text that mmengine writes, of nothing but names, `dict(...)`, lists and
constants. It is parsed and never run; whatever else stands in it is left out, and where it could bear on what was
asked, the file counts as unread. Never raises: a file that cannot be read makes unknown what it would have said.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

from seatrial.core.plain_file import read_plain
from seatrial.core.record import Record

LARGEST = 8 << 20  # bytes of one file; the largest suites come to some hundred KiB
MOST = 200  # files that are looked at
FIRST = re.compile(r"\[\s*:\s*(\d{1,18})\s*\]")
COUNT = re.compile(r"\d{1,18}")
WHOLE = re.compile(r"(\[\s*0?\s*:\s*\])?")
TELLING = ("datasets", "cli_args", "num_prompts")
OTHER = object()  # what is no plain data


class Asked(Record):
    """`ranges`: data set to what each start took of it ("" for all, `[:N]`, a number as text).

    `unread`: why nothing, or not everything, is known; "" where all files were read. `temperature`, `chat`: of the
    model's requests, None where they are not said or not the same in all.
    """

    ranges: dict[str, tuple[str, ...]]
    unread: str = ""
    temperature: float | None = None
    chat: bool | None = None

    def cut(self, dataset: str, answered: int) -> str:
        """Why `answered` questions of the data set may not be all of them; "" if they are."""
        ranges = self.ranges.get(dataset)
        if self.unread or ranges is None:
            why = self.unread or f"its configs/ do not name {dataset}"
            return f"it is not known whether all questions of {dataset} were asked: {why}"
        for taken in ranges:
            first = FIRST.fullmatch(taken)
            most = int(first[1] if first else taken) if first or COUNT.fullmatch(taken) else None
            # A first N of a data set that has fewer is all of it; 0 takes all.
            if not WHOLE.fullmatch(taken) and (most is None or 0 < most <= answered or (most == 0 and first)):
                return f"AISBench took only {taken[:80]} of {dataset} (configs/)"
        return ""


def read_asked(folder: Path, model: str) -> Asked:
    """`model`: its abbreviation, which is the name of its folder of results."""
    files = sorted((folder / "configs").glob("*.py"))
    if not files:
        return Asked(ranges={}, unread="AISBench's configs/ are not there")
    if len(files) > MOST:
        return Asked(ranges={}, unread=f"configs/ holds {len(files)} files")
    ranges: dict[str, list[str]] = {}
    heat: set[float | None] = set()
    chats: set[bool | None] = set()
    for file in files:
        try:
            tree = ast.parse(read_plain(file, limit=LARGEST))
            said = _said(tree)
            for name, taken in _ranges(said).items():
                ranges.setdefault(name, []).append(taken)
            for one in _tables(said.get("models")):
                if one.get("abbr") == model:
                    heat.add(_temperature(one))
                    chats.add(_chat(str(one.get("type"))))
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as exc:
            return Asked(ranges={}, unread=f"configs/{file.name} cannot be read ({type(exc).__name__})")
    return Asked(
        ranges={name: tuple(taken) for name, taken in ranges.items()},
        temperature=heat.pop() if len(heat) == 1 else None,
        chat=chats.pop() if len(chats) == 1 else None,
    )


def _said(tree: ast.Module) -> dict[str, Any]:
    """Names to their values; ValueError where another statement, or another name, leads to what was asked."""
    said: dict[str, Any] = {}
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
        value = node.value if isinstance(node, ast.Assign) and isinstance(target, ast.Name) else None
        for part in ast.walk(value or node):
            name = part.id if isinstance(part, ast.Name) else ""
            if isinstance(part, ast.alias):
                name = part.asname or part.name
            if name in TELLING:
                raise ValueError(f"line {node.lineno} is no plain setting")
        if isinstance(target, ast.Name) and value is not None:
            said[target.id] = _plain(value)
    return said


def _ranges(said: dict[str, Any]) -> dict[str, str]:
    """ValueError where what bears on the range is no plain data."""
    given, listed = said.get("cli_args"), said.get("datasets")
    most = given.get("num_prompts") if isinstance(given, dict) else said.get("num_prompts")
    if OTHER in (given, most, listed) or (isinstance(listed, list) and OTHER in listed):
        raise ValueError("the settings are no plain data")
    found = {}
    for one in _tables(listed):
        reader = one.get("reader_cfg")
        taken = reader.get("test_range") if isinstance(reader, dict) else None
        if taken is OTHER or not (reader is None or isinstance(reader, dict)):
            raise ValueError("a reader is no plain data")
        if taken is None and isinstance(most, int) and not isinstance(most, bool):
            taken = f"[:{most}]"
        found[str(one.get("abbr"))] = "" if taken is None else str(taken)
    return found


def _temperature(model: dict[str, Any]) -> float | None:
    settings = model.get("generation_kwargs")
    value = settings.get("temperature") if isinstance(settings, dict) else None
    return (
        float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e6 else None
    )


def _chat(kind: str) -> bool | None:
    """By the class that asks: `VLLMCustomAPIChat` the chat endpoint, `VLLMCustomAPI` the completions."""
    name = kind.rsplit(".", 1)[-1]
    if not name.lower().startswith("vllm"):
        return None
    return "Chat" in name


def _tables(value: Any) -> list[dict[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _plain(node: ast.expr) -> Any:
    """`dict(a=1)`, `dict({'a b': 1})`, lists, tuples and constants as plain data; OTHER for anything else."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_plain(e) for e in node.elts]
    if isinstance(node, ast.Dict):
        keys = [k.value if isinstance(k, ast.Constant) else OTHER for k in node.keys]
        values = {k: _plain(v) for k, v in zip(keys, node.values, strict=True)}
        return OTHER if OTHER in values else {k: v for k, v in values.items() if isinstance(k, str)}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        inner = [_plain(a) for a in (*node.args, *(k.value for k in node.keywords if k.arg is None))]
        if not all(isinstance(one, dict) for one in inner):
            return OTHER
        given = {k: v for one in inner for k, v in one.items()}
        return given | {k.arg: _plain(k.value) for k in node.keywords if k.arg is not None}
    return OTHER
