"""Whether a call, as it is written, fits a function, as it is written."""

from __future__ import annotations

import ast
from typing import NamedTuple

# Decorators that leave a function's parameters as they are.
TRANSPARENT = {
    "abstractmethod", "cache", "cached_property", "classmethod", "contextmanager", "deprecated", "final",
    "inference_mode", "instrument", "lru_cache", "no_grad", "override", "run_once", "staticmethod",
    "asynccontextmanager", "tracing",
}  # fmt: skip


class Signature(NamedTuple):
    """Parameters after binding: positional names, how many of them are required, keyword-only ones (True: required)."""

    positional: tuple[str, ...]
    required: int
    positional_only: int
    keyword_only: dict[str, bool]
    var_positional: bool
    var_keyword: bool


class Misfit(NamedTuple):
    """Why a call does not fit: the finding's code and the words."""

    code: str
    message: str


def is_plain(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether every decorator is known to keep the parameters."""
    return all(decorator_name(d) in TRANSPARENT for d in function.decorator_list)


def decorator_name(node: ast.expr) -> str:
    """Last part of a decorator's name, without its arguments."""
    return ast.unparse(node.func if isinstance(node, ast.Call) else node).split(".")[-1]


def has_decorator(function: ast.AST, name: str) -> bool:
    return any(decorator_name(d) == name for d in getattr(function, "decorator_list", []))


def signature(function: ast.FunctionDef | ast.AsyncFunctionDef, *, bound: bool) -> Signature:
    """The parameters a caller fills; `bound` leaves out the first one (self or cls)."""
    arguments = function.args
    names = [a.arg for a in [*arguments.posonlyargs, *arguments.args]]
    required = len(names) - len(arguments.defaults)
    skip = 1 if bound and names else 0
    return Signature(
        positional=tuple(names[skip:]),
        required=max(0, required - skip),
        positional_only=max(0, len(arguments.posonlyargs) - skip),
        keyword_only={a.arg: d is None for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)},
        var_positional=arguments.vararg is not None,
        var_keyword=arguments.kwarg is not None,
    )


def misfits(sign: Signature, call: ast.Call, what: str) -> list[Misfit]:
    """Reasons for a TypeError when `call` reaches `what`; an unpacked argument leaves open what it may fill."""
    stars = any(isinstance(a, ast.Starred) for a in call.args)
    spread = any(k.arg is None for k in call.keywords)
    given = [k.arg for k in call.keywords if k.arg is not None]
    found = []
    by_keyword = set(sign.positional[sign.positional_only :]) | set(sign.keyword_only)
    unknown = [name for name in given if name not in by_keyword]
    if unknown and not sign.var_keyword:
        found.append(Misfit("K004", f"{what} takes no argument {', '.join(map(repr, unknown))}"))
    count = len(call.args)
    if not stars and count > len(sign.positional) and not sign.var_positional:
        found.append(Misfit("K006", f"{what} takes {len(sign.positional)} positional arguments, {count} are given"))
    twice = [n for n in sign.positional[:count] if n in given] if not stars else []
    if twice:
        found.append(Misfit("K006", f"{what} is given {', '.join(map(repr, twice))} twice"))
    if not stars and not spread:
        filled = set(sign.positional[:count]) | set(given)
        missing = [n for n in sign.positional[: sign.required] if n not in filled]
        missing += [n for n, needed in sign.keyword_only.items() if needed and n not in filled]
        if missing:
            found.append(Misfit("K005", f"{what} needs the argument {', '.join(map(repr, missing))}"))
    return found
