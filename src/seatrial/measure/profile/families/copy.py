"""Copies of memory, between host and device, between devices, and conversions of type."""

from seatrial.measure.profile.families.base import Family

FAMILY = Family(
    name="copy",
    about="memory copies and fills, type conversions",
    patterns=(
        r"memcpy|memset|MEMCPY_ASYNC|SDMA|TensorMove|ViewCopy|InplaceCopy|MemSet|PlainCopy",
        r"aten::(copy_|_to_copy|to|clone|contiguous|_local_scalar_dense|item|fill_|zero_|zeros|ones|full|empty\w*|new_empty\w*)$",
        r"direct_copy_kernel|copy_device_to_device|fill_?(kernel|functor)|FillFunctor|unrolled_elementwise_kernel.*copy",
        r"^(Cast|aclnnCast|Fill|ZerosLike|OnesLike|aclnnInplaceFillScalar|aclnnInplaceZero)",
    ),
    examples=(
        "Memcpy HtoD (Pinned -> Device)",
        "Memset (Device)",
        "MEMCPY_ASYNC",
        "aten::copy_",
        "TensorMove",
        "Cast",
        "void at::native::elementwise_kernel<128, 4, gpu_kernel_impl_nocast<at::native::direct_copy_kernel_cuda>>",
        "aclnnInplaceCopy_TensorMoveAiCore_TensorMove",
    ),
)
