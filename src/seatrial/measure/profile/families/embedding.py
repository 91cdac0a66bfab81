"""Token embedding."""

from seatrial.measure.profile.families.base import Family

FAMILY = Family(
    name="embedding",
    about="rows of the vocabulary's table",
    patterns=(r"embedding(?!.*rotary)", r"get_masked_input_and_mask"),
    examples=(
        "aten::embedding",
        "triton_poi_fused_embedding_0",
        "EmbeddingDenseGrad",
        "aten::embedding_bag",
    ),
    not_these=("_C::rotary_embedding",),
)
