"""Element by element."""

from seatrial.measure.profile.families.base import Family

FAMILY = Family(
    name="elementwise",
    about="element by element arithmetic and comparisons",
    patterns=(
        r"elementwise_kernel|triton_poi_|CUDAFunctor|BinaryFunctor",
        r"^(aclnn)?(Inplace)?(Add|Adds|AddV2|Sub|Mul|Muls|Div|RealDiv|Pow|Exp|Neg|Sqrt|Rsqrt|Cos|Sin|Log|Abs|Equal|NotEqual|Less|LessEqual|Greater|GreaterEqual|Logical\w+|Select(V2)?|Where|Range|Arange|Clip\w*|Minimum|Maximum|FloorDiv|FloorMod|Bitwise\w+|Axpy|Lerp|IsFinite)(s|_|\d|$)",
        r"aten::(add|sub|mul|div|pow|exp|log|neg|abs|sqrt|rsqrt|cos|sin|eq|ne|lt|le|gt|ge|where|clamp|bitwise\w*|logical\w*|real|arange|floor_divide|remainder|reciprocal)(_|$)",
    ),
    examples=(
        "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<c10::BFloat16>>(int)",
        "triton_poi_fused_mul_1",
        "Add",
        "Muls",
        "RealDiv",
        "aclnnAdd_AddAiCore_Add",
        "aten::mul",
        "aten::exp_",
        "LogicalAnd",
    ),
)
