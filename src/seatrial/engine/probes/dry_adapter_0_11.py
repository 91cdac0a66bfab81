"""What the dry run arranges in vLLM 0.11: kernels are chosen in the quantisation package, MoE methods choose none."""

ADAPTER = {
    "name": "0.11",
    "first": (0, 11),
    "proven": ("0.11.0",),
    "kernels": {
        "vllm.model_executor.layers.quantization.kernels.mixed_precision": ["choose_mp_linear_kernel"],
        "vllm.model_executor.layers.quantization.kernels.scaled_mm": ["choose_scaled_mm_linear_kernel"],
    },
    "moe": {},
    "real_values": (("vllm.model_executor.layers.fused_moe.layer", "determine_expert_map"),),
}
