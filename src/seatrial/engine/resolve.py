"""From a target to the interpreter of its engine, and to the versions installed beside it (without importing them)."""

from __future__ import annotations

import shutil
from pathlib import Path

from seatrial.core.errors import EngineError
from seatrial.engine.border import ProbeSession
from seatrial.engine.store import find_engine
from seatrial.targets import Target


def engine_python_of(target: Target) -> Path:
    """The interpreter; raises EngineError naming the target's key if there is none."""
    choice = target.engine
    if choice.kind == "embedded":
        return Path(find_engine(choice.package, choice.version).python)
    found = shutil.which(str(Path(choice.interpreter).expanduser()))
    if found is None:
        raise EngineError(
            f"target {target.name!r}: engine.interpreter {choice.interpreter!r} does not exist or is not executable",
            mend="Set it in seatrial.toml to the Python that has vLLM.",
        )
    # Not resolved further: a virtual environment is known by the link's own place.
    return Path(found).absolute()


def installed_versions(session: ProbeSession) -> dict[str, str]:
    """Distribution to version for everything installed there; raises EngineError if the interpreter gives no answer."""
    reply = session.call("versions", {}, timeout_s=60)
    if reply.status != "answered":
        raise EngineError(f"{session.python}: {reply.trouble()}", mend=f"See {reply.log}.")
    versions: dict[str, str] = reply.answer
    return versions
