"""What could be one kernel: chains of adjacent kernels, and the fused operator that replaces each.

A kernel's name gives it a letter (`LETTERS`, first match wins); a pattern is a regular expression over the letters of
one stream in order of start. Type conversions (`v`) may stand anywhere. Sources: the fused operators of torch_npu
and vllm-ascend (npu_fusion_attention, npu_swiglu, npu_add_rms_norm, npu_moe_*, npu_mm_all_reduce_base) and vLLM's own.
"""

from __future__ import annotations

import re
from functools import cache

from seatrial.core.record import Record

LETTERS: tuple[tuple[str, str], ...] = (
    ("C", r"nccl|hcom_|hccl|lccl|all_?reduce|cross_device_reduce"),
    ("F", r"flash|fmha|paged_?attention|FusedInferAttention|unified_attention|PromptFlash|IncreFlash"),
    ("w", r"swiglu|act_and_mul|silu_and_mul|geglu"),
    ("u", r"AddRmsNorm|fused_add_rms_norm|AddLayerNorm"),
    ("N", r"rms_?norm|layer_?norm"),
    ("o", r"rotary|RotaryMul|(^|[^a-z])rope"),
    ("H", r"moe|topk_?gating|GroupedMatmul|grouped_?gemm|TokenPermute"),
    ("B", r"BatchMatMul|(^|::)bmm$|::baddbmm|gemm.*batched|batched_gemm"),
    ("G", r"gemm|gemv|mat_?mul|cutlass|nvjet|cublas|xmma|(aten|_C)::\w*(mm|linear)$|onednn_mm"),
    ("Q", r"DynamicQuant|AscendQuant|_quant_|scaled_.*quant|quant_fp8"),
    ("S", r"softmax"),
    ("T", r"top_?k|TopK"),
    ("x", r"gather|scatter|index_?(select|put|add)|Index(PutV2|Select)|sort|argsort|bincount|histc|IndexAdd"),
    ("i", r"silu|swish"),
    ("l", r"gelu"),
    ("R", r"rsqrt"),
    ("P", r"(^|::|_)pow|^Pow|Square"),
    ("E", r"ReduceMean|MeanOps|::mean"),
    ("Z", r"ReduceSum|::sum$|sum_functor"),
    ("c", r"(^|::|_)cos|^Cos"),
    ("s", r"(^|::|_)sin(_|$)|^Sin$"),
    ("g", r"^Neg|::neg|neg_kernel"),
    ("k", r"concat|CatArray|::cat$"),
    ("K", r"masked_?fill|MaskedFill|^Where|::where|triu|tril|SelectV2"),
    ("v", r"^Cast|aclnnCast|_to_copy|::to$|direct_copy"),
    ("A", r"^Adds?(_|$)|^AddV2|aclnnAdd_|::add_?$|CUDAFunctor_add|AddFunctor|InplaceAdd"),
    ("M", r"^Muls?(_|$)|aclnnMul|::mul_?$|MulFunctor|RealDiv|^Div|::div_?$|DivFunctor"),
)


class FusePattern(Record):
    """`chain` is a regular expression over letters. `cases` are chains of kernel names that must match it."""

    name: str
    fused: str
    chain: str
    cases: tuple[tuple[str, ...], ...]


PATTERNS: tuple[FusePattern, ...] = (
    FusePattern(
        name="attention in pieces",
        fused="npu_fusion_attention / FusedInferAttentionScore / flash attention",
        chain=r"[BG]v*[MA]{0,2}v*[KA]?v*Sv*K?v*[BG]",
        cases=(("BatchMatMulV2", "Muls", "MaskedFill", "SoftmaxV2", "BatchMatMulV2"),),
    ),
    FusePattern(
        name="rms-norm in pieces",
        fused="npu_rms_norm / rms_norm",
        chain=r"v*[PM]v*EA?v*Rv*Mv*M",
        cases=(("Pow", "ReduceMean", "Adds", "Rsqrt", "Mul", "Cast", "Mul"),),
    ),
    FusePattern(
        name="residual add, then norm",
        fused="npu_add_rms_norm / fused_add_rms_norm",
        chain=r"Av*N",
        cases=(("Add", "RmsNorm"),),
    ),
    FusePattern(
        name="norm, then quantise",
        fused="npu_add_rms_norm_quant / rms_norm_dynamic_per_token_quant",
        chain=r"[Nu]v*Q",
        cases=(("AddRmsNorm", "DynamicQuant"),),
    ),
    FusePattern(
        name="silu and mul",
        fused="npu_swiglu / silu_and_mul",
        chain=r"iv*M",
        cases=(("void at::native::silu_kernel", "Mul"),),
    ),
    FusePattern(name="gelu and mul", fused="npu_geglu / gelu_and_mul", chain=r"lv*M", cases=(("GeluV2", "Mul"),)),
    FusePattern(
        name="gated activation, then quantise",
        fused="npu_dequant_swiglu_quant / silu_and_mul_quant",
        chain=r"wv*Q",
        cases=(("SwiGlu", "DynamicQuant"),),
    ),
    FusePattern(
        name="rotary embedding in pieces",
        fused="npu_rotary_mul / npu_interleave_rope / rotary_embedding",
        chain=r"Mv*gv*kv*Mv*A",
        cases=(("Mul", "Neg", "ConcatD", "Mul", "Add"),),
    ),
    FusePattern(
        name="matmul, then bias", fused="matmul with bias (addmm)", chain=r"Gv*A(?!v*N)", cases=(("MatMulV2", "Add"),)
    ),
    FusePattern(
        name="matmul, then activation",
        fused="matmul with epilogue (npu_ffn)",
        chain=r"Gv*[il](?!v*M)",
        cases=(("MatMulV2", "GeluV2"),),
    ),
    FusePattern(
        name="matmul, then all-reduce",
        fused="npu_mm_all_reduce_base (MatmulAllReduce)",
        chain=r"Gv*C",
        cases=(("MatMulV3", "hcom_allReduce__746_0_1"),),
    ),
    FusePattern(
        name="all-reduce, then norm",
        fused="matmul_allreduce_add_rmsnorm / allreduce_fusion",
        chain=r"Cv*[ANu]",
        cases=(("hcom_allReduce__746_0_1", "AddRmsNorm"),),
    ),
    FusePattern(
        name="moe routing in pieces",
        fused="npu_moe_gating_top_k_softmax / topk_softmax",
        chain=r"Sv*T",
        cases=(("SoftmaxV2", "TopKV2"),),
    ),
    FusePattern(
        name="moe dispatch in pieces",
        fused="npu_moe_init_routing + npu_grouped_matmul / fused_moe",
        chain=r"T[vMZA]*x[vxMZA]*[GB]",
        cases=(("TopKV2", "Sort", "GatherV2", "MatMulV2"),),
    ),
    FusePattern(
        name="moe combine in pieces",
        fused="npu_moe_finalize_routing / moe_sum",
        chain=r"[GB]v*M?v*xv*M?[xv]*Z",
        cases=(("MatMulV2", "Mul", "IndexAdd", "ReduceSum"),),
    ),
)


@cache
def _letters() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((letter, re.compile(pattern, re.IGNORECASE)) for letter, pattern in LETTERS)


def letter_of(name: str) -> str:
    """The letter of a kernel name; `.` for one that takes part in no pattern."""
    text = name[:400]
    return next((letter for letter, pattern in _letters() if pattern.search(text)), ".")
