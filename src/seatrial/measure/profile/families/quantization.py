"""Quantising and dequantising activations as kernels of their own."""

from seatrial.measure.profile.families.base import Family

FAMILY = Family(
    name="quantization",
    about="quantise and dequantise kernels that stand alone",
    patterns=(
        r"(scaled|static|dynamic|per_token|group)_.*quant|_quant_(kernel|8bit|fp8|int8)|quant_fp8|quantize",
        r"^(aclnn)?(AscendQuant|AscendDequant|AscendAntiQuant|DynamicQuant|DynamicBlockQuant|DequantBias|TransQuantParam)",
        r"cvt_fp16_to_fp4|fp4_quant",
    ),
    examples=(
        "void vllm::dynamic_per_token_scaled_fp8_quant_kernel<c10::BFloat16, c10::Float8_e4m3fn>(...)",
        "void per_token_group_quant_8bit_kernel<__nv_bfloat16, __nv_fp8_e4m3>(...)",
        "DynamicQuant",
        "aclnnAscendQuantV3_AscendQuantV2_AscendQuantV2",
        "_C::dynamic_scaled_int8_quant",
    ),
    not_these=("QuantBatchMatmulV3",),
)
