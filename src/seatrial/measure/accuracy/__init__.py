"""Accuracy: does the served model answer as the reference does, how well, and if not, where does it part?

Doors: `parity.parity` and `locate.locate` (against HF Transformers), `ladder` (L0 to L3 and own questions), `outside`
(lm-eval, AISBench), `run.read_run` and `records.AccuracyScore` (what a run leaves), `compare.compare`,
`tolerance.judge`, `ab.matrix`, `bisect.bisect`.
"""

from __future__ import annotations

import json
from pathlib import Path

from seatrial.core.errors import UsageError
from seatrial.core.plain_file import read_plain

LARGEST = 16 << 20


def reference_dtype(checkpoint: Path) -> str:
    """The dtype that the checkpoint's config.json declares; raises UsageError if it declares none."""
    file = checkpoint / "config.json"
    try:
        document = json.loads(read_plain(file, limit=LARGEST))
    except (OSError, ValueError, RecursionError) as exc:
        raise UsageError(f"{file} cannot be read: {exc}", mend="Name a checkpoint's folder.") from exc
    levels = [document, *(v for v in document.values() if isinstance(v, dict))] if isinstance(document, dict) else []
    for level in levels:
        found = level.get("dtype") or level.get("torch_dtype")
        if isinstance(found, str) and found:
            return found.removeprefix("torch.")
    raise UsageError(f"{file} declares no dtype", mend="Give --dtype.")
