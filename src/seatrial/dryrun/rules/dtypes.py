"""Kinds of numbers: a cast within a kind keeps the meaning of the values, a cast between kinds does not."""

from __future__ import annotations

KINDS = {
    "float16": "float",
    "bfloat16": "float",
    "float32": "float",
    "float64": "float",
    "int16": "integer",
    "int32": "integer",
    "int64": "integer",
    "uint16": "integer",
    "uint32": "integer",
    "uint64": "integer",
}


def kind_of_number(dtype: str) -> str:
    """`float` or `integer` for ordinary types; 8-bit and smaller ones are kinds of their own."""
    return KINDS.get(dtype, dtype)
