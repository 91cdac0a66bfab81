"""A three-way merge of texts by `git merge-file`: what both sides changed alike or apart is taken, the rest is marked.

In: ours, base, theirs. Out: the merged text and the number of conflicts. Refuses (EngineError): a machine without git.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from seatrial.core.errors import EngineError
from seatrial.core.record import Record


class Merged(Record):
    """`conflicts` are places marked with `<<<<<<<`, `|||||||`, `=======` and `>>>>>>>` lines."""

    text: str
    conflicts: int


def merge(ours: str, base: str, theirs: str, labels: tuple[str, str, str]) -> Merged:
    """Merge; `labels` name the three sides in the markers."""
    with tempfile.TemporaryDirectory(prefix="seatrial-merge-") as folder:
        paths = [Path(folder) / name for name in ("ours", "base", "theirs")]
        for path, text in zip(paths, (ours, base, theirs), strict=True):
            path.write_text(text, encoding="utf-8", newline="")
        argv = ["git", "merge-file", "--stdout", "--diff3"]
        for label in labels:
            argv += ["-L", label]
        try:
            done = subprocess.run([*argv, *map(str, paths)], capture_output=True, timeout=120)
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise EngineError(f"git merge-file did not run: {exc}", mend="Install git.") from exc
    # The exit code is the number of conflicts, at most 127; errors are 128 and more, or negative.
    if done.returncode < 0 or done.returncode > 127:
        raise EngineError(f"git merge-file failed: {done.stderr.decode(errors='replace').strip()}")
    text = done.stdout.decode("utf-8")
    return Merged(text=text, conflicts=sum(line.startswith("<<<<<<< ") for line in text.splitlines()))
