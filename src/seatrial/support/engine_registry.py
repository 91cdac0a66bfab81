"""What the engine itself says of its model registry: the answer of the probe `registry`, as records."""

from __future__ import annotations

from typing import Literal

import msgspec

from seatrial.core.record import Record

InfoValue = bool | int | float | str | None


class PluginState(Record):
    """One plugin entry point of the engine's environment.

    `load-failed`: the engine logs it and goes on without the plugin. `raised`: its function raised when called, which
    ends the engine. `not-selected`: `VLLM_PLUGINS` leaves it out. `registered`: architectures it added or overwrote.
    """

    group: str
    name: str
    target: str
    distribution: str
    state: Literal["loaded", "load-failed", "raised", "not-selected"]
    error: str
    registered: tuple[str, ...]


class ArchitectureState(Record):
    """What the engine does with one architecture of the checkpoint.

    `class_path` is `module:Class`; `owner` is "vllm" or the plugin's name; `upstream_class_path` is vLLM's own class
    when a plugin overwrote it. `importable` is None when there is no class to import. `info` is the engine's own
    `_ModelInfo` (what the class supports). `converted_from`: not registered itself, served through this one.
    `transformers_class`: what the Transformers library has of that name, looked up only when vLLM has nothing.
    """

    architecture: str
    registered: bool
    class_path: str
    owner: str
    upstream_class_path: str
    importable: bool | None
    error: str
    traceback: str
    file: str
    info: dict[str, InfoValue]
    platform_refusal: str
    converted_from: str
    previously_supported_until: str
    out_of_tree_plugin: str
    transformers_class: Literal["absent", "compatible", "incompatible"]
    transformers_error: str

    @property
    def serves(self) -> bool:
        """The engine finds a class for it, that class imports, and the platform takes it."""
        return self.importable is True and not self.error and not self.platform_refusal

    @property
    def overwritten(self) -> bool:
        """A plugin's class stands where vLLM has one of its own."""
        return bool(self.upstream_class_path) and self.upstream_class_path != self.class_path


class RegistryAnswer(Record):
    """`supported`: every architecture the engine registers, to its `module:Class`; `owners`: who registered each.

    `platform_quantization`: methods the platform accepts; empty when it does not restrict them.
    """

    vllm_version: str
    platform_class: str
    device_type: str
    plugins: tuple[PluginState, ...]
    architectures: tuple[ArchitectureState, ...]
    supported: dict[str, str] = msgspec.field(default_factory=dict)
    owners: dict[str, str] = msgspec.field(default_factory=dict)
    platform_quantization: tuple[str, ...] = ()
