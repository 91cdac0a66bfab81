"""What a vllm-ascend does with the FlashComm1 switch: the variable `VLLM_ASCEND_ENABLE_FLASHCOMM1` and the key
`enable_flashcomm1` of --additional-config.

In: the plugin's package folder, if it can be seen, and its version. Out: `FlashComm`. The source decides where there is
one, because a number cannot: a build of the main branch calls itself 0.19.1rc2.dev…, whatever it holds.

Known by release, from the tags v0.7.1rc1 to v0.25.1rc1 and the branch releases/v0.26.0rc of the plugin: the variable is
read from 0.11.0rc1 on, the key from 0.20.2rc1 on (and goes before the variable). Main of 2026-08-21 (92616f3a64) only
warns about both; its guide of 2026-09-04 (pull request 15737) describes both as a temporary switch for vLLM's own
sequence-parallel MoE. No release after 0.26 was seen, so a later number says nothing.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Literal

from packaging.version import InvalidVersion, Version

from seatrial.core.record import Record

VARIABLE = "VLLM_ASCEND_ENABLE_FLASHCOMM1"
KEY = "enable_flashcomm1"
VARIABLE_SINCE = Version("0.11.0rc1")
KEY_SINCE = Version("0.20.2rc1")
LAST_SEEN = (0, 26)
OWN = "flashcommv1"  # without underscores in the names of its implementation, 0.11.0rc1 to 0.26
LARGEST = 2 << 20
TELLING = {"warning", "warning_once", "warn", "info", "info_once"}

Use = Literal["reads", "warns", "ignores", "unknown"]


class FlashComm(Record):
    """`reads`: it changes something; `warns`: it is only spoken of; `ignores`: it is not known there.

    `own`: does the plugin hold a FlashComm1 of its own that one of them switches? None if that is not known. `why` says
    where this was read.
    """

    variable: Use
    key: Use
    own: bool | None
    why: str


def flashcomm(package: Path | None, version: str) -> FlashComm:
    """By the source in `package` (the folder `vllm_ascend`), else by `version`, else unknown."""
    return (_by_source(package) if package is not None else None) or _by_version(version)


def _by_version(text: str) -> FlashComm:
    try:
        version = Version(text)
    except InvalidVersion:
        return FlashComm(variable="unknown", key="unknown", own=None, why="the plugin's version is not known")
    if version.is_devrelease:
        why = f"vllm-ascend {text} is a build between releases, whose number does not say what it holds"
        return FlashComm(variable="unknown", key="unknown", own=None, why=why)
    if version.release[:2] > LAST_SEEN:
        why = f"vllm-ascend {text} is newer than the releases that were looked at (up to 0.26)"
        return FlashComm(variable="unknown", key="unknown", own=None, why=why)
    variable: Use = "reads" if version >= VARIABLE_SINCE else "ignores"
    key: Use = "reads" if version >= KEY_SINCE else "ignores"
    own = version >= VARIABLE_SINCE
    return FlashComm(variable=variable, key=key, own=own, why=f"vllm-ascend {text}, by the releases' sources")


def _by_source(package: Path) -> FlashComm | None:
    """None if there is no source to read."""
    files = [f for f in sorted(package.rglob("*.py")) if f.is_file() and not f.is_symlink()] if package.is_dir() else []
    uses: dict[str, Use] = dict.fromkeys((VARIABLE, KEY), "ignores")
    own = False
    for file in files:
        if file.stat().st_size > LARGEST:
            continue
        text = file.read_text(errors="replace")
        own = own or OWN in text.lower().replace("_", "")
        if VARIABLE not in text and KEY not in text:
            continue
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError):
            continue
        for name in uses:
            use = _use(tree, name)
            if use == "reads" or uses[name] == "ignores":
                uses[name] = use
    if not files:
        return None
    return FlashComm(
        variable=uses[VARIABLE], key=uses[KEY], own=own and "reads" in uses.values(), why=f"the source in {package}"
    )


def _use(tree: ast.AST, name: str) -> Use:
    """The strongest use of a name in one file: a declaration, a look-up or an attribute reads it; an `if` whose whole
    body is a message only warns; a text in which it merely occurs is none.
    """
    told: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and not node.orelse and all(_tells(line) for line in node.body):
            told.update(ast.walk(node))
    use: Use = "ignores"
    for node in ast.walk(tree):
        named = (
            (isinstance(node, ast.Constant) and node.value == name)
            or (isinstance(node, ast.Attribute) and node.attr == name)
            or (isinstance(node, ast.Name) and node.id == name)
        )
        if named and node not in told:
            return "reads"
        if named:
            use = "warns"
    return use


def _tells(line: ast.stmt) -> bool:
    """Is it a call that only logs?"""
    call = line.value if isinstance(line, ast.Expr) else None
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in TELLING
