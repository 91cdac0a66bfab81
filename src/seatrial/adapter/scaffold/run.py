"""One scaffold: read the checkpoint, the engine's and the plugin's sources; give the files to write, and nothing else.

In: a checkpoint folder, the engine's sources, a plugin's root. Out: a `Scaffold`. Refuses (UsageError): an architecture
that the engine has a class for (overwriting it needs `fork`), a config.json without an architecture, a plugin root that
is none. What the checkpoint does not decide is a finding F001 and a place in the file that raises.

Files, tests, registration and findings of one model are gathered in one place, hence the length.
"""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from seatrial import __version__
from seatrial.adapter.port.cst import cst
from seatrial.adapter.port.register import PluginSource, register
from seatrial.adapter.port.table import PLATFORMS
from seatrial.adapter.scaffold.choose import Plan, choose
from seatrial.adapter.scaffold.draft import ASSUMED, Draft, beyond, read_draft
from seatrial.adapter.scaffold.facts import DecoderFacts, decoder_facts
from seatrial.adapter.scaffold.overlay import overlay
from seatrial.adapter.scaffold.render import render
from seatrial.adapter.scaffold.symbols import Symbols
from seatrial.adapter.scaffold.tiny import tiny
from seatrial.adapter.scaffold.undecided import Open, class_prefix, module_name
from seatrial.checkpoint import Checkpoint, documents, read_checkpoint
from seatrial.checkpoint.files import Folder
from seatrial.core.errors import FileFormatError, UsageError
from seatrial.core.finding import Finding, Severity
from seatrial.core.record import Record, replace
from seatrial.support.modules import Package
from seatrial.support.registry_read import read_registry
from seatrial.support.registry_records import RegistryTable
from seatrial.support.relatives import ModelFiles, Relative, fields_of
from seatrial.support.source import Trees, open_source

if TYPE_CHECKING:
    from seatrial.adapter.port.register_config import AddCall, AddConfig

