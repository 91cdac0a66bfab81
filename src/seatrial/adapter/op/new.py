"""A custom op in three pieces (implementation, fake, registration) with its schema test, as files of a plugin.

In: a name, a signature, the plugin, the engine's sources. Out: `NewOp`: files by path below the plugin's root, and what
is left to write. Refused (UsageError): names and signatures that are none, an op file that is there, a `mutates` that
is no tensor of the signature, a vLLM without `direct_register_custom_op`.
"""

from __future__ import annotations

import ast
import keyword
from pathlib import Path

from seatrial.adapter.op.signature import read_signature
from seatrial.adapter.port.register import PluginSource
from seatrial.adapter.render import render
from seatrial.core.errors import UsageError
from seatrial.core.finding import Finding, Severity
from seatrial.core.record import Record
from seatrial.support.compat.names import Names
from seatrial.support.modules import Package
from seatrial.support.source import open_source

PACKAGE = "seatrial.adapter.op"
REGISTER = "direct_register_custom_op"
PLACES = ("vllm.utils.torch_utils", "vllm.utils")


class NewOp(Record):
    """`module` is the op's; findings F012 say what is left to write."""

    name: str
    module: str
    files: dict[str, str]
    findings: tuple[Finding, ...]


def new_op(
    name: str,
    *,
    root: Path,
    engine: Path,
    platform: str,
    signature: str = "x: torch.Tensor -> torch.Tensor",
    mutates: tuple[str, ...] = (),
    reference: str = "",
) -> NewOp:
    """`reference` is a Python expression over the parameters: the op in plain torch."""
    if not (name.isidentifier() and name.islower()) or name.startswith("_") or keyword.iskeyword(name):
        raise UsageError(f"{name!r} is no name for an op", mend="Use small letters and underscores: fused_scale.")
    sign = read_signature(signature)
    wrong = [m for m in mutates if m not in sign.tensors()]
    if wrong:
        known = ", ".join(sign.tensors()) or "none"
        raise UsageError(f"--mutates {wrong[0]} is no tensor of the signature", mend=f"Its tensors: {known}.")
    _check(reference)
    plugin = PluginSource(root)
    names = Names(Package("vllm", open_source(engine)))
    home = next((m for m in PLACES if names.has_module(m) and names.resolve(m, REGISTER).status == "found"), "")
    if not home:
        raise UsageError(f"{engine} has no {REGISTER} in {' or '.join(PLACES)}", mend="Name another vLLM by --engine.")
    module = f"{plugin.package.name}.ops.{name}"
    path, test = plugin.path_of(module), f"tests/test_op_{name}.py"
    there = [p for p in (path, test) if (root / p).exists()]
    if there:
        raise UsageError(f"{there[0]} is there already", mend="Choose another name, or move it.")
    # PyTorch before 2.6 (Kunlun's is 2.5.1) infers no schema from `T | None`.
    spelled = platform == "kunlun"
    parameters = ", ".join(
        f"{p.name}: {p.annotation(spelled)}{f' = {p.default}' if p.default else ''}" for p in sign.parameters
    )
    tensors = sign.tensors()
    files = {
        path: render(
            PACKAGE,
            "op.py.jinja",
            name=name,
            module=home,
            platform=platform,
            parameters=parameters,
            returns=sign.returns,
            arguments=", ".join(p.name for p in sign.parameters),
            reference=reference,
            first=tensors[0] if tensors else "",
            mutates=", ".join(f'"{m}"' for m in mutates),
            optional=spelled and any(p.optional or p.listed for p in sign.parameters),
        ),
        test: render(
            PACKAGE,
            "test.py.jinja",
            name=name,
            module=module,
            file=test,
            samples=", ".join(p.sample() for p in sign.parameters),
        ),
    }
    if not plugin.package.has(f"{plugin.package.name}.ops"):
        files[plugin.path_of(f"{plugin.package.name}.ops.__init__")] = '"""Custom ops."""\n'
    return NewOp(name=name, module=module, files=files, findings=_left(name, path, reference, sign.returns, tensors))


def _check(reference: str) -> None:
    if not reference:
        return
    try:
        ast.parse(reference, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
        raise UsageError(f"--reference is no Python expression: {exc}", mend="Such as: torch.relu(x) * scale.") from exc


def _left(name: str, path: str, reference: str, returns: str, tensors: tuple[str, ...]) -> tuple[Finding, ...]:
    left = []
    if not reference:
        left.append(f"{name}_reference: the op in plain torch")
    if returns not in ("None", "torch.Tensor") or (returns == "torch.Tensor" and not tensors):
        left.append(f"{name}_fake: what it returns")
    return tuple(
        Finding(
            code="F012",
            severity=Severity.WARNING,
            place=path,
            message=f"left to write: {what}",
            next_step="Until then the op's test fails.",
        )
        for what in left
    )
