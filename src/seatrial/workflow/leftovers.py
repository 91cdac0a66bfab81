"""What a killed attempt left in the scratch folder: kept as evidence before the next attempt writes there.

The raw log of a server that was running when seatrial was killed is often the only witness of why.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from seatrial.core.record import to_plain
from seatrial.evidence import Run

MOST = 500  # files; more is said, not kept


def set_aside(run: Run, scratch: Path) -> None:
    """Keep the files of an earlier attempt as artifacts under one record, then empty the folder.

    Files of a server's own working folder are the engine's business and go; symbolic links are not followed.
    """
    files = [p for p in sorted(scratch.rglob("*")) if _is_evidence(p, scratch)]
    if files:
        kept = [run.keep_file(f"interrupted/{p.relative_to(scratch)}", p) for p in files[:MOST]]
        body: dict[str, Any] = {
            "reason": f"an attempt that was stopped left {len(files)} files; {len(kept)} are kept",
            "artifacts": to_plain(kept),
        }
        run.append("left-behind", body)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True, exist_ok=True)


def _is_evidence(path: Path, scratch: Path) -> bool:
    inside = path.relative_to(scratch).parts
    return path.is_file() and not path.is_symlink() and "cwd" not in inside and path.stat().st_size > 0
