"""From a target to the interpreter it names.

In: a `Target`. Out: the absolute path of a Python. Refuses (EngineError): an embedded engine that is not installed, an
interpreter that is not there or not executable. Nothing is started.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from seatrial.core.errors import EngineError
from seatrial.engine.store import find_engine
from seatrial.targets import Target


def target_python(target: Target) -> Path:
    """The interpreter of the target's engine. Symbolic links are kept: a virtual environment's Python is one."""
    if target.engine.kind == "embedded":
        return Path(find_engine(target.engine.package, target.engine.version).python)
    name = target.engine.interpreter
    found = shutil.which(name) if os.sep not in name else name
    if found is None or not os.access(found, os.X_OK) or Path(found).is_dir():
        raise EngineError(
            f"the interpreter {name!r} of target {target.name!r} is not an executable file",
            mend="Set engine.interpreter of the target to the Python that has vLLM, in seatrial.toml.",
        )
    return Path(os.path.abspath(found))  # noqa: PTH100 - Path.resolve would follow the link out of the environment
