"""Where this vLLM has the names a written file needs: looked up in its sources, never remembered.

In: the engine's package, the names. Out: import lines. Each name has the places it has been at, newest first; the first
that this source has is taken. Refuses (UsageError): a name that this vLLM has at none of them.
"""

from __future__ import annotations

from collections.abc import Iterable

from seatrial.core.errors import UsageError
from seatrial.support.compat.names import Names
from seatrial.support.modules import Package

_LAYERS = "vllm.model_executor.layers"
PLACES: dict[str, tuple[str, ...]] = {
    "support_torch_compile": ("vllm.compilation.decorators",),
    "CacheConfig": ("vllm.config",),
    "SpeculativeConfig": ("vllm.config", "vllm.config.speculative"),
    "VllmConfig": ("vllm.config",),
    "get_pp_group": ("vllm.distributed",),
    "get_tensor_model_parallel_world_size": ("vllm.distributed",),
    "SiluAndMul": (f"{_LAYERS}.activation",),
    "Attention": (f"{_LAYERS}.attention", "vllm.attention.layer", "vllm.attention"),
    "FusedMoEFactory": (f"{_LAYERS}.fused_moe",),
    "FusedMoE": (f"{_LAYERS}.fused_moe",),
    "fused_moe_make_expert_params_mapping": (f"{_LAYERS}.fused_moe", f"{_LAYERS}.fused_moe.layer"),
    "RMSNorm": (f"{_LAYERS}.layernorm",),
    "MergedColumnParallelLinear": (f"{_LAYERS}.linear",),
    "QKVParallelLinear": (f"{_LAYERS}.linear",),
    "ReplicatedLinear": (f"{_LAYERS}.linear",),
    "RowParallelLinear": (f"{_LAYERS}.linear",),
    "LogitsProcessor": (f"{_LAYERS}.logits_processor",),
    "QuantizationConfig": (f"{_LAYERS}.quantization",),
    "get_rope": (f"{_LAYERS}.rotary_embedding",),
    "ParallelLMHead": (f"{_LAYERS}.vocab_parallel_embedding",),
    "VocabParallelEmbedding": (f"{_LAYERS}.vocab_parallel_embedding",),
    "default_weight_loader": ("vllm.model_executor.model_loader.weight_utils",),
    "SupportsLoRA": ("vllm.model_executor.models.interfaces",),
    "SupportsPP": ("vllm.model_executor.models.interfaces",),
    "PPMissingLayer": ("vllm.model_executor.models.utils",),
    "extract_layer_index": ("vllm.model_executor.models.utils",),
    "is_pp_missing_parameter": ("vllm.model_executor.models.utils",),
    "make_empty_intermediate_tensors_factory": ("vllm.model_executor.models.utils",),
    "make_layers": ("vllm.model_executor.models.utils",),
    "maybe_prefix": ("vllm.model_executor.models.utils",),
    "IntermediateTensors": ("vllm.sequence",),
}


class Symbols:
    """Looks names up in one vLLM."""

    def __init__(self, engine: Package) -> None:
        self._names = Names(engine)
        self._label = engine.label

    def has(self, module: str, name: str) -> bool:
        return self._names.has_module(module) and self._names.resolve(module, name).status == "found"

    def module(self, name: str) -> str:
        """The module to import `name` from; raises UsageError if this vLLM has it nowhere."""
        for module in PLACES[name]:
            if self.has(module, name):
                return module
        raise UsageError(
            f"{self._label} has no {name} in {' or '.join(PLACES[name])}",
            mend="This vLLM is older or newer than the templates know; name another by --engine.",
        )

    def imports(self, names: Iterable[str]) -> list[str]:
        """Import statements in the order and width that isort and ruff give them (88 columns)."""
        by_module: dict[str, list[str]] = {}
        for name in names:
            by_module.setdefault(self.module(name), []).append(name)
        lines = []
        for module in sorted(by_module):
            wanted = sorted(by_module[module], key=lambda n: (not n.isupper(), n[0].islower(), n))
            line = f"from {module} import {', '.join(wanted)}"
            if len(line) > 88:
                line = f"from {module} import (\n" + "".join(f"    {name},\n" for name in wanted) + ")"
            lines.append(line)
        return lines
