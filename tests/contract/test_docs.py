"""Pages that list things are generated; none may differ from what the code would write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_generated_page_is_current():
    checked = subprocess.run([sys.executable, "scripts/docs.py", "--check"], capture_output=True, text=True, cwd=ROOT)
    assert checked.returncode == 0, checked.stderr
