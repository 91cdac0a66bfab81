"""The facts of the step `support`."""

from __future__ import annotations

from seatrial.core.record import Record
from seatrial.support.case import CaseDecision
from seatrial.support.engine_registry import ArchitectureState, PluginState


class SupportFacts(Record):
    """What the engine said. `served_by` is the architecture the engine would use, None if it has none.

    `road`: "native" (a class of vLLM or a plugin), "transformers-backend" (vLLM's wrapper of the library's class),
    "remote-code" (only the checkpoint's own code might), "none", "by-source" (no engine was asked, the registry was
    read from its sources), or "unknown" (the engine did not answer).
    """

    architectures: tuple[str, ...]
    model_type: str
    road: str
    served_by: ArchitectureState | None = None
    case: CaseDecision | None = None
    states: tuple[ArchitectureState, ...] = ()
    plugins: tuple[PluginState, ...] = ()
    vllm_version: str = ""
    platform_class: str = ""
    device_type: str = ""
    supported_count: int | None = None
    platform_quantization: tuple[str, ...] = ()
    supported: tuple[str, ...] = ()
