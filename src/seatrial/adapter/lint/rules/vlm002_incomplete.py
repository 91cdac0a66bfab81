"""VLM002: a weight mapping that names some parts of a merged layer and forgets another."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from seatrial.adapter.lint.file import LintFile, last
from seatrial.adapter.lint.rule import Case, Hit, Rule

NAMES = {"stacked_params_mapping", "stacked_mapping"}


def check(node: ast.AST, file: LintFile) -> Iterator[Hit]:
    if not isinstance(node, ast.Assign) or not any(last(t) in NAMES for t in node.targets):
        return
    if not isinstance(node.value, (ast.List, ast.Tuple)):
        return
    parts: dict[str, list[object]] = {}
    first: dict[str, ast.expr] = {}
    for entry in node.value.elts:
        if not isinstance(entry, ast.Tuple) or len(entry.elts) != 3:
            return  # another shape, or one that is put together at run time
        merged, _, shard = entry.elts
        ids = _ids(shard)
        if not isinstance(merged, ast.Constant) or ids is None:
            return
        parts.setdefault(str(merged.value), []).extend(ids)
        first.setdefault(str(merged.value), entry)
    for merged_name, ids in parts.items():
        lacking = _lacking(merged_name, ids)
        if lacking:
            yield Hit(
                first[merged_name], f"{merged_name!r} is put together of {_list(ids)}; {_list(lacking)} is never loaded"
            )


def _ids(node: ast.expr) -> list[object] | None:
    """Shard ids of an entry: one constant, or several where one tensor fills several shards."""
    if isinstance(node, ast.Constant):
        return [node.value]
    if isinstance(node, ast.Tuple) and all(isinstance(e, ast.Constant) for e in node.elts):
        return [e.value for e in node.elts if isinstance(e, ast.Constant)]
    return None


def _lacking(name: str, ids: list[object]) -> list[object]:
    if {"q", "k", "v"} & {i for i in ids if isinstance(i, str)}:
        without_q = "kv" in name and "qkv" not in name  # cross attention keeps its q apart
        return [p for p in ("q", "k", "v") if p not in ids and not (p == "q" and without_q)]
    numbers = [i for i in ids if isinstance(i, int)]
    if not numbers or len(numbers) != len(ids):
        return []
    wanted = range(max(*numbers, 1) + 1)
    return [n for n in wanted if n not in numbers]


def _list(ids: list[object]) -> str:
    return ", ".join(map(repr, sorted(ids, key=str)))


def _mapping(*entries: str) -> str:
    return (
        "stacked_params_mapping = [\n    # (param_name, shard_name, shard_id)\n"
        + "".join(f"    {e},\n" for e in entries)
        + "]\n"
    )


_Q, _K, _V = (f'("qkv_proj", "{p}_proj", "{p}")' for p in "qkv")
_G, _U = '("gate_up_proj", "gate_proj", 0)', '("gate_up_proj", "up_proj", 1)'

RULE = Rule(
    code="VLM002",
    name="incomplete-mapping",
    summary="A stacked weight mapping forgets a part of a merged layer.",
    why="The part that is left out keeps what it was initialised with: the model loads, serves and talks nonsense. With "
    "`--load-format dummy` nothing shows.",
    mend="Add the entry: q, k and v of a QKV layer, every number of a merged one.",
    nodes=(ast.Assign,),
    check=check,
    needles=(b"stacked_",),
    good=(
        Case(code=_mapping(_Q, _K, _V, _G, _U)),
        Case(code=_mapping(_Q, _K, _V)),
        Case(code=_mapping('("in_proj_qkvz", "in_proj_qkv", (0, 1, 2))', '("in_proj_qkvz", "in_proj_z", 3)')),
        Case(code=_mapping('("encoder_attn.kv_proj", "k_proj", "k")', '("encoder_attn.kv_proj", "v_proj", "v")')),
        Case(code="stacked_params_mapping = [(a, b, c) for a, b, c in table]\n"),
        Case(code=_mapping('("fused_qkv_a_proj", "q_a_proj", 0)', '("fused_qkv_a_proj", "kv_a_proj_with_mqa", 1)')),
    ),
    bad=(
        Case(code=_mapping(_Q, _K, _G, _U), hits=(3,)),
        Case(code=_mapping(_Q, _K, _V, _G), hits=(6,)),
        Case(code=_mapping(_Q, _K, _V, _U), hits=(6,)),
        Case(code=_mapping('("in_proj", "in_proj_qkv", (0, 1))', '("in_proj", "in_proj_z", 3)'), hits=(3,)),
        Case(code=_mapping(_K, _V), hits=(3,)),
    ),
)
