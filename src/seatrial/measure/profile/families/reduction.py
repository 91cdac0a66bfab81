"""Reductions and soft-max that no attention kernel took in."""

from seatrial.measure.profile.families.base import Family

FAMILY = Family(
    name="reduction",
    about="sums, means, extremes, soft-max, cumulative sums",
    patterns=(
        r"reduce(_?kernel|sum|mean|max|min|all|any|prod)?(_|$|d$|<|[^a-z])|Reduce(Sum|Mean|Max|Min|Prod|All|Any)",
        r"softmax|cumsum|Cumsum|scan_kernel|DeviceScan|(aten)::(sum|mean|amax|amin|max|min|norm|prod|any|all|logsumexp|var)$|^(Max|Min)Dim|triton_red_|triton_per_",
    ),
    examples=(
        "void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float, at::native::MeanOps<float>>>",
        "ReduceSum",
        "ReduceMeanD",
        "SoftmaxV2",
        "aten::sum",
        "aten::logsumexp",
        "void at_cuda_detail::cub::DeviceScanKernel<...>",
    ),
)
