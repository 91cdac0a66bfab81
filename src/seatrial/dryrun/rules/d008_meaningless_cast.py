"""D008: a dtype is cast to another kind of number."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules.base import Rule, some
from seatrial.dryrun.rules.dtypes import kind_of_number


def find(account: DryAccount) -> Iterator[Finding]:
    for cast in account.casts:
        if kind_of_number(cast.tensor_dtype) != kind_of_number(cast.parameter_dtype):
            yield RULE.finding(
                cast.names[0],
                f"{cast.count} of {cast.of} tensors {cast.kind} are {cast.tensor_dtype or 'of unknown dtype'}, but "
                f"parameter {cast.parameter_kind} is {cast.parameter_dtype}: {some(cast.names)}",
            )


RULE = Rule(
    code="D008",
    title="a dtype is cast to another kind of number",
    kind="fail",
    meaning=(
        "The tensor's numbers are of another kind (integer, 8-bit float, ordinary float) than the "
        "parameter's, so a cast loses their meaning: a quantised tensor in an unquantised parameter, or "
        "the reverse."
    ),
    mend=(
        "Declare the checkpoint's quantization in config.json, list the layer among the ignored ones, or"
        " convert the tensor."
    ),
    find=find,
)
