"""The dry run's account as `locate` needs it: which checkpoint tensor lies in which rows of which engine parameter.

In: a checkpoint's folder and a probe session of the engine. Out: an `Account` for the reference's probe, which pairs
modules by it: a module of the reference and one of the engine belong together if the same tensors went into both.
A checkpoint that the dry run cannot load gives an empty account with the reason: modules are then paired by name.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import msgspec

from seatrial.checkpoint import read_checkpoint
from seatrial.core.errors import SeatrialError
from seatrial.core.record import Record
from seatrial.dryrun.places import Place, places
from seatrial.dryrun.raw import RawDry
from seatrial.dryrun.readings import Readings
from seatrial.dryrun.request import DryRequest, columns
from seatrial.dryrun.tensor import HeaderTensor
from seatrial.engine.border import ProbeSession
from seatrial.platforms.stubs import Stubs


class Account(Record):
    """`into`: by tensor, its places on every rank. `sizes`: elements of every tensor of the checkpoint.

    `engine` names the engine that made it; `trouble` says why there is none.
    """

    into: dict[str, tuple[Place, ...]] = msgspec.field(default_factory=dict)
    sizes: dict[str, int] = msgspec.field(default_factory=dict)
    engine: str = ""
    trouble: str = ""


def tensor_account(
    session: ProbeSession,
    checkpoint: Path,
    *,
    tp: int = 1,
    dtype: str = "",
    engine_args: dict[str, Any] | None = None,
    stubs: Stubs | None = None,
    plugin_root: str = "",
    timeout_s: float = 600.0,
    say: Callable[[str], None] | None = None,
) -> Account:
    """All ranks of `tp`, loaded on the meta device. Never raises for a checkpoint: `trouble` says what is wrong."""
    try:
        tensors = [
            HeaderTensor(name=t.name, dtype=t.dtype, shape=tuple(t.shape)) for t in read_checkpoint(checkpoint).tensors
        ]
    except SeatrialError as exc:
        return Account(trouble=exc.one_line())
    if not tensors:
        return Account(trouble=f"{checkpoint} has no safetensors shards")
    request = DryRequest(
        folder=str(checkpoint),
        tensors=columns(tensors),
        tp=tp,
        pp=1,
        ep=False,
        ranks=list(range(tp)),
        sample_ranks=[],
        workers=max(1, min(2, os.cpu_count() or 1)),
        dtype=dtype,
        engine_args=dict(engine_args or {}),
        stubs=stubs,
        plugin_root=plugin_root,
    )
    reply = session.call("dry", request, timeout_s=timeout_s, progress=say)
    if reply.status != "answered":
        return Account(trouble=f"the dry run gave no answer: {reply.trouble()}")
    raw = reply.decode(RawDry)
    into = places(Readings(request, raw))
    sizes = {t.name: prod(t.shape) for t in tensors}
    if not into:
        refused = raw.config_error or next((e for r in raw.ranks for e in r.errors), None)
        why = (
            f"{refused.type.rpartition('.')[2]}: {' '.join(refused.message.split())}"
            if refused
            else "nothing was loaded"
        )
        return Account(trouble=f"the dry run placed no tensor: {why[:300]}")
    return Account(into=into, sizes=sizes, engine=f"vLLM {raw.engine.vllm}")
