"""Layer and RMS normalisation, also fused with the residual addition or quantisation."""

from seatrial.measure.profile.families.base import Family

FAMILY = Family(
    name="norm",
    about="RMS and layer normalisation, with what is fused into them",
    patterns=(
        r"rms_?norm",
        r"layer_?norm|LayerNormV\d",
        r"group_?norm|l2_?norm(_fwd)?|batch_norm",
        r"fused_.*(mean|pow).*rsqrt",
    ),
    examples=(
        "void vllm::fused_add_rms_norm_kernel<c10::BFloat16, 8>(c10::BFloat16*, long, float, int)",
        "void vllm::rms_norm_kernel<c10::BFloat16>(c10::BFloat16*)",
        "AddRmsNorm",
        "aclnnAddRmsNormQuant_AddRmsNormQuant_AddRmsNormQuant",
        "triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_0",
        "LayerNormV4",
        "aten::native_layer_norm",
        "l2norm_fwd_kernel",
    ),
)
