"""Which kind of repository a checkout is: by the package it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def kind_of(folder: Path) -> Literal["ascend", "kunlun", "generic"]:
    """`ascend` with a package vllm_ascend, `kunlun` with vllm_kunlun, else `generic`."""
    if (folder / "vllm_ascend").is_dir() or (folder / "docs/source/tutorials/models").is_dir():
        return "ascend"
    return "kunlun" if (folder / "vllm_kunlun").is_dir() else "generic"
