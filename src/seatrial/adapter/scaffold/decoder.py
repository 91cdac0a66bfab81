"""The model file from the decoder template: attention over heads, dense or with experts."""

from __future__ import annotations

from pathlib import Path

from seatrial import __version__
from seatrial.adapter.scaffold.draft import beyond
from seatrial.adapter.scaffold.facts import DecoderFacts
from seatrial.adapter.scaffold.render import render
from seatrial.adapter.scaffold.site import Site
from seatrial.adapter.scaffold.symbols import Symbols
from seatrial.adapter.scaffold.tiny import plain_kinds
from seatrial.adapter.scaffold.undecided import class_prefix
from seatrial.checkpoint import Checkpoint

NAMES = (
    "support_torch_compile", "CacheConfig", "VllmConfig", "get_pp_group", "get_tensor_model_parallel_world_size",
    "Attention", "RMSNorm", "QKVParallelLinear", "RowParallelLinear", "LogitsProcessor",
    "QuantizationConfig", "get_rope", "ParallelLMHead", "VocabParallelEmbedding", "default_weight_loader",
    "SupportsLoRA", "SupportsPP", "PPMissingLayer", "is_pp_missing_parameter",
    "make_empty_intermediate_tensors_factory", "make_layers", "maybe_prefix", "IntermediateTensors",
)  # fmt: skip


def decoder(site: Site, whole: Checkpoint, facts: DecoderFacts) -> str:
    """The file's text. Raises UsageError where this vLLM lacks a name that the template imports."""
    dense = not facts.moe or bool(facts.dense_test)
    names = list(NAMES)
    if dense or facts.shared_size:
        names += ["SiluAndMul", "MergedColumnParallelLinear"]
    if facts.windows or (facts.moe and facts.dense_test):
        names.append("extract_layer_index")
    fused = "FusedMoE"
    if facts.moe:
        fused = next(n for n in ("FusedMoEFactory", "FusedMoE") if _has(site.symbols, n))
        names += ["ReplicatedLinear", "fused_moe_make_expert_params_mapping", fused]
    return render(
        "decoder.py.jinja",
        arch=site.arch,
        p=class_prefix(site.arch),
        f=facts,
        plain=plain_kinds(facts.kinds),
        dense=dense,
        beyond=beyond(whole.tensors, facts.of["layers"] and site.text.get(facts.of["layers"])),
        fused_moe=fused,
        imports=site.symbols.imports(names),
        seatrial=__version__,
        checkpoint=Path(whole.card.folder).name,
        tensors=len(whole.tensors),
        vllm=site.version,
    )


def _has(symbols: Symbols, name: str) -> bool:
    return symbols.has("vllm.model_executor.layers.fused_moe", name) or name == "FusedMoE"
