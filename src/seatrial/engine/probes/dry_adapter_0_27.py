"""What the dry run arranges from vLLM 0.27 on; 0.32 has the same functions."""

ADAPTER = {
    "name": "0.27",
    "first": (0, 27),
    "proven": ("0.27.1", "0.32.0"),
    # Choosers of kernels: asked for real first; where the platform refuses, a placeholder stands in and says so.
    "kernels": {
        "vllm.model_executor.kernels.linear": [
            "init_fp8_linear_kernel",
            "init_int8_linear_kernel",
            "choose_mp_linear_kernel",
            "init_mxfp8_linear_kernel",
            "init_mxfp4_linear_kernel",
            "init_mxfp6_linear_kernel",
            "init_wfp8_a16_linear_kernel",
            "init_nvfp4_linear_kernel",
        ],
    },
    "moe": {
        "vllm.model_executor.layers.fused_moe.oracle.fp8": ("select_fp8_moe_backend", "Fp8MoeBackend"),
        "vllm.model_executor.layers.fused_moe.oracle.nvfp4": ("select_nvfp4_moe_backend", "NvFp4MoeBackend"),
        "vllm.model_executor.layers.fused_moe.oracle.mxfp4": ("select_mxfp4_moe_backend", "Mxfp4MoeBackend"),
        "vllm.model_executor.layers.fused_moe.oracle.mxfp8": ("select_mxfp8_moe_backend", "MxFp8MoeBackend"),
        "vllm.model_executor.layers.fused_moe.oracle.int8": ("select_int8_moe_backend", "Int8MoeBackend"),
        "vllm.model_executor.layers.fused_moe.oracle.int_wna16": ("select_wna16_moe_backend", "WNA16MoEBackend"),
        "vllm.model_executor.layers.fused_moe.oracle.w4a8": ("select_w4a8_moe_backend", "W4A8MoeBackend"),
        "vllm.model_executor.layers.fused_moe.oracle.w4a8_int8": ("select_w4a8_int8_moe_backend", "W4A8Int8MoeBackend"),
    },
    # Computed while building and read while loading, so it needs values: which experts a rank holds.
    "real_values": (
        ("vllm.model_executor.layers.fused_moe.expert_map_manager", "ExpertMapManager.__init__"),
        ("vllm.model_executor.layers.fused_moe.expert_map_manager", "ExpertMapManager.update"),
        ("vllm.model_executor.layers.fused_moe.expert_map_manager", "determine_expert_map"),
    ),
}
