"""Bytes of a weight on one rank: the split by tensor and expert parallelism, then the format with its scales.

In: a `Matrix`, its `Scheme`, a layout. Out: bytes. Refuses (`Uneven`) what does not divide, with the numbers.
"""

from __future__ import annotations

from math import ceil, gcd

from seatrial.estimate.layout import Layout
from seatrial.estimate.matrices import Matrix
from seatrial.estimate.model import Uneven
from seatrial.estimate.schemes import Scheme

VOCABULARY_PADDING = 64  # vLLM: DEFAULT_VOCAB_PADDING_SIZE
MXFP4_PADDING = 64
# Expert blocks that a rank's share does not fill are refined to a common divisor, down to this (vLLM 0.32, fp8 MoE).
LEAST_BLOCK = 32


class Cut:
    """A matrix on one rank: its fused row counts, columns and number of experts."""

    __slots__ = ("cols", "experts", "rows")

    def __init__(self, rows: tuple[int, ...], cols: int, experts: int) -> None:
        self.rows, self.cols, self.experts = rows, cols, experts


def cut(matrix: Matrix, layout: Layout, scheme: Scheme) -> Cut:
    """What the fullest rank holds."""
    experts, tp = matrix.experts, layout.tp
    if experts:
        tp *= layout.dp  # without expert parallelism the engine cuts experts over the data-parallel ranks too
    if experts and layout.ep:
        ranks = layout.expert_ranks()
        return Cut(matrix.rows, matrix.cols, -(-experts // ranks))
    rows, cols = matrix.rows, matrix.cols
    if scheme.format == "mxfp4" and experts:
        # Each rank's share is rounded up to 64 (vLLM's mxfp4 method with its plain backend; others pad further).
        if matrix.split == "rows":
            rows = tuple(_padded(ceil(r / tp)) for r in rows)
        else:
            cols = _padded(ceil(cols / tp))
        return Cut(rows, cols, experts)
    if matrix.split == "vocab":
        padded = -(-rows[0] // VOCABULARY_PADDING) * VOCABULARY_PADDING
        return Cut((_share(padded, tp, matrix, "padded rows"),), cols, experts)
    if matrix.split in ("rows", "kv"):
        kv = matrix.kv_rows or (False,) * len(rows)
        rows = tuple(
            _kv(r, tp, matrix) if is_kv else _share(r, tp, matrix, "rows") for r, is_kv in zip(rows, kv, strict=True)
        )
    elif matrix.split == "cols":
        cols = _share(cols, tp, matrix, "columns")
    return Cut(rows, cols, experts)


def _padded(size: int) -> int:
    return -(-size // MXFP4_PADDING) * MXFP4_PADDING


def _share(size: int, tp: int, matrix: Matrix, what: str) -> int:
    if size % tp:
        raise Uneven(f"{matrix.module}: {size} {what} do not divide by tensor-parallel size {tp}")
    return size // tp


def _kv(rows: int, tp: int, matrix: Matrix) -> int:
    heads = rows // matrix.head
    if heads >= tp:
        if heads % tp:
            raise Uneven(f"{matrix.module}: {heads} KV heads do not divide by tensor-parallel size {tp}")
        return rows // tp
    if tp % heads:
        raise Uneven(
            f"{matrix.module}: tensor-parallel size {tp} is no multiple of {heads} KV heads, which it must copy"
        )
    return matrix.head


def bytes_on_rank(matrix: Matrix, layout: Layout, scheme: Scheme, dtype_bytes: int) -> int:
    """Bytes of one layer's matrix, its scales and its bias on the fullest rank."""
    part = cut(matrix, layout, scheme)
    rows, copies = sum(part.rows), max(1, part.experts)
    size = _format_bytes(matrix, part, scheme, layout, 4 if matrix.dtype == "F32" else dtype_bytes)
    if matrix.bias:
        size += rows * dtype_bytes
    return size * copies


def _format_bytes(matrix: Matrix, part: Cut, scheme: Scheme, layout: Layout, plain: int) -> int:
    """One copy."""
    rows, cols, fused = sum(part.rows), part.cols, len(part.rows)
    expert = matrix.experts > 0
    if scheme.format == "plain":
        return rows * cols * plain
    if scheme.format == "fp8-block":
        down, across = scheme.block
        if expert:
            down = across = _refined(matrix, part, down)
        elif layout.tp > 1:
            _whole_blocks(matrix, part, down, across)
        scales = sum(-(-r // down) for r in part.rows) * -(-cols // across)
        return rows * cols + 4 * scales
    if scheme.format == "fp8-tensor":
        inputs = 1 if expert else fused
        return rows * cols + 4 * fused + (4 * inputs if scheme.static else 0)
    if scheme.format == "nvfp4":
        return rows * cols // 2 + rows * (cols // scheme.group) + 4 * fused + 4 * fused
    if scheme.format == "mxfp4":
        return rows * cols // 2 + rows * (cols // scheme.group)
    # The unpacked shape is a parameter of each expert too: two numbers, in the model's dtype.
    return rows * cols * scheme.bits // 8 + rows * (cols // scheme.group) * plain + 2 * plain


def _refined(matrix: Matrix, part: Cut, block: int) -> int:
    """The block of experts' scales on a rank."""
    size = part.rows[0] if matrix.split == "rows" else part.cols
    refined = gcd(block, size)
    if refined < LEAST_BLOCK:
        raise Uneven(f"{matrix.module}: {size} per rank share only {refined} with the {block} of an fp8 block")
    return refined


def _whole_blocks(matrix: Matrix, part: Cut, down: int, across: int) -> None:
    """The engine refuses a rank whose share is no whole number of scale blocks."""
    if matrix.split == "rows" and len(matrix.rows) > 1:
        for r in part.rows:
            if r % down:
                raise Uneven(f"{matrix.module}: {r} rows per rank are no multiple of the {down} rows of an fp8 block")
    if matrix.split == "cols" and part.cols % across:
        raise Uneven(
            f"{matrix.module}: {part.cols} columns per rank are no multiple of the {across} columns of an fp8 block"
        )
