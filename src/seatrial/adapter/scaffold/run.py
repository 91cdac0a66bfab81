"""One scaffold: read the checkpoint, the engine's and the plugin's sources; give the files to write, and nothing else.

In: a checkpoint folder, the engine's sources, a plugin's root. Out: a `Scaffold`. Refuses (UsageError): an architecture
that the engine has a class for (overwriting it needs `fork`), a config.json without an architecture, a plugin root that
is none. What the checkpoint does not decide is a finding F001 and a place in the file that raises.
"""

from __future__ import annotations

import keyword
from pathlib import Path

from seatrial.adapter.port.cst import cst
from seatrial.adapter.port.register import PluginSource
from seatrial.adapter.port.table import PLATFORMS
from seatrial.adapter.scaffold.choose import Plan, choose
from seatrial.adapter.scaffold.config_class import ConfigBase, by_name, config_base
from seatrial.adapter.scaffold.decoder import decoder
from seatrial.adapter.scaffold.draft import Draft, read_draft
from seatrial.adapter.scaffold.draft_files import draft_files, not_written, overlay_draft
from seatrial.adapter.scaffold.entry import enter
from seatrial.adapter.scaffold.facts import DecoderFacts, decoder_facts
from seatrial.adapter.scaffold.overlay import entry_of, overlay
from seatrial.adapter.scaffold.roles import DRAFT
from seatrial.adapter.scaffold.shrink import shrink
from seatrial.adapter.scaffold.site import Site, note, open_place
from seatrial.adapter.scaffold.symbols import Symbols
from seatrial.adapter.scaffold.tiny import quantised_leaves, tiny
from seatrial.adapter.scaffold.undecided import module_name
from seatrial.adapter.scaffold.unit_test import unit_test
from seatrial.checkpoint import Checkpoint, documents, read_checkpoint
from seatrial.checkpoint.files import Folder
from seatrial.core.errors import FileFormatError, UsageError
from seatrial.core.finding import Finding, Severity
from seatrial.core.record import Record
from seatrial.support.class_text import class_text
from seatrial.support.modules import Package
from seatrial.support.registry_read import read_registry
from seatrial.support.registry_records import RegistryTable
from seatrial.support.relatives import ModelFiles, Relative, fields_of
from seatrial.support.source import Trees, open_source

SCHEMA_VERSION = 1
INTERFACES = "vllm.model_executor.models.interfaces"
TEXT = ("text_config", "llm_config", "language_config")


class Scaffold(Record):
    """What is to be written: path (relative to the plugin's root) to text, with the plan and what stays open."""

    schema_version: int
    architecture: str
    module: str
    plan: Plan
    files: dict[str, str]
    findings: tuple[Finding, ...]
    engine_version: str
    relatives: tuple[Relative, ...] = ()

    @property
    def open(self) -> int:
        """Places that the checkpoint did not decide."""
        return sum(f.code == "F001" for f in self.findings)


def scaffold(
    checkpoint: Path, engine: Path, root: Path, *, base: str = "", fork: bool = False, platform: str = "cpu"
) -> Scaffold:
    """Files for the checkpoint's first architecture. `fork`: also where the engine has a class for it.

    `platform`: its table of swaps is tried on the imports, as `port` does. Raises SeatrialError subclasses.
    """
    whole = read_checkpoint(checkpoint)
    read = documents.read(Folder(checkpoint), "config.json")
    if read.data is None:
        why = "; ".join(f.message for f in read.findings) if read.present else "there is none"
        raise FileFormatError(f"{checkpoint}/config.json cannot be used: {why}", mend="Mend that file first.")
    config = read.data
    if not whole.tensors:
        raise FileFormatError(
            f"{checkpoint} has no tensors: a model is written from their names",
            mend="Name a folder with the headers of its .safetensors files (`seatrial inspect` reads them).",
        )
    names = whole.card.architecture.architectures
    if not names or not names[0].isidentifier() or keyword.iskeyword(names[0]):
        raise FileFormatError(
            f"{checkpoint}/config.json: `architectures` names no class", mend="Add the model class's name."
        )
    arch = names[0]
    trees = open_source(engine)
    package = Package("vllm", trees)
    table = read_registry(engine)
    _refuse_known(arch, table, fork)
    plugin = PluginSource(root)
    module = f"{plugin.models_package()}.{module_name(arch)}"
    relatives = _relatives(whole, config, trees, table, arch)
    text = next((config[s] for s in TEXT if isinstance(config.get(s), dict)), config)
    facts = decoder_facts(text, whole.tensors)
    plan = choose(whole.card, facts, relatives, base)
    symbols = Symbols(package)
    site = Site(arch, module, plugin, config, text, trees, symbols, table.engine_version)
    draft = read_draft(text, whole.tensors, facts)
    served_as = config_base(trees, plan.relative.architecture, entry_of(plan, table).module) if plan.relative else None
    if plan.kind == "template":
        findings = _template(site, whole, facts, draft)
    else:
        findings = _overlay(site, whole, facts, plan, table, package, engine, draft, served_as)
        findings += by_name(site, plan.relative.architecture if plan.relative is not None else "", served_as)
    if platform in PLATFORMS:
        site.files = {path: _swapped(body, engine, root, platform) for path, body in site.files.items()}
    _refuse_edited(root, site.files)
    findings += enter(site, served_as)
    return Scaffold(
        schema_version=SCHEMA_VERSION,
        architecture=arch,
        module=module,
        plan=plan,
        files=site.files,
        findings=tuple(findings),
        engine_version=table.engine_version,
        relatives=relatives,
    )


