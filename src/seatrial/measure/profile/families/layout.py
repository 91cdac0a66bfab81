"""Moves of elements within a device: transpositions, slices, concatenations, gathers and scatters."""

from seatrial.measure.profile.families.base import Family

FAMILY = Family(
    name="layout",
    about="transpositions, slices, concatenations, gathers, scatters, format conversions",
    patterns=(
        r"transpose|permute|TransData|FormatCast",
        r"CatArray|concat|(^|::)cat$|split|chunk|slice|StridedSlice|narrow|(^|::)(stack|flatten|view|reshape|as_strided|select|expand|repeat|pad|tile)(_|$)",
        r"gather|scatter|index_?(select|put|copy|fill|elementwise)?|Index(PutV2|Put)?$|indexSelect|masked_fill|masked_select|MaskedFill|MaskedScatter|Tile|PadV\d|unfold",
    ),
    examples=(
        "Transpose",
        "TransData",
        "ConcatD",
        "SplitVD",
        "StridedSliceD",
        "GatherV2",
        "ScatterNdUpdate",
        "void at::native::(anonymous namespace)::CatArrayBatchedCopy_aligned16_contig<...>",
        "void at::native::(anonymous namespace)::indexSelectSmallIndex<c10::BFloat16, long, unsigned int, 2, 2, -2>",
        "aten::index_select",
        "aten::slice",
    ),
)
