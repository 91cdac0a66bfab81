"""What the tensors say about quantisation against what the config says."""

from __future__ import annotations

from seatrial.checkpoint.checks.facts import Facts
from seatrial.checkpoint.codes import note
from seatrial.checkpoint.components import Part, serves
from seatrial.checkpoint.dtypes import FP8
from seatrial.checkpoint.model_codes import EXCLUDED_QUANTISED, NOT_QUANTISED, QUANT_SILENT
from seatrial.checkpoint.names import Group, fill
from seatrial.core.finding import Finding

PACKED = ("qweight", "weight_packed")


def quantised(group: Group, patterns: set[str]) -> bool:
    """Whether these tensors hold quantised weights: fp8, packed, or whole numbers that have a scale."""
    if serves(group.pattern):
        return False
    dtypes = {dtype for dtype, _ in group.kinds}
    leaf = group.pattern.rsplit(".", 1)[-1]
    if leaf in PACKED or leaf.endswith("_blocks") or dtypes & (FP8 | {"F4", "F6_E2M3", "F6_E3M2"}):
        return True
    module = group.pattern.removesuffix(".weight")
    names = (f"{group.pattern}_scale", f"{module}.scale", f"{group.pattern}.absmax", f"{group.pattern}_scale_inv",
             f"{module}.weights_scaling_factor", f"{module}.SCB")  # fmt: skip
    return bool(dtypes & {"I8", "U8"}) and any(name in patterns for name in names)


def quantised_groups(groups: list[tuple[Part, Group]]) -> list[Group]:
    patterns = {group.pattern for _, group in groups}
    return [group for _, group in groups if quantised(group, patterns)]


def check(facts: Facts) -> list[Finding]:
    if facts.known != "headers" or not facts.groups:
        return []
    ours = quantised_groups(facts.groups)
    said = facts.quantization
    if said is None and ours:
        dtypes = ", ".join(sorted({d for g in ours for d in g.dtypes()}))
        text = f"is quantised ({dtypes}), but no file describes how"
        return [note(QUANT_SILENT, ours[0].example(), text)]
    if said is None:
        return []
    if not ours and said.method != "ascend" and not (said.method == "bitsandbytes" and said.weight_bits == 8):
        text = f"says {said.method} ({said.scheme}), but no tensor is quantised"
        return [note(NOT_QUANTISED, said.files[0], text)]
    found: list[Finding] = []
    exact = {rule for rule in said.excluded if "*" not in rule and not rule.startswith("re:")}
    for group in ours if exact else ():
        # Exclusions name modules; a group's first name stands for all when no rule names a number.
        row = group.indices[0]
        module = fill(group.pattern, row).rsplit(".", 1)[0]
        if module in exact:
            text = f"is quantised, though {said.files[0]} excludes {module}"
            found.append(note(EXCLUDED_QUANTISED, fill(group.pattern, row), text))
    return found[:5]
