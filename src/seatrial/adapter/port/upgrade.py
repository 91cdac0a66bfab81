"""The next upstream version, merged into a ported file: base the recorded upstream, ours the file, theirs the new one.

In: the file, the source of the recorded version, the source of the new one, a platform. Out: an `Upgrade`. Regions a
human wrote are kept; what both changed is marked. Refused: a base that is not the recorded file (by its hash), a file
without provenance unless `module` names what it was copied from. Where nothing conflicts, imports that the new vLLM has
elsewhere are followed; what else does not fit it comes as proposals.
"""

from __future__ import annotations

import ast
from pathlib import Path

from seatrial.adapter.port.conflicts import Conflict, explain, has_marks
from seatrial.adapter.port.cst import cst
from seatrial.adapter.port.ground import Ground
from seatrial.adapter.port.header import FIRST, Provenance, digest, find, put
from seatrial.adapter.port.merge import merge
from seatrial.adapter.port.propose import Proposal, all_hits, proposals
from seatrial.adapter.port.register import PluginSource, decoded
from seatrial.adapter.port.run import Edited, Upstream
from seatrial.core.errors import FileFormatError, UsageError
from seatrial.core.finding import Finding, Severity
from seatrial.core.record import Record

SCHEMA_VERSION = 1


class Upgrade(Record):
    """`text` is the merged file. `proposals` concern the file as it was before."""

    schema_version: int
    path: str
    before: Provenance | None
    after: Provenance
    text: str
    conflicts: tuple[Conflict, ...]
    edits: tuple[Edited, ...]
    proposals: tuple[Proposal, ...]
    findings: tuple[Finding, ...]


def upgrade(
    path: str, *, root: Path, base: Path, engine: Path, platform: str, module: str = "", because: str = ""
) -> Upgrade:
    """`path` is below `root`; `base` the source of the recorded version, `engine` that of the new one."""
    libcst = cst()
    from seatrial.adapter.port.rewrite import rewrite

    plugin = PluginSource(root)
    place = root / path
    if not place.is_file() or not place.resolve().is_relative_to(root.resolve()):
        raise UsageError(f"{path} is no file under {root}", mend="Name a ported file, relative to the plugin's root.")
    ours = decoded(place.read_bytes(), path)
    if has_marks(ours):
        raise UsageError(
            f"{path} holds marks of a merge that is not settled", mend="Settle them, or take it back by --undo."
        )
    before = find(ours, path)
    old, new = Upstream(base), Upstream(engine)
    name = module or (before.path.removesuffix(".py").replace("/", ".") if before is not None else "")
    if not name:
        raise UsageError(
            f"{path} has no provenance header", mend="Say what it was copied from by --module (and --base its source)."
        )
    was, now = old.module(name), new.module(name)
    if before is not None and digest(was.source or b"") != before.sha256:
        raise UsageError(
            f"{base} (vLLM {old.version}) does not hold the {before.path} that {path} was copied from",
            mend=f"Name the source of vLLM {before.version}.",
        )
    chosen = before.platform if before is not None else platform
    ground = Ground(engine, root, chosen)
    base_ground = Ground(base, root, chosen)
    base_text = rewrite(decoded(was.source or b"", was.path), was.name, was.is_package, base_ground).source
    made = rewrite(decoded(now.source or b"", now.path), now.name, now.is_package, ground)
    labels = (path, f"vLLM {old.version}", f"vLLM {new.version}")
    merged = merge(_without_header(ours), base_text, made.source, labels)
    edits = list(made.edits)
    text = merged.text
    reason = because or (before.reason if before is not None else "a fork without recorded reason")
    after = Provenance(
        version=new.version, path=now.path, sha256=digest(now.source or b""), platform=chosen, reason=reason
    )
    told: tuple[Conflict, ...] = ()
    if merged.conflicts:
        # The header's lines stand above the places, so it is put in before they are counted.
        text, told = explain(put(text, after), labels, (ours, base_text), ground)
    else:
        own_name = f"{plugin.package.name}.merged"
        try:
            again = rewrite(text, own_name, False, ground)
        except libcst.ParserSyntaxError as exc:
            raise FileFormatError(f"{path}: the merge does not parse: {exc}") from exc
        text = again.source
        edits = list(again.edits)
        ast.parse(text)
        text = put(text, after)
    found = proposals(ground, all_hits(ground), _package_path(plugin, path))
    return Upgrade(
        schema_version=SCHEMA_VERSION,
        path=path,
        before=before,
        after=after,
        text=text,
        conflicts=told,
        edits=tuple(Edited(kind=e.kind, line=e.line, old=e.old, new=e.new, reason=e.reason) for e in edits),
        proposals=found,
        findings=_findings(path, told, found),
    )


def _package_path(plugin: PluginSource, path: str) -> str:
    """The path as the plugin's package has it."""
    return next(
        (plugin.package.path(n) for n in plugin.package.names() if plugin.below(plugin.package.path(n)) == path), path
    )


def _without_header(text: str) -> str:
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        if line.rstrip("\n") == FIRST:
            return "".join(lines[:number] + lines[number + 4 :])
    return text


def _findings(path: str, conflicts: tuple[Conflict, ...], found: tuple[Proposal, ...]) -> tuple[Finding, ...]:
    out = []
    for conflict in conflicts:
        moves = [f"{m.old} is now {m.new}" if m.new else f"{m.old} is gone ({m.why})" for m in conflict.moved]
        out.append(
            Finding(
                code="F008",
                severity=Severity.ERROR,
                place=f"{path}:{conflict.line}",
                message="; ".join([f"{conflict.symbol} was changed on both sides, and is marked", *moves]),
                next_step="Settle it by hand; imports were not followed in a file with conflicts.",
            )
        )
    for proposal in found:
        out.append(
            Finding(
                code="F010",
                severity=Severity.WARNING,
                place=f"{proposal.file}:{proposal.line}",
                message=f"{proposal.old} does not fit this vLLM; {proposal.why}",
                next_step=f"Write {proposal.new}." if proposal.new else "To be decided by hand.",
            )
        )
    return tuple(out)
