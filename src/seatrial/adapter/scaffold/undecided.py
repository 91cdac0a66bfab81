"""A place in a written file that the checkpoint does not decide: what has to be known, and what speaks to it."""

from __future__ import annotations

import json
import keyword
import re

from seatrial.core.record import Record


class Open(Record):
    """`question` in one line; `evidence` are lines from the checkpoint. In the file it is a call of `undecided`."""

    question: str
    evidence: tuple[str, ...] = ()

    def call(self, indent: int = 8) -> str:
        """The Python expression that stands for the answer and raises until somebody gives it; one line a string."""
        pad = " " * indent
        lines = [self.question, *(f" {line}" for line in self.evidence)]
        quoted = "".join(f"\n{pad}    {json.dumps(line, ensure_ascii=False)}" for line in lines)
        return f"undecided({quoted}\n{pad})"


def class_prefix(architecture: str) -> str:
    """`Qwen3` of `Qwen3ForCausalLM`: what the classes of one file begin with."""
    return re.sub(r"(For[A-Z]\w*|LMHeadModel|ChatModel|Model)$", "", architecture) or architecture


def module_name(architecture: str) -> str:
    """A module's name for an architecture: `Qwen3MoeForCausalLM` becomes `qwen3_moe`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", class_prefix(architecture))
    name = re.sub(r"\W+", "_", words).strip("_").lower() or "model"
    return f"{name}_" if keyword.iskeyword(name) or name[0].isdigit() else name
