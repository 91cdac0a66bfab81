"""Every weight of the engine's model: its shape, how ranks share it, whether it is quantised; the base of bytes and
FLOPs.

In: a model. Out: `Matrix`es, built by `matrices_attention`, `matrices_ffn` and `matrices_towers`. The shapes and splits
are those of vLLM 0.32's model classes; `bench/plan_weights.py` compares the sums with the engine's own parameters.
"""

from __future__ import annotations

from typing import Literal

from seatrial.core.record import Record

Split = Literal["none", "rows", "cols", "vocab", "kv"]
Part = Literal[
    "embedding", "head", "attention", "indexer", "linear-attention", "mlp", "experts", "shared-experts", "router",
    "norm", "vision", "projector", "kv-scales",
]  # fmt: skip


class Matrix(Record):
    """One weight (or several fused into one, `rows` giving each) of `cols` inputs, in every layer of `layers`.

    `layers` is empty for what stands outside them; `stage` then says where: first, last or every pipeline stage.
    `split`: what tensor parallelism cuts; "kv" rows come in heads of `head` and are copied where ranks outnumber heads;
    `kv_rows` says which of the fused ones do. `experts`: so many of them. `module` is the checkpoint's name without
    the layer ("self_attn.o_proj"), to find it in quantisation rules. `dtype` "" means the model's, "F32" float32.
    `tokens`: what share of all tokens passes it ("all", "experts", "none" for what is no product, "image").
    """

    part: Part
    module: str
    rows: tuple[int, ...]
    cols: int
    layers: tuple[int, ...] = ()
    stage: Literal["first", "last", "every"] = "every"
    split: Split = "none"
    kv_rows: tuple[bool, ...] = ()
    head: int = 1
    experts: int = 0
    quantizable: bool = False
    bias: bool = False
    dtype: str = ""
    tokens: Literal["all", "experts", "none", "image"] = "all"
    prefix: str = "model.layers."

    def elements(self) -> int:
        """Of one layer, unsplit, without bias."""
        return sum(self.rows) * self.cols * max(1, self.experts)


def vector(
    part: Part,
    module: str,
    size: int,
    layers: tuple[int, ...],
    split: Split = "none",
    dtype: str = "",
    head: int = 1,
    stage: Literal["first", "last", "every"] = "every",
) -> Matrix:
    """A norm, a scale, a bias that stands alone."""
    return Matrix(
        part=part, module=module, rows=(size,), cols=1, layers=layers, split=split, dtype=dtype, tokens="none",
        kv_rows=(split == "kv",), head=head, stage=stage,
    )  # fmt: skip


def linear(
    part: Part,
    module: str,
    rows: tuple[int, ...] | int,
    cols: int,
    layers: tuple[int, ...],
    split: Split,
    bias: bool = False,
) -> Matrix:
    """A projection that quantisation may apply to."""
    return Matrix(
        part=part,
        module=module,
        rows=(rows,) if isinstance(rows, int) else rows,
        cols=cols,
        layers=layers,
        split=split,
        quantizable=True,
        bias=bias,
    )
