"""The families whose weights were found equal to the engine's parameters, byte for byte; all others get a note.

By model_type of the language model. Held by tests/estimate against the engine's kept answers: data/engine_zoo.jsonl
(vLLM 0.32.0, tensor-parallel 1 and 2) and data/engine_weights.json (real configs, up to 16).
"""

from __future__ import annotations

IN_ZOO = {
    "arcee", "axk1", "bert", "cohere", "cohere2", "cohere2_moe", "cwm", "deepseek_v2", "deepseek_v3", "deepseek_v32",
    "ernie4_5",
    "ernie4_5_moe", "exaone4", "exaone_moe", "falcon", "falcon_h1", "falcon_mamba", "flex_olmo", "gemma", "gemma2",
    "gemma3_text", "gemma4_text", "glm", "glm4", "glm_moe_dsa", "gpt2", "gpt_bigcode", "gpt_neox", "gpt_oss", "gptj",
    "granite", "granite_swa", "granitemoe", "granitemoe_swa", "granitemoehybrid", "granitemoeshared", "hyperclovax",
    "jais2", "jamba", "laguna", "llama", "llama4_text", "mamba", "mamba2", "mellum", "minicpm3", "ministral3",
    "mistral", "mixtral", "olmo", "olmo2", "olmo3", "olmoe", "opt", "phi", "phi3", "qwen2", "qwen2_moe", "qwen3",
    "qwen3_5_moe_text", "qwen3_5_text", "qwen3_moe", "qwen3_next", "qwen3_vl_text", "roberta", "seed_oss", "smollm3",
    "stablelm", "starcoder2", "vaultgemma", "whisper", "xlm-roberta",
}  # fmt: skip
IN_REAL_CONFIGS = {"kimi_k2", "minimax_m2", "nemotron_h", "qwen3_vl_moe_text"}


def never_compared(kind: str) -> str:
    """What a plan has to say of this family's weights; "" where they were found equal."""
    if kind in IN_ZOO | IN_REAL_CONFIGS:
        return ""
    named = f"of model_type {kind!r}" if kind else "of a config without model_type"
    return (
        f"the weights {named} follow the common form and were never compared with an engine's: --ask-engine, or --dry "
        "with the facts of a dry run, is exact"
    )
