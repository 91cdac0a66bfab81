"""What is installed where an engine runs, from metadata alone: nothing is imported."""

from __future__ import annotations

from seatrial.core.errors import EngineError
from seatrial.engine.border import ProbeSession


def installed_versions(session: ProbeSession) -> dict[str, str]:
    """Distribution to version for everything installed there; raises EngineError if the interpreter gives no answer."""
    reply = session.call("versions", {}, timeout_s=60)
    if reply.status != "answered":
        raise EngineError(f"{session.python}: {reply.trouble()}", mend=f"See {reply.log}.")
    versions: dict[str, str] = reply.answer
    return versions
