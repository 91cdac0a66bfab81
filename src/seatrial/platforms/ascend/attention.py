"""Attention on Ascend, of vllm-ascend at 182b75e (2026-08-22)."""

from __future__ import annotations

from seatrial.platforms.rules import AttentionRules

RULES = AttentionRules(
    kinds={
        "heads": "attention_v1.AscendAttentionBackend",
        "MLA": "mla_v1.AscendMLABackend",
        "MLA sparse": "sfa_v1.AscendSFABackend",
        "MLA compressed": "dsa_v1.AscendDSABackend",
    },
    head_sizes=(64, 128, 192),
    mla_heads_per_rank=(32, 64, 128),
    draft_tokens=15,
    quantisation=("ascend", "compressed-tensors", "fp8", "deepseek_v4_fp8", "modelopt_mxfp8", "mxfp8"),
    # The platform class names fp8 for every device; the maintainers' answer is that A2 and A3 have no operators for it.
    quantisation_limits={
        "fp8": "only A5 has FP8 operators, by the maintainers' answers: vllm-ascend#1526, #3197, #4313"
    },
    sources={
        "kinds": "vllm_ascend/platform.py, backend map by (use_mla, use_sparse, use_compress), at 182b75e",
        "head_sizes": "fused infer attention with layout TND: vllm-project/vllm-ascend#9632",
        "mla_heads_per_rank": "vllm-ascend docs/source/faqs.md: MLA only support {32, 64, 128}",
        "draft_tokens": "vllm_ascend attention_v1.py: TND layout's limit of 16 tokens, draft and the one after it",
        "quantisation": "vllm_ascend/platform.py, supported_quantization, at 182b75e",
    },
)
