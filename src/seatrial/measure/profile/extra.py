"""Whether the extra `profile` is installed; asked before numpy is imported, so that the error names the mend."""

from __future__ import annotations

import importlib.util

from seatrial.core.errors import SeatrialError


def require(*packages: str) -> None:
    """Raises SeatrialError, exit code 4, which names what is missing and the pip command."""
    missing = [p for p in packages if importlib.util.find_spec(p) is None]
    if missing:
        raise SeatrialError(
            f"reading profiles needs {' and '.join(missing)}", mend="Run: pip install 'seatrial[profile]'"
        )
