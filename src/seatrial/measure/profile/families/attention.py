"""Attention proper, of every backend, with its split and merge kernels and latent attention."""

from seatrial.measure.profile.families.base import Family

FAMILY = Family(
    name="attention",
    about="scores, softmax and values of attention; latent attention; their split and merge kernels",
    patterns=(
        r"flash_?(fwd|attn|attention|mla|infer)|flashattn",
        r"fmha|xqa_kernel|mha_fwd|mha_varlen",
        r"paged_?attention|unified_attention|attention_with_kv_cache|attention_with_output",
        r"Batch(Decode|Prefill)With|SinglePrefill|MLAPaged|BatchMLA",
        r"FusedInferAttentionScore|IncreFlashAttention|PromptFlashAttention|FlashAttentionScore|UnpadFlashAttention",
        r"SelfAttention(Operation)?|PagedAttention|RingMLA|MultiLatentAttention|Mla(Preprocess|Prolog|Attention)|SparseFlashAttention|LightningIndexer",
        r"merge_attn_states|merge_state|attn_(fwd|bwd)|_fwd_kernel_stage[12]|_fwd_grouped_kernel_stage1|decode_attention",
        r"scaled_dot_product|mla_decode|get_scheduler_metadata|attention_kernel|block_sparse_attn",
    ),
    examples=(
        "void flash::flash_fwd_splitkv_kernel<Flash_fwd_kernel_traits<128, 64, 128, 4>>(Flash_fwd_params)",
        "void flash_fwd_splitkv_mla_kernel<Flash_fwd_kernel_traits_mla<576, 64>>(Flash_fwd_mla_params)",
        "kernel_unified_attention_2d",
        "void vllm::paged_attention_v2_reduce_kernel<__nv_bfloat16, 128, 128, 512>(...)",
        "BatchDecodeWithPagedKVCacheKernel",
        "FusedInferAttentionScore",
        "aclnnIncreFlashAttentionV4_IncreFlashAttention_IncreFlashAttention",
        "PagedAttentionMaskNdKernel",
        "_C::cpu_attention_with_kv_cache",
        "vllm::unified_attention_with_output",
        "aten::scaled_dot_product_attention",
        "_fwd_grouped_kernel_stage1",
    ),
)
