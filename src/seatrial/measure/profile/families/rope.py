"""Rotary position embedding."""

from seatrial.measure.profile.families.base import Family

FAMILY = Family(
    name="rope",
    about="rotary position embedding, alone or fused with what comes before the cache",
    patterns=(
        r"rotary",
        r"(^|[^a-z])m?rope([^a-z]|$)|InterleaveRope|RopeCache|QkNormRope|apply_rope|RotaryMul|Rope(Operation|Kernel)",
    ),
    examples=(
        "void vllm::rotary_embedding_kernel<c10::BFloat16, true>(long const*, c10::BFloat16*)",
        "RotaryMul",
        "aclnnApplyRotaryPosEmb_ApplyRotaryPosEmb_ApplyRotaryPosEmb",
        "InterleaveRope",
        "_C::rotary_embedding",
        "_triton_mrope_forward",
    ),
    not_these=("aten::property",),
)
