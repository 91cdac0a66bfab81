"""The imports and device names of a model file as a plugin needs them; every other byte stays. Import only with LibCST.

In: a module's source and dotted name, the ground. Out: the new source and an `Edit` for every import that changed or
should have. Three edits, in this order: relative becomes absolute; a name the table swaps comes from the plugin; a name
this vLLM has no more comes from where it has it now. An import that something catches is only made absolute. Device
names are `devices`'.
"""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

from seatrial.adapter.port.devices import Devices, names_devices, with_import
from seatrial.adapter.port.edit import Edit
from seatrial.adapter.port.ground import Ground
from seatrial.core.record import Record

TOP = "vllm"


class Rewritten(Record):
    """The source with its imports and device names rewritten, and what was done."""

    source: str
    edits: tuple[Edit, ...]


def rewrite(source: str, module: str, is_package: bool, ground: Ground | None) -> Rewritten:
    """`ground` None: only relative imports become absolute. Raises cst.ParserSyntaxError for a file that does not
    parse."""
    tree = cst.parse_module(source)
    # A tree that the parser made holds no node twice, so it need not be copied first: half of the time.
    wrapper = MetadataWrapper(tree, unsafe_skip_copy=True)
    if ground is None or "cuda" not in source or not names_devices(ground):
        plain = _Imports(module, is_package, ground)
        return Rewritten(source=wrapper.visit(plain).code, edits=tuple(sorted(plain.edits, key=_line)))
    visitor = _ImportsAndDevices(module, is_package, ground, tree)
    made = wrapper.visit(visitor)
    if visitor.needs_import:
        made = with_import(made, ground)
    return Rewritten(source=made.code, edits=tuple(sorted(visitor.edits, key=_line)))


def _line(edit: Edit) -> int:
    return edit.line


def _dotted(node: cst.BaseExpression | None) -> str:
    if isinstance(node, cst.Name):
        return node.value
    if isinstance(node, cst.Attribute):
        return f"{_dotted(node.value)}.{node.attr.value}"
    return ""


def _expression(dotted: str) -> cst.Attribute | cst.Name:
    node: cst.Attribute | cst.Name = cst.Name(dotted.split(".")[0])
    for part in dotted.split(".")[1:]:
        node = cst.Attribute(node, cst.Name(part))
    return node


