"""Mixture of experts: routing, dispatch, grouped matrix products, combine."""

from seatrial.measure.profile.families.base import Family

FAMILY = Family(
    name="moe",
    about="expert routing, dispatch, grouped matrix products and combine",
    patterns=(
        r"moe",
        r"topk_?gating|topkGatingSoftmax|grouped_topk|topk_softmax|topk_sigmoid|GatingTopK",
        r"grouped_?(gemm|matmul|mm)|GroupedMatmul|group_gemm|m_grouped",
        r"expert_?(tokens|map|ids|parallel)|count_and_sort_expert|permute_?(tokens|copy)|TokenPermute|TokenUnpermute",
        r"(fused|marlin)_experts",
    ),
    examples=(
        "fused_moe_kernel",
        "void vllm::moe::moe_align_block_size_kernel<int>(int const*, int*, int*, int*)",
        "void vllm::moe::topkGatingSoftmax<8, 128, 4, 16, int>(float const*, bool const*)",
        "GroupedMatmul",
        "aclnnMoeInitRoutingV2_MoeInitRoutingV2_MoeInitRoutingV2",
        "MoeFinalizeRoutingV2",
        "MoeDistributeDispatch",
        "MoeDistributeCombineV2",
        "MoeGatingTopKSoftmax",
        "_C::cpu_fused_moe",
        "sm90_fp8_m_grouped_gemm_nt_contiguous",
    ),
)
