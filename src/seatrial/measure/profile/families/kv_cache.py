"""Writes to and moves of the KV cache."""

from seatrial.measure.profile.families.base import Family

FAMILY = Family(
    name="kv cache",
    about="writes to, copies between and swaps of KV cache blocks; slot mapping",
    patterns=(
        r"reshape_?and_?cache|concat_and_cache|kv_cache_update|cache_kernel|copy_blocks|swap_blocks",
        r"ScatterPaKvCache|ScatterPaCache|KvRmsNormRopeCache|SiLUKvCache|PagedCacheLoad|gather_cache|cp_gather",
        r"slot_mapping|_C_cache_ops::",
    ),
    examples=(
        "void vllm::reshape_and_cache_flash_kernel<__nv_bfloat16, __nv_bfloat16>(__nv_bfloat16 const*)",
        "void vllm::concat_and_cache_mla_kernel<__nv_bfloat16, __nv_bfloat16>(...)",
        "ReshapeAndCacheNdKernel",
        "ScatterPaKvCache",
        "KvRmsNormRopeCache",
        "vllm::unified_kv_cache_update",
        "_C::cpu_attn_reshape_and_cache",
        "_C::compute_slot_mapping_kernel_impl",
        "reshape_and_cache_kernel_flash",
    ),
)
