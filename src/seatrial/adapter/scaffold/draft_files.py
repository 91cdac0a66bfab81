"""The files of a draft (MTP): the model of its layers, and what makes vLLM take it for this architecture.

F014 says where a draft is declared and none is written, and why.
"""

from __future__ import annotations

from seatrial import __version__
from seatrial.adapter.scaffold.draft import Draft
from seatrial.adapter.scaffold.facts import DecoderFacts
from seatrial.adapter.scaffold.relative_draft import relative_draft
from seatrial.adapter.scaffold.render import render
from seatrial.adapter.scaffold.site import Site, note, open_place
from seatrial.adapter.scaffold.tiny import plain_kinds
from seatrial.adapter.scaffold.undecided import class_prefix
from seatrial.core.finding import Finding, Severity
from seatrial.core.record import replace
from seatrial.support.registry_records import Registered, RegistryTable

NAMES = (
    "CacheConfig", "VllmConfig", "RMSNorm", "ReplicatedLinear", "LogitsProcessor", "QuantizationConfig",
    "ParallelLMHead", "VocabParallelEmbedding", "default_weight_loader", "maybe_prefix", "IntermediateTensors",
)  # fmt: skip


def draft_files(site: Site, facts: DecoderFacts, draft: Draft | None) -> list[Finding]:
    """Write the draft of the decoder template."""
    if draft is None:
        return []
    if draft.reason:
        return [not_written(draft)]
    names = [*NAMES, *(["fused_moe_make_expert_params_mapping"] if facts.moe else [])]
    names += ["support_torch_compile"] if draft.count == 1 else []
    module = f"{site.module}_mtp"
    place = site.plugin.path_of(module)
    site.files[place] = render(
        "draft.py.jinja",
        arch=site.draft_arch,
        model_arch=site.arch,
        model_module=site.module,
        p=class_prefix(site.arch),
        f=facts,
        d=draft,
        plain=plain_kinds(draft.kinds),
        dense=not facts.moe or bool(facts.dense_test),
        imports=site.symbols.imports(names),
        seatrial=__version__,
        vllm=site.version,
    )
    site.classes[site.draft_arch] = module
    _config_file(site, draft, "")
    assumed = [note("F002", place, f"assumed: {line}") for line in draft.layout.assumed]
    return [*assumed, *(open_place(place, question) for question in draft.open)]


def overlay_draft(site: Site, draft: Draft, relative: Registered, model_type: str, table: RegistryTable) -> Draft:
    """Write the draft of an overlay as a subclass of the draft that vLLM takes for its relative.

    Gives the draft back, with the reason where none was written.
    """
    name = relative_draft(site.trees, relative.architecture, model_type)
    entry = table.supported().get(name)
    if entry is None:
        return replace(draft, reason=f"vLLM's own rule names no draft for {relative.architecture} that it has")
    module = f"{site.module}_mtp"
    site.files[site.plugin.path_of(module)] = render(
        "overlay_draft.py.jinja",
        arch=site.draft_arch,
        model_arch=site.arch,
        model_module=site.module,
        relative=name,
        relative_class=entry.class_name,
        module=entry.module,
        of=relative.architecture,
        seatrial=__version__,
        vllm=site.version,
    )
    site.classes[site.draft_arch] = module
    _config_file(site, draft, relative.architecture)
    return replace(draft, reason="")


def _config_file(site: Site, draft: Draft, relative: str) -> None:
    """What makes vLLM choose the draft; the entry point calls its `install`."""
    module = f"{site.module}_mtp_config"
    site.files[site.plugin.path_of(module)] = render(
        "draft_config.py.jinja",
        arch=site.arch,
        draft_arch=site.draft_arch,
        d=draft,
        relative=relative,
        imports=site.symbols.imports(["SpeculativeConfig"]),
    )
    site.calls.append((module, "install"))


def not_written(draft: Draft) -> Finding:
    """F014, with the reason."""
    who = f"{draft.field} declares a draft of" if draft.field else "the weights are those of a draft of"
    layers = f"{draft.count} layer{'s' if draft.count != 1 else ''}"
    return note("F014", "config.json", f"{who} {layers}, and none is written: {draft.reason}", Severity.WARNING)
