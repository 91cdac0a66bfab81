"""Dense matrix products, quantised ones included."""

from seatrial.measure.profile.families.base import Family

FAMILY = Family(
    name="gemm",
    about="dense matrix products, also quantised or fused with an all-reduce",
    patterns=(
        r"gemm|gemv|gevm|splitK(reduce)?|nvjet|xmma|cublas|cutlass.*(matmul|mma)|wgmma|machete|marlin",
        r"mat_?mul|MatMul|BatchMatMul|QuantBatchMatmul|WeightQuantBatchMatmul|MatmulAllReduce|AllGatherMatmul|Linear(Operation|Sparse)",
        r"(aten|_C|vllm|mkldnn|onednn)::\w*?(mm|bmm|addmm|baddbmm|linear|matmul|dot|einsum)(_out)?$|onednn_mm|onednn_scaled_mm|scaled_mm",
    ),
    examples=(
        "void cutlass::Kernel2<cutlass_80_wmma_tensorop_bf16_s161616gemm_bf16_16x16_128x2_tn_align8>(Params)",
        "nvjet_tst_128x64_64x10_2x1_v_bz_TNT",
        "void gemvNSP_kernel<__nv_bfloat16, __nv_bfloat16, __nv_bfloat16, float, 1, 32, 4, 1024>(...)",
        "MatMulV3",
        "aclnnQuantMatmulV4_QuantBatchMatmulV3_QuantBatchMatmulV3",
        "BatchMatMulV2",
        "WeightQuantBatchMatmulV2",
        "aten::mm",
        "aten::addmm",
        "_C::onednn_mm",
        "void cublasLt::splitKreduce_kernel<32, 16, int, float, __nv_bfloat16>(...)",
        "sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize64x64x64",
    ),
    not_these=("flash_fwd_splitkv_kernel", "GroupedMatmul", "aten::comm_hook"),
)
