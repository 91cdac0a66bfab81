"""LibCST, asked for when an edit needs it: it is an extra, and takes a third of a second to import."""

from __future__ import annotations

from types import ModuleType

from seatrial.core.errors import EngineError


def cst() -> ModuleType:
    """The module `libcst`; raises EngineError naming the extra where it is not installed."""
    try:
        import libcst
        import libcst.metadata
    except ImportError as exc:
        raise EngineError(
            f"edits that keep a file's formatting need LibCST ({exc})", mend="pip install 'seatrial[codemod]'"
        ) from exc
    return libcst
