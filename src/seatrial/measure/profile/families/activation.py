"""Activations and their gated forms."""

from seatrial.measure.profile.families.base import Family

FAMILY = Family(
    name="activation",
    about="SiLU, GELU, ReLU and their gated forms",
    patterns=(
        r"act_and_mul|silu|swiglu|gelu|geglu|swish|(^|[^a-z])relu|leaky_relu",
        r"(^|::|_)sigmoid|^Sigmoid|^Tanh|::tanh",
    ),
    examples=(
        "void vllm::act_and_mul_kernel<c10::BFloat16, &vllm::silu_kernel<c10::BFloat16>, true>(c10::BFloat16*)",
        "SwiGlu",
        "aclnnDequantSwigluQuant_DequantSwigluQuant_DequantSwigluQuant",
        "GeluV2",
        "aten::silu",
        "_C::silu_and_mul",
    ),
)
