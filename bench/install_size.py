"""How large an installation of the core is, and how long it takes. Must hold: under 100 MB, no torch.

    python bench/install_size.py

Makes a fresh virtual environment in a temporary folder and installs this checkout with pip.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def size(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file() and not f.is_symlink())


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        venv = Path(place) / "venv"
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        [site] = venv.glob("lib/python*/site-packages")
        empty = size(site)
        began = time.perf_counter()
        subprocess.run([str(venv / "bin" / "pip"), "install", "-q", str(ROOT)], check=True, stderr=subprocess.DEVNULL)
        took = time.perf_counter() - began
        rows = sorted(((size(f), f.name) for f in site.iterdir() if f.is_dir()), reverse=True)
        print(f"{'folder':<30}{'MB':>8}")
        for amount, name in rows[:12]:
            if name not in ("pip", "setuptools"):
                print(f"{name:<30}{amount / 1e6:>8.1f}")
        print(f"{'core with dependencies':<30}{(size(site) - empty) / 1e6:>8.1f}   installed in {took:.1f} s")
        print(f"torch among them: {'yes' if any(n.startswith('torch') for _, n in rows) else 'no'}")


if __name__ == "__main__":
    main()