def _template(site: Site, whole: Checkpoint, facts: DecoderFacts, draft: Draft | None) -> list[Finding]:
    """The model from the decoder template, its draft, its test and its tiny checkpoint."""
    site.files[site.path] = decoder(site, whole, facts)
    findings = [open_place(site.path, place) for place in (*facts.open, *facts.inline)]
    findings += [note("F002", site.path, f"assumed: {line}") for line in facts.assumed]
    findings += draft_files(site, facts, draft)
    made = tiny(site.config, facts, draft)
    interfaces: dict[str, bool | None] = {"supports_pp": True, "supports_lora": True}
    return findings + unit_test(
        site,
        made,
        interfaces=interfaces,
        layers_field=facts.of["layers"],
        draft=draft,
        quantised=quantised_leaves(t.name for t in whole.tensors),
    )


def _overlay(
    site: Site,
    whole: Checkpoint,
    facts: DecoderFacts,
    plan: Plan,
    table: RegistryTable,
    package: Package,
    engine: Path,
    draft: Draft | None,
    served_as: ConfigBase | None,
) -> list[Finding]:
    """The model as a subclass of a relative, its test and its tiny checkpoint."""
    relative = entry_of(plan, table)
    model_type = served_as.model_type if served_as is not None else str(site.config.get("model_type") or "")
    findings = [_same_numbers(site.module, plan)]
    if draft is not None:
        # The layout is the relative's business; that the weights are there is not.
        draft = overlay_draft(site, draft, relative, model_type, table) if draft.there else draft
        if draft.reason:
            findings.append(not_written(draft))
    drafted = draft is not None and not draft.reason
    made = overlay(site.arch, whole, plan, table, package, drafted=drafted)
    site.files[site.path] = made.text
    if made.hints:
        message = f"the relative's own files never say {', '.join(made.hints)}; the dry run shows whether it loads them"
        findings.append(note("F013", site.module, message))
    small = shrink(site.config, whole.tensors, draft=drafted)
    said = class_text(relative.class_path, relative.architecture, engine, ()).info
    interfaces = {key: has and site.symbols.has(INTERFACES, key) for key, has in said.items()}
    return findings + unit_test(
        site,
        small,
        interfaces=interfaces,
        layers_field=facts.of["layers"],
        draft=draft,
        relative_type=model_type,
        quantised=quantised_leaves(t.name for t in whole.tensors),
    )


def _same_numbers(module: str, plan: Plan) -> Finding:
    name = plan.relative.architecture if plan.relative is not None else ""
    return Finding(
        code="F011",
        severity=Severity.WARNING,
        place=module,
        message=f"every weight may find its place in {name} and the numbers still be wrong: it computes as {name} does",
        next_step="Compare its answers with those of the model's own reference code.",
    )


def _refuse_edited(root: Path, files: dict[str, str]) -> None:
    """What is there and is not what would be written has been edited; it is not written over."""
    for path, text in files.items():
        place = root / path
        if place.is_file() and place.read_text(encoding="utf-8", errors="replace") != text:
            raise UsageError(
                f"{path} is there and is not as it would be written",
                mend="Keep it, or move it to have it written anew.",
            )


def _swapped(body: str, engine: Path, root: Path, platform: str) -> str:
    """The text with its imports from the plugin where the platform's table says so, and it is true."""
    cst()
    from seatrial.adapter.port.ground import Ground
    from seatrial.adapter.port.rewrite import rewrite

    return rewrite(body, "scaffold", False, Ground(engine, root, platform)).source


def _refuse_known(arch: str, table: RegistryTable, fork: bool) -> None:
    known = table.supported().get(arch)
    if known is not None and not fork:
        raise UsageError(
            f"vLLM {table.engine_version} has {arch} already ({known.class_path} of {known.owner})",
            mend="Use that one; to put your own in its place all the same, say --fork.",
        )


def _relatives(
    whole: Checkpoint, config: dict[str, object], trees: Trees, table: RegistryTable, arch: str
) -> tuple[Relative, ...]:
    paths = {name: e.class_path for name, e in table.supported().items() if name != arch}
    # A draft (MTP) has files of its own, whose words say nothing of the model's.
    leaves = [leaf.pattern for leaf in whole.card.weights.tree if not DRAFT.match(leaf.pattern)]
    return ModelFiles(trees).nearest([arch], fields_of(config), leaves, paths)
