"""Is a fork the right road? Reuse and overlay come first; a fork needs a reason, and the reason is kept.

In: the architectures of a file, the engine's and the plugin's registries. Out: a `Strategy`. Refused (UsageError): a
fork where the plugin has a class, or where vLLM's own serves the architecture with the platform's operators, unless
`fork` is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from seatrial.adapter.port.register import PluginSource
from seatrial.core.errors import UsageError
from seatrial.core.record import Record
from seatrial.support.registry_records import RegistryTable


class Strategy(Record):
    """`recommended` is the least invasive road that is open; `reason` says why the fork is made (or was refused)."""

    recommended: Literal["reuse", "overlay", "fork with provenance"]
    reason: str


def recommend(classes: Mapping[str, str], table: RegistryTable, plugin: PluginSource, target: str) -> Strategy:
    """The road for these architectures, from both registries; what `target`, the port itself, registers is left out."""
    held = {a: e for a, e in plugin.registered.items() if e.module != target}
    own = [f"{a} ({held[a].class_path})" for a in classes if a in held]
    if classes and len(own) == len(classes):
        return Strategy(recommended="reuse", reason=f"{plugin.distribution.name} has {', '.join(own)}")
    served = [a for a in classes if a in table.supported()]
    if served:
        names = ", ".join(served)
        reason = f"vLLM {table.engine_version} serves {names} itself, with the platform's operators in place of its own"
        return Strategy(recommended="overlay", reason=reason)
    names = ", ".join(classes) or "no architecture"
    return Strategy(recommended="fork with provenance", reason=f"vLLM {table.engine_version} does not serve {names}")


def decide(
    classes: Mapping[str, str], table: RegistryTable, plugin: PluginSource, target: str, *, fork: bool, because: str
) -> Strategy:
    """The strategy with the reason that is recorded; raises UsageError where a fork is not called for."""
    found = recommend(classes, table, plugin, target)
    if found.recommended == "fork with provenance":
        return Strategy(recommended=found.recommended, reason=because or found.reason)
    if not fork:
        raise UsageError(
            f"no fork is called for: {found.recommended}, since {found.reason}",
            mend="Run the gates as it is; if it has to be a fork, say --fork and why by --because.",
        )
    why = because or "no reason was given"
    return Strategy(recommended=found.recommended, reason=f"{why} (against {found.recommended}: {found.reason})")
