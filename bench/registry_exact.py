"""Is the registry read from source the one the engine reports? Wheel by wheel, name by name, class by class.

    python bench/registry_exact.py --python ENGINE_PYTHON --wheels FOLDER [--extra FOLDER] [--cache FOLDER]

For each `vllm*.whl` in FOLDER: the reader's answer from the wheel and from the unpacked installation, against
`ModelRegistry` asked through the probe `registry`, with the wheel's files ahead of the engine's on PYTHONPATH (its
dependencies are those of ENGINE_PYTHON; EXTRA is for small pure-Python ones that one lacks). A release that does not
import there is shown as such and proves nothing.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from packaging.version import Version

from seatrial.engine.border import ProbeSession
from seatrial.support import RegistryAnswer
from seatrial.support.registry_read import read_registry


def version_of(wheel: Path) -> Version:
    return Version(wheel.name.split("-")[1])


def unpack(wheel: Path, cache: Path) -> Path:
    folder = cache / wheel.stem / "site-packages"
    if not folder.is_dir():
        folder.mkdir(parents=True)
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    return folder


def ask(python: Path, folders: list[Path], log: Path) -> RegistryAnswer | str:
    env = {"PYTHONPATH": os.pathsep.join(map(str, folders))}
    with ProbeSession(python, log=log, env=env) as session:
        reply = session.call("registry", {"architectures": []}, timeout_s=300)
    return reply.decode(RegistryAnswer) if reply.status == "answered" else reply.trouble()


def whole_process(folder: Path) -> float:
    """Seconds of `seatrial registry list`, best of three whole processes."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "seatrial", "registry", "list", str(folder)], check=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--wheels", type=Path, required=True)
    parser.add_argument("--extra", type=Path)
    parser.add_argument("--cache", type=Path)
    args = parser.parse_args()
    exact = wrong = 0
    with tempfile.TemporaryDirectory() as scratch:
        cache = args.cache or Path(scratch)
        print(
            f"{'release':<9} {'engine':>6} {'read':>5} {'names':>7} {'classes':>8} {'wheel':>6} {'whole process':>15}"
        )
        for wheel in sorted(args.wheels.glob("vllm*.whl"), key=version_of):
            folder = unpack(wheel, cache)
            table = read_registry(folder)
            mine = {name: entry.class_path for name, entry in table.supported().items()}
            from_wheel = {n: e.class_path for n, e in read_registry(wheel).supported().items()}
            answer = ask(args.python, [folder, *([args.extra] if args.extra else [])], Path(scratch) / "probe.log")
            if isinstance(answer, str) or answer.vllm_version.split("+")[0] != table.engine_version.split("+")[0]:
                reason = answer if isinstance(answer, str) else f"imported {answer.vllm_version} instead"
                print(f"{version_of(wheel)!s:<9} not imported: {reason}")
                continue
            names, classes = mine.keys() == answer.supported.keys(), mine == answer.supported
            if names and classes and from_wheel == mine:
                exact += 1
            else:
                wrong += 1
                print("   differs:", sorted(set(mine.items()) ^ set(answer.supported.items()))[:10])
            row = (f"{version_of(wheel)!s:<9}", f"{len(answer.supported):>6}", f"{len(mine):>5}",
                   f"{'equal' if names else 'DIFFER':>7}", f"{'equal' if classes else 'DIFFER':>8}",
                   f"{'equal' if from_wheel == mine else 'DIFFER':>6}",
                   f"{whole_process(folder):>13.2f} s")  # fmt: skip
            print(*row, flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{exact} releases equal to the engine's own answer, {wrong} not; this process peaked at {peak:.0f} MB")
    return 0 if exact >= 6 and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
