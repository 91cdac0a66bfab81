"""The contract of a platform folder: `facts.py` with one `PLATFORM`; every folder has the same file names."""

from __future__ import annotations

from seatrial.core.record import Record


class Platform(Record):
    """`device_type` is what vLLM's `current_platform.device_type` says when it is active.

    `plugin` is the entry point's name in `vllm.platform_plugins` (empty: built into vLLM), `distribution` its package,
    `visible_env` the variable that selects devices (empty: none).
    """

    name: str
    device_type: str
    plugin: str = ""
    distribution: str = ""
    visible_env: str = ""
