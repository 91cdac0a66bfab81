"""Quantisation adapters: small files that a plugin takes over as they are, each with its numeric test here.

The templates lie beside this module as text: they are the plugin's code, not seatrial's, and nothing here runs them.
"""

from __future__ import annotations

import re
from importlib import resources

from seatrial.core.errors import UsageError
from seatrial.core.record import Record

MODEL_TYPE = re.compile(r"^[a-z][a-z0-9_]*$")


class Template(Record):
    """A template by name: the file it becomes, the platform it is for, and what it does in one line."""

    name: str
    file: str
    platform: str
    summary: str
    takes_model_type: bool = False


TEMPLATES: dict[str, Template] = {
    t.name: t
    for t in (
        Template(
            name="awq-repack", file="awq_repack.py", platform="kunlun", summary="AWQ int4 nibbles in Kunlun's order."
        ),
        Template(
            name="gptq-repack",
            file="gptq_repack.py",
            platform="kunlun",
            summary="GPTQ int4 zero points in Kunlun's order.",
        ),
        Template(
            name="max-scale", file="max_scale.py", platform="kunlun", summary="Int8 scales times 127, exactly once."
        ),
        Template(
            name="fp8-dequant",
            file="fp8_dequant.py",
            platform="any",
            summary="fp8 weights as bfloat16, strictly paired.",
        ),
        Template(
            name="modelslim-mapping",
            file="modelslim_mapping.py",
            platform="ascend",
            summary="The packed-module entry of a new model type, with a check.",
            takes_model_type=True,
        ),
    )
}


def render(name: str, model_type: str = "") -> bytes:
    """The text of a template. Raises UsageError for an unknown name, or a model type that is missing or no name."""
    if name not in TEMPLATES:
        raise UsageError(f"unknown quantisation template {name!r}", mend=f"Known: {', '.join(sorted(TEMPLATES))}.")
    template = TEMPLATES[name]
    if template.takes_model_type and not MODEL_TYPE.match(model_type):
        raise UsageError(
            f"{name} needs the model's type, not {model_type!r}",
            mend="Give model_type of config.json: --model-type NAME.",
        )
    text = (resources.files(__name__) / "templates" / f"{template.file}.txt").read_text(encoding="utf-8")
    return text.replace("@MODEL_TYPE@", model_type).encode()
