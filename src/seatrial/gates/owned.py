"""Arguments of the server that seatrial sets itself and cannot let anybody set a second time.

In: the further arguments of a start, and its stage. Refuses (UsageError) an address that nobody would wait at, a name
that nobody would ask for, and weights other than the stage's: a real gate on dummy weights would be a false proof.
"""

from __future__ import annotations

from collections.abc import Sequence

from seatrial.core.errors import UsageError

HOW = {
    "host": "Set serve.host of the target.",
    "port": "Set serve.port of the target, or use --port of `serve start`.",
    "uds": "Leave it out: seatrial speaks to a port.",
    "model": "Name the checkpoint's folder instead.",
    "served-model-name": "Leave it out: the folder's name is used.",
    "config": "Give the arguments of that file one by one, with --arg or in the target.",
}


def refuse_owned(extra_args: Sequence[str], stage: str) -> None:
    """Raise UsageError for the first of `extra_args` that is not the user's to set."""
    for place, word in enumerate(extra_args):
        if not word:
            raise UsageError("an argument for the server is empty", mend="Leave that --arg out.")
        name, equals, value = word.partition("=")
        if not name.startswith("--"):
            continue
        name = name[2:].replace("_", "-")
        if name in HOW:
            raise UsageError(f"--{name} is set by seatrial", mend=HOW[name])
        if name == "load-format":
            value = value if equals else extra_args[place + 1] if place + 1 < len(extra_args) else ""
            if stage == "dummy" or value.lower() == "dummy":
                raise UsageError(f"--{name} {value} is not for the {stage} stage", mend="--stage chooses the weights.")