class _Imports(cst.CSTTransformer):
    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self, module: str, is_package: bool, ground: Ground | None) -> None:
        cst.CSTTransformer.__init__(self)
        self.package = module if is_package else module.rpartition(".")[0]
        self.ground: Ground | None = ground
        self.edits: list[Edit] = []
        self._caught = 0

    def visit_Try(self, node: cst.Try) -> None:
        self._caught += 1

    def leave_Try(self, original_node: cst.Try, updated_node: cst.Try) -> cst.Try:
        self._caught -= 1
        return updated_node

    def absolute(self, node: cst.ImportFrom) -> str:
        base = _dotted(node.module)
        if not node.relative:
            return base
        parts = self.package.split(".")
        if len(node.relative) > len(parts):
            return ""
        kept = parts[: len(parts) - len(node.relative) + 1]
        return ".".join([*kept, base] if base else kept)

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.BaseStatement | cst.FlattenSentinel[cst.BaseStatement]:
        lines: list[cst.ImportFrom] = []
        changed = False
        for old, small in zip(original_node.body, updated_node.body, strict=True):
            if not isinstance(small, cst.ImportFrom) or not isinstance(old, cst.ImportFrom):
                return updated_node
            made = self._rewritten(small, self.get_metadata(PositionProvider, old).start.line)
            changed = changed or made != [small]
            lines += made
        if not changed:
            return updated_node
        if len(updated_node.body) > 1 and len(lines) == len(updated_node.body):
            return updated_node.with_changes(body=lines)
        plain = cst.TrailingWhitespace()
        first = updated_node.with_changes(body=[lines[0].with_changes(semicolon=cst.MaybeSentinel.DEFAULT)])
        if len(lines) == 1:
            return first
        rest: list[cst.BaseStatement] = [
            cst.SimpleStatementLine(body=[line.with_changes(semicolon=cst.MaybeSentinel.DEFAULT)])
            for line in lines[1:-1]
        ]
        last = cst.SimpleStatementLine(body=[lines[-1]], trailing_whitespace=updated_node.trailing_whitespace)
        return cst.FlattenSentinel([first.with_changes(trailing_whitespace=plain), *rest, last])

    def _rewritten(self, node: cst.ImportFrom, line: int) -> list[cst.ImportFrom]:
        base = self.absolute(node)
        if base.split(".")[0] != TOP:
            return [node]
        if node.relative:
            self.edits.append(
                Edit(kind="absolute", line=line, old="." * len(node.relative) + _dotted(node.module), new=base)
            )
        whole = node.with_changes(relative=[], module=_expression(base)) if node.relative else node
        if self.ground is None or self._caught or isinstance(node.names, cst.ImportStar):
            return [whole]
        homes: dict[str, list[cst.ImportAlias]] = {}
        for alias in node.names:
            target, new_name = self._home(base, str(alias.name.value), line)
            kept = alias
            if new_name != alias.name.value:
                as_name = alias.asname or cst.AsName(name=cst.Name(str(alias.name.value)))
                kept = alias.with_changes(name=cst.Name(new_name), asname=as_name)
            homes.setdefault(target, []).append(kept)
        if list(homes) == [base] and all(a is b for a, b in zip(homes[base], node.names, strict=True)):
            return [whole]
        out = []
        for place, aliases in homes.items():
            if place == base:
                out.append(whole.with_changes(names=_listed(aliases, node)))
            else:
                out.append(
                    cst.ImportFrom(
                        module=_expression(place),
                        names=_plain(aliases),
                        whitespace_after_import=cst.SimpleWhitespace(" "),
                    )
                )
        return out

    def _home(self, base: str, name: str, line: int) -> tuple[str, str]:  # one answer in two words: module and name
        ground = self.ground
        if ground is None:
            return base, name
        old = f"{base}.{name}"
        swap = ground.swap(base, name)
        if swap is not None and not swap.reason:
            new_name = swap.entry.to_name or name
            self.edits.append(
                Edit(kind="swap", line=line, old=old, new=f"{swap.entry.to}.{new_name}", reason=swap.entry.why)
            )
            return swap.entry.to, new_name
        if swap is not None:
            self.edits.append(Edit(kind="not swapped", line=line, old=old, reason=swap.reason))
        if ground.has(base, name) is not False:
            return base, name
        moved = ground.moved(base, name)
        if moved.module:
            self.edits.append(Edit(kind="moved", line=line, old=old, new=f"{moved.module}.{name}"))
            return moved.module, name
        reason = (
            f"this vLLM has it in {', '.join(moved.candidates)}" if moved.candidates else "this vLLM has it nowhere"
        )
        self.edits.append(Edit(kind="not found", line=line, old=old, reason=reason))
        return base, name


class _ImportsAndDevices(_Imports, Devices):
    """Both in one visit, which costs as much as parsing the file; what they visit and leave is not the same."""

    def __init__(self, module: str, is_package: bool, ground: Ground, tree: cst.Module) -> None:
        _Imports.__init__(self, module, is_package, ground)
        Devices.__init__(self, ground, tree)


def _listed(aliases: Sequence[cst.ImportAlias], node: cst.ImportFrom) -> list[cst.ImportAlias]:
    """Some of a statement's names, the last with the comma that its last one had."""
    if isinstance(node.names, cst.ImportStar):
        return list(aliases)
    last = node.names[-1].comma
    return [*aliases[:-1], aliases[-1].with_changes(comma=last)]


def _plain(aliases: Sequence[cst.ImportAlias]) -> list[cst.ImportAlias]:
    between = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    return [
        *(alias.with_changes(comma=between) for alias in aliases[:-1]),
        aliases[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT),
    ]
