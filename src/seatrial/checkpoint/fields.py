"""Fields of config.json that are known and carry nothing here: training, generation defaults, bookkeeping.

`unexplained` lists what is neither used nor known, so that a new model's new field is seen and not passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seatrial.checkpoint.config import (
    AUDIO_SECTIONS,
    OTHER_SECTIONS,
    PROJECTOR_SECTIONS,
    TEXT_SECTIONS,
    VISION_SECTIONS,
    Ledger,
)

# Each group with why its fields do not matter to what is reported here.
DROPPED: dict[str, tuple[str, ...]] = {
    "training only": (
        "attention_dropout", "hidden_dropout", "hidden_dropout_prob", "initializer_range", "router_aux_loss_coef",
        "aux_loss_alpha", "seq_aux", "router_jitter_noise", "output_router_logits", "ep_size", "pretraining_tp",
        "embd_pdrop", "attn_pdrop", "resid_pdrop", "dropout", "layerdrop", "use_cache", "gradient_checkpointing",
        "rescale_prenorm_residual", "time_step_floor", "time_step_limit", "time_step_max", "time_step_min",
        "residual_in_fp32", "attention_probs_dropout_prob", "classifier_dropout", "ignore_index",
        "moe_shared_expert_overlap", "use_mamba_kernels", "router_z_loss_coef", "layer_dropout",
    ),
    "norms and scalings that change no shape": (
        "rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps", "norm_eps", "norm_epsilon", "hc_eps",
        "swiglu_limit", "final_logit_softcapping", "rope_interleave", "indexer_rope_interleave", "logit_scale",
        "query_pre_attn_scalar", "embedding_multiplier", "residual_multiplier", "attention_multiplier",
        "logits_scaling", "initial_context_length", "mlp_bias", "use_conv_bias", "mamba_proj_bias", "mamba_hidden_act",
        "use_routing_bias", "num_logits_to_keep", "hc_sinkhorn_iters", "use_bidirectional_attention",
    ),
    "generation defaults and special tokens (read where they matter)": (
        "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "decoder_start_token_id", "bad_words_ids",
        "begin_suppress_tokens", "suppress_tokens", "do_sample", "temperature", "top_k", "top_p", "typical_p",
        "repetition_penalty", "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size",
        "num_beams", "num_beam_groups", "num_return_sequences", "max_length", "min_length", "early_stopping",
        "diversity_penalty", "exponential_decay_length_penalty", "forced_bos_token_id", "forced_eos_token_id",
        "remove_invalid_values", "return_dict", "return_dict_in_generate", "output_attentions",
        "output_hidden_states", "output_scores",
    ),
    "read only where no more exact field says the same": (
        "full_attention_interval", "mlp_only_layers", "decoder_sparse_step", "first_k_dense_replace", "moe_layer_freq",
        "sliding_window", "use_sliding_window", "max_window_layers", "sliding_window_pattern", "qk_head_dim",
        "use_bias", "use_mrope", "head_dim", "vocab_size_per_layer_input", "use_double_wide_mlp", "lm_head", "rm_head",
        "experts_per_token", "num_experts_per_tok", "intermediate_size", "attention_bias", "scoring_func",
        "attn_layer_indices", "full_attn_idxs", "layer_group_size", "interleaved_sliding_window", "sliding_window_size",
        "global_attn_every_n_layers", "num_dense_layers", "moe_layers_enum", "partial_rotary_factors",
        "yarn_only_types", "tie_word_embeddings", "spatial_merge_size",
    ),
    "bookkeeping of transformers": (
        "_name_or_path", "_attn_implementation", "_attn_implementation_autoset", "_commit_hash", "add_cross_attention",
        "chunk_size_feed_forward", "cross_attention_hidden_size", "finetuning_task", "is_decoder",
        "is_encoder_decoder", "prefix", "problem_type", "tf_legacy_loss", "tie_encoder_decoder", "tokenizer_class",
        "torchscript", "use_bfloat16", "id2label", "label2id", "task_specific_params", "pruned_heads",
        "transformers_version", "architectures", "model_type", "torch_dtype", "dtype", "auto_map", "license",
        "unsloth_fixed", "unsloth_version", "_from_model_config",
    ),
}  # fmt: skip
KNOWN = frozenset(name for names in DROPPED.values() for name in names)
# Sections read by their own translator, which says itself what it does not know.
SECTIONS = frozenset((*VISION_SECTIONS, *AUDIO_SECTIONS, *PROJECTOR_SECTIONS, *OTHER_SECTIONS))
TEXT = frozenset(TEXT_SECTIONS)


def unexplained(config: Mapping[str, Any], ledger: Ledger, path: str = "") -> tuple[str, ...]:
    """Dotted names of fields at the top and in the text sections that are neither used nor known."""
    left: list[str] = []
    inner = [v for k, v in config.items() if k in TEXT and isinstance(v, dict)]
    repeated = {k for section in inner for k, v in section.items() if k in config and config[k] == v}
    for key, value in config.items():
        name = path + key
        if key in TEXT and isinstance(value, dict) and name in ledger.used:
            left += unexplained(value, ledger, f"{name}.")
        elif key in repeated and not path:
            continue  # remote code writes the language model's fields a second time at the top
        elif key not in KNOWN and key not in SECTIONS and name not in ledger.used:
            left.append(name)
    return tuple(left)
