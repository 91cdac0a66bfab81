"""State-space and linear attention: Mamba, gated delta nets, lightning attention, their causal convolutions."""

from seatrial.measure.profile.families.base import Family

FAMILY = Family(
    name="linear attention",
    about="Mamba, gated delta rule, lightning attention and their causal convolutions",
    patterns=(
        r"selective_scan|selective_state_update|mamba|ssd_chunk|_chunk_scan|_chunk_state|_state_passing",
        r"gated_delta|gdn_|delta_rule|deltanet|chunk_fwd_(o|h)|wy_?(repr|fast)|recompute_w_u|solve_tril|chunk_local_cumsum",
        r"causal_conv1d|CausalConv1d",
        r"lightning_attn|linear_attn|RecurrentGatedDelta",
    ),
    examples=(
        "void causal_conv1d_fwd_kernel<Causal_conv1d_fwd_kernel_traits<128, 4, true>>(ConvParamsBase)",
        "_selective_scan_update_kernel",
        "fused_recurrent_gated_delta_rule_fwd_kernel",
        "chunk_gated_delta_rule_fwd_kernel_h_blockdim64",
        "_chunk_scan_fwd_kernel",
        "_C::causal_conv1d_update",
    ),
)
