"""What the compatibility meter reports.

Codes: K001 a module of vLLM that is not there; K002 a name that is not in its module; K003 an attribute that a module
or class of vLLM does not have; K004 a call with an argument vLLM does not take; K005 a call without one it needs;
K006 a call with too many; K007 an overriding method that cannot be called as vLLM's is; K008 abstract methods left out;
K009 an entry point that names nothing; K010 an import-hook mapping that can never fire; K011 an inert patch;
K012 a file that does not parse (a warning: that is not read); K013 a module of the plugin's own that is not there;
K014 a module that raises by itself on this vLLM; K015 a version test that this build's label turns over (a warning).
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from seatrial.core.finding import Severity
from seatrial.core.record import Record
from seatrial.core.verdict import Outcome

# For those who act on a hit of one kind.
NO_MODULE, NO_NAME, UNKNOWN_ARGUMENT, MISSING_ARGUMENT, OWN_GONE = "K001", "K002", "K004", "K005", "K013"


class Hit(Record):
    """One place where plugin and engine do not fit.

    `when`: "import" breaks the module as it is imported, "use" when that code runs. `guarded`: something catches it, so
    the plugin takes its other road. `reached`: an entry point can lead to the module on this engine. `moved_to`: where
    the engine has a thing of that name now, likeliest first. `architectures`: the registered ones it breaks.
    """

    code: str
    severity: Severity
    file: str
    line: int
    module: str
    function: str
    symbol: str
    message: str
    when: Literal["import", "use"]
    guarded: bool
    reached: bool
    moved_to: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()

    def but(self, **changes: Any) -> Hit:
        """The same hit with other field values."""
        return msgspec.structs.replace(self, **changes)  # type: ignore[type-var]

    @property
    def breaks(self) -> bool:
        """Whether it counts: an error that nothing catches, in code an entry point can lead to."""
        return self.severity is Severity.ERROR and not self.guarded and self.reached


class ArchitectureImpact(Record):
    """One architecture the plugin registers. `importable` by what the sources say; `because`: hits in the way."""

    architecture: str
    class_path: str
    importable: bool
    because: tuple[str, ...] = ()


class Counts(Record):
    """How much was looked at, and how much could not be decided from the text (and raised no alarm)."""

    modules: int
    modules_reached: int
    names_checked: int
    names_undecided: int
    calls_checked: int
    calls_undecided: int
    overrides_checked: int


class CompatReport(Record):
    """One plugin against one engine. `registrations_unread`: where more may register, and why not read."""

    schema_version: int
    engine: str
    engine_version: str
    plugin: str
    plugin_name: str
    plugin_version: str
    outcome: Outcome
    hits: tuple[Hit, ...]
    architectures: tuple[ArchitectureImpact, ...]
    counts: Counts
    registrations_unread: tuple[str, ...] = ()

    def breakages(self) -> tuple[Hit, ...]:
        return tuple(h for h in self.hits if h.breaks)
