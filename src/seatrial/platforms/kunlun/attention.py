"""Attention on Kunlun, of vLLM-Kunlun at 09869ee (2026-05-08)."""

from __future__ import annotations

from seatrial.platforms.rules import AttentionRules

RULES = AttentionRules(
    kinds={
        "heads": "kunlun_attn.KunlunAttentionBackend",
        "MLA": "mla.flashmla.FlashMLABackend",
        "MLA sparse": "mla.flashmla_sparse.FlashMLASparseBackend",
    },
    dtypes=("float32", "float16", "bfloat16", "int8"),
    sources={
        "kinds": "vllm_kunlun/platforms/kunlun.py, get_attn_backend_cls, at 09869ee",
        "dtypes": "vllm_kunlun/platforms/kunlun.py, supported dtypes, at 09869ee",
    },
)
