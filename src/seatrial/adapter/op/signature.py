"""The signature of a custom op, as `torch.library.infer_schema` takes it.

In: text such as `x: torch.Tensor, eps: float = 1e-6 -> torch.Tensor`. Out: a `Signature`. Refused (UsageError): what
does not parse, a parameter without a type, a type that has no place in a schema (the list is that of PyTorch's
`torch/_library/infer_schema.py`).
"""

from __future__ import annotations

import ast
import keyword

from seatrial.core.errors import UsageError
from seatrial.core.record import Record

PLAIN = {"torch.Tensor", "int", "float", "bool", "str", "torch.dtype", "torch.device", "torch.types.Number"}
LISTS = {"torch.Tensor", "int", "float", "bool"}
RETURNS = {"None", "torch.Tensor", "int", "float", "bool"}
MEND = 'Write it as "x: torch.Tensor, eps: float -> torch.Tensor".'
SAMPLES = {
    "torch.Tensor": "torch.randn(4, 8)",
    "int": "2",
    "float": "0.5",
    "bool": "True",
    "str": '"x"',
    "torch.dtype": "torch.float32",
    "torch.device": 'torch.device("cpu")',
    "torch.types.Number": "1",
}


class Parameter(Record):
    """`kind` is the plain type; `optional` and `listed` what is around it; `default` Python text, "" for none."""

    name: str
    kind: str
    optional: bool = False
    listed: bool = False
    default: str = ""

    def annotation(self, spelled: bool) -> str:
        """`spelled`: `Optional[T]` and `List[T]`, which older PyTorch needs."""
        inner = f"{'List' if spelled else 'list'}[{self.kind}]" if self.listed else self.kind
        if not self.optional:
            return inner
        return f"Optional[{inner}]" if spelled else f"{inner} | None"

    def sample(self) -> str:
        """A value for the test."""
        value = SAMPLES[self.kind]
        return f"[{value}]" if self.listed else value


class Signature(Record):
    """Parameters in order and what is returned."""

    parameters: tuple[Parameter, ...]
    returns: str

    def tensors(self) -> tuple[str, ...]:
        """Names of the plain tensors among the parameters."""
        return tuple(p.name for p in self.parameters if p.kind == "torch.Tensor" and not p.listed and not p.optional)


def read_signature(text: str) -> Signature:
    """Parse; raises UsageError that names the parameter and what is wrong with it."""
    before, arrow, after = text.rpartition("->")
    if not arrow:
        raise UsageError(f"the signature {text!r} has no `->`", mend=MEND)
    try:
        tree = ast.parse(f"def op({before}) -> {after.strip()}: ...")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
        raise UsageError(f"the signature {text!r} does not parse: {exc}", mend=MEND) from exc
    function = tree.body[0]
    if len(tree.body) != 1 or not isinstance(function, ast.FunctionDef):
        raise UsageError(f"the signature {text!r} is none", mend=MEND)
    arguments = function.args
    if arguments.vararg or arguments.kwarg or arguments.posonlyargs or arguments.kwonlyargs:
        raise UsageError("a custom op takes plain parameters only: no *, no /", mend=MEND)
    returns = ast.unparse(function.returns) if function.returns else "None"
    if _torch(returns) not in RETURNS:
        raise UsageError(f"a custom op returns one of {', '.join(sorted(RETURNS))}, not {returns}", mend=MEND)
    missing = len(arguments.args) - len(arguments.defaults)
    names = [a.arg for a in arguments.args]
    if twice := next((n for n in names if names.count(n) > 1), ""):
        raise UsageError(f"the parameter {twice} stands twice", mend=MEND)
    parameters = []
    for number, argument in enumerate(arguments.args):
        default = ""
        if number >= missing:
            default = ast.unparse(value := arguments.defaults[number - missing])
            if not _literal(value):
                raise UsageError(
                    f"{argument.arg}: a schema takes no default {default!r}", mend="Literals only: 1, None."
                )
        parameters.append(_parameter(argument, default))
    return Signature(parameters=tuple(parameters), returns=_torch(returns))


def _torch(text: str) -> str:
    return "torch.Tensor" if text == "Tensor" else text


def _literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return False
    return True


def _parameter(argument: ast.arg, default: str) -> Parameter:
    if argument.annotation is None:
        raise UsageError(f"the parameter {argument.arg} has no type", mend=MEND)
    node, optional, listed = argument.annotation, False, False
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr) and ast.unparse(node.right) == "None":
        node, optional = node.left, True
    elif isinstance(node, ast.Subscript) and ast.unparse(node.value) in ("Optional", "typing.Optional"):
        node, optional = node.slice, True
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) in ("list", "List", "Sequence"):
        node, listed = node.slice, True
    kind = _torch(ast.unparse(node))
    if kind not in (LISTS if listed else PLAIN) or keyword.iskeyword(argument.arg):
        known = ", ".join(sorted(LISTS if listed else PLAIN))
        raise UsageError(
            f"{argument.arg}: a schema has no type {ast.unparse(argument.annotation)}", mend=f"Known: {known}."
        )
    return Parameter(name=argument.arg, kind=kind, optional=optional, listed=listed, default=default)