SCHEMA_VERSION = 1
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
    config = documents.read(Folder(checkpoint), "config.json").data or {}
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
    findings: list[Finding] = []
    if plan.kind == "template":
        body = _decoder(arch, whole, facts, symbols, table.engine_version, text)
        questions: tuple[Open, ...] = (*facts.open, *facts.inline)
    else:
        made = overlay(arch, whole, plan, table, package)
        body, questions = made.text, ()
        findings.append(_same_numbers(module, plan))
        if made.hints:
            message = (
                f"the relative's own files never say {', '.join(made.hints)}; the dry run shows whether it loads them"
            )
            findings.append(_note("F013", module, message))
    draft = read_draft(text, whole.tensors, facts)
    if draft is not None and not draft.reason and plan.kind != "template":
        draft = replace(draft, reason="its decoder layer is the relative's, which this file only subclasses")
    files = {plugin.path_of(module): body}
    findings += _draft(files, plugin, module, arch, facts, draft, symbols, table.engine_version)
    if platform in PLATFORMS:
        files = {path: _swapped(body, engine, root, platform) for path, body in files.items()}
    findings += [_open(plugin.path_of(module), place) for place in questions]
    if plan.kind == "template":
        findings += [_note("F002", plugin.path_of(module), f"assumed: {line}") for line in facts.assumed]
    findings += _tests(files, plugin, module, arch, config, facts, plan, draft)
    _refuse_edited(root, files)
    findings += _registration(files, plugin, module, arch, trees, config, draft)
    return Scaffold(
        schema_version=SCHEMA_VERSION,
        architecture=arch,
        module=module,
        plan=plan,
        files=files,
        findings=tuple(findings),
        engine_version=table.engine_version,
        relatives=relatives,
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
    leaves = [leaf.pattern for leaf in whole.card.weights.tree]
    return ModelFiles(trees).nearest([arch], fields_of(config), leaves, paths)


def _decoder(
    arch: str, whole: Checkpoint, facts: DecoderFacts, symbols: Symbols, version: str, text: Mapping[str, object]
) -> str:
    dense = not facts.moe or bool(facts.dense_test)
    names = [
        "support_torch_compile", "CacheConfig", "VllmConfig", "get_pp_group", "get_tensor_model_parallel_world_size",
        "Attention", "RMSNorm", "QKVParallelLinear", "RowParallelLinear", "LogitsProcessor",
        "QuantizationConfig", "get_rope", "ParallelLMHead", "VocabParallelEmbedding", "default_weight_loader",
        "SupportsLoRA", "SupportsPP", "PPMissingLayer", "is_pp_missing_parameter",
        "make_empty_intermediate_tensors_factory", "make_layers", "maybe_prefix", "IntermediateTensors",
    ]  # fmt: skip
    if dense or facts.shared_size:
        names += ["SiluAndMul", "MergedColumnParallelLinear"]
    if facts.windows or (facts.moe and facts.dense_test):
        names.append("extract_layer_index")
    fused = "FusedMoE"
    if facts.moe:
        fused = next(n for n in ("FusedMoEFactory", "FusedMoE") if _has(symbols, n))
        names += ["ReplicatedLinear", "fused_moe_make_expert_params_mapping", fused]
    return render(
        "decoder.py.jinja",
        arch=arch,
        p=class_prefix(arch),
        f=facts,
        dense=dense,
        beyond=beyond(whole.tensors, facts.of["layers"] and text.get(facts.of["layers"])),
        fused_moe=fused,
        imports=symbols.imports(names),
        seatrial=__version__,
        checkpoint=Path(whole.card.folder).name,
        tensors=len(whole.tensors),
        vllm=version,
    )


def _draft(
    files: dict[str, str],
    plugin: PluginSource,
    module: str,
    arch: str,
    facts: DecoderFacts,
    draft: Draft | None,
    symbols: Symbols,
    version: str,
) -> list[Finding]:
    """The draft's file, and the one that makes vLLM choose it; F014 where it declares a draft and none is written."""
    if draft is None:
        return []
    if draft.reason:
        message = f"{draft.field} declares a draft of {draft.count} layers, and none is written: {draft.reason}"
        return [_note("F014", "config.json", message, Severity.WARNING)]
    names = [
        "CacheConfig", "VllmConfig", "RMSNorm", "ReplicatedLinear", "LogitsProcessor", "QuantizationConfig",
        "ParallelLMHead", "VocabParallelEmbedding", "default_weight_loader", "maybe_prefix", "IntermediateTensors",
    ]  # fmt: skip
    names += ["fused_moe_make_expert_params_mapping"] if facts.moe else []
    place = plugin.path_of(f"{module}_mtp")
    files[place] = render(
        "draft.py.jinja",
        arch=draft_architecture(arch),
        model_arch=arch,
        model_module=module,
        p=class_prefix(arch),
        f=facts,
        d=draft,
        dense=not facts.moe or bool(facts.dense_test),
        assumed=ASSUMED,
        imports=symbols.imports(names),
        seatrial=__version__,
        vllm=version,
    )
    files[plugin.path_of(f"{module}_mtp_config")] = render(
        "draft_config.py.jinja",
        arch=arch,
        draft_arch=draft_architecture(arch),
        d=draft,
        imports=symbols.imports(["SpeculativeConfig"]),
    )
    assumed = [_note("F002", place, f"assumed: {line}") for line in ASSUMED]
    return [*assumed, *(_open(place, question) for question in draft.open)]


def draft_architecture(arch: str) -> str:
    """The name that the draft of an architecture is registered by, in the form of vLLM's own."""
    return f"{class_prefix(arch)}MTPModel"


def _has(symbols: Symbols, name: str) -> bool:
    return any(symbols.has(m, name) for m in ("vllm.model_executor.layers.fused_moe",)) or name == "FusedMoE"


def _tests(
    files: dict[str, str],
    plugin: PluginSource,
    module: str,
    arch: str,
    config: dict[str, object],
    facts: DecoderFacts,
    plan: Plan,
    draft: Draft | None,
) -> list[Finding]:
    """The unit test, and the tiny checkpoint's maker for what the template writes."""
    name = module_name(arch)
    tiny_file = f"tests/tiny_{name}.py"
    findings = []
    if plan.kind == "template":
        made = tiny(config, facts, draft)
        if made.shapes:
            files[tiny_file] = render(
                "tiny.py.jinja",
                arch=arch,
                file=tiny_file,
                config=json.dumps(made.config, indent=4),
                shapes={n: f"({', '.join(map(str, s))}{',' if len(s) == 1 else ''})" for n, s in made.shapes.items()},
            )
        for pattern in made.left_out:
            message = f"the tiny checkpoint is without {pattern}: nothing says its shape"
            findings.append(_note("F003", tiny_file, message))
    else:
        message = "no tiny checkpoint: shapes of a relative's tensors are not known from roles"
        findings.append(_note("F003", tiny_file, message))
    point = next((p for p in plugin.distribution.entry_points if p.group == "vllm.general_plugins"), None)
    package, _, function = (point.target if point else f"{plugin.package.name}:register").partition(":")
    files[f"tests/test_{name}.py"] = render(
        "test.py.jinja",
        arch=arch,
        package=package.strip(),
        function=function.strip(),
        module=module,
        has_tiny=tiny_file in files,
        tiny_file=f"tiny_{name}.py",
        draft=draft_architecture(arch) if draft is not None and not draft.reason else "",
        draft_field=draft.field if draft is not None else "",
        layers_field=facts.of["layers"],
    )
    return findings


def _registration(
    files: dict[str, str],
    plugin: PluginSource,
    module: str,
    arch: str,
    trees: Trees,
    config: dict[str, object],
    draft: Draft | None,
) -> list[Finding]:
    classes = {arch: module}
    if draft is not None and not draft.reason:
        classes[draft_architecture(arch)] = f"{module}_mtp"
    for name, where in classes.items():
        done = register(plugin, name, where, name)
        if done.text is not None:
            files[done.path] = done.text
    findings = []
    model_type = str(config.get("model_type") or "")
    known = knows_model_type(trees, model_type)
    if known is None:
        message = f"whether transformers knows model_type {model_type!r} was not seen: it is not in the sources named"
        findings.append(_note("F004", "config.json", message))
    from seatrial.adapter.port.register_config import AddCall, AddConfig

    if known is False:
        name = f"configuration_{module_name(arch)}"
        parent = module.rpartition(".")[0]
        class_name = f"{class_prefix(arch)}Config"
        files[plugin.path_of(f"{parent}.{name}")] = render(
            "configuration.py.jinja", model_type=model_type, p=class_prefix(arch)
        )
        call = f"AutoConfig.register({model_type!r}, {class_name}, exist_ok=True)"
        function = _entry(plugin)[1]
        findings += _entered(files, plugin, AddConfig(function, model_type, f"{parent}.{name}", class_name), call)
    if len(classes) > 1:
        edit = AddCall(_entry(plugin)[1], f"{module}_mtp_config", "install")
        findings += _entered(files, plugin, edit, f"{module}_mtp_config.install()")
    return findings


def _entry(plugin: PluginSource) -> tuple[str, str]:
    """Module and function of the plugin's entry point."""
    point = next(p for p in plugin.distribution.entry_points if p.group == "vllm.general_plugins")
    where, _, function = (part.strip() for part in point.target.partition(":"))
    return where, function


def _entered(files: dict[str, str], plugin: PluginSource, edit: AddConfig | AddCall, call: str) -> list[Finding]:
    """The edit of the entry point's function; F005 where it has none of the known forms."""
    where, function = _entry(plugin)
    file = plugin.package.path(where)
    entry = plugin.below(file)
    files[entry] = plugin.texts[file] = cst().parse_module(plugin.source(file)).visit(edit).code
    if edit.done:
        return []
    return [_note("F005", entry, f"add by hand to {where}:{function}: {call}", Severity.WARNING)]


def knows_model_type(trees: Trees, model_type: str) -> bool | None:
    """Whether transformers or vLLM has a config class for it, by their text; None: transformers is not in the sources.

    Transformers 4 keeps its table in `configuration_auto.py`, 5 in `auto_mappings.py`.
    """
    folder = "transformers/models/auto"
    texts = [trees.read(f"{folder}/{name}") for name in ("configuration_auto.py", "auto_mappings.py")]
    if not any(texts):
        return None
    texts.append(trees.read("vllm/transformers_utils/config.py"))
    key = re.escape(model_type.encode())
    pattern = re.compile(rb"""["']""" + key + rb"""["']\s*[:,]|\b""" + key + rb"""\s*=\s*["']""")
    return any(pattern.search(text) for text in texts if text)


def _open(path: str, place: Open) -> Finding:
    return Finding(
        code="F001",
        severity=Severity.WARNING,
        place=path,
        message=" ".join([place.question, *place.evidence]),
        next_step="Answer it where the file calls `undecided`; until then building the model raises.",
    )


def _note(code: str, place: str, message: str, severity: Severity = Severity.INFO) -> Finding:
    return Finding(code=code, severity=severity, place=place, message=message)
