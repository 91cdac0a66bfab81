"""The dry run of two published giants from names and shapes alone.

    python bench/dry_scale.py ENGINE_PYTHON

Must hold on two cores, the engine's import included: DeepSeek-V3 671B block-fp8 (91,991 tensors), TP 16, all ranks,
under 30 s wall and 1.5 GB; Qwen3-235B-A22B, TP 8, under 15 s. Memory is the largest sum of proportional set sizes of
this process and all of its children, sampled four times a second.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from pathlib import Path

import psutil
from dry_models import DEEPSEEK_V3, QWEN3_235B, deepseek_v3, qwen3_moe

from seatrial.core.verdict import Verdict
from seatrial.dryrun import dry
from seatrial.engine.border import ProbeSession


class Memory(threading.Thread):
    """Samples the memory of a process tree until told to stop."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self.ended = threading.Event()

    def run(self) -> None:
        me = psutil.Process()
        while not self.ended.wait(0.25):
            total = 0
            for process in [me, *me.children(recursive=True)]:
                try:
                    total += process.memory_full_info().pss
                except psutil.Error:
                    continue
            self.peak = max(self.peak, total)


def measure(name: str, config: dict[str, object], tensors: list[object], tp: int, python: Path) -> None:
    memory = Memory()
    memory.start()
    before = os.times()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config))
        with ProbeSession(python, log=Path(folder) / "dry.log") as session:
            result = dry(Path(folder), tensors, session=session, tp=tp)
    wall = time.monotonic() - began
    after = os.times()
    memory.ended.set()
    memory.join()
    cpu = sum(after[:4]) - sum(before[:4])
    account = result.facts
    t = account.timing
    print(f"{name}: {result.outcome.verdict.value}, {result.summary}")
    print(
        f"  wall {wall:.1f} s, CPU {cpu:.1f} s, memory {memory.peak / 1e9:.2f} GB (PSS, whole tree), "
        f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs"
    )
    print(
        f"  import {t.import_s:.1f} s, configure {t.configure_s:.1f} s; over all ranks: build {t.build_s:.1f} s, "
        f"load {t.load_s:.1f} s, skip rules {t.drops_s:.1f} s; account {t.account_s:.1f} s"
    )
    sums = account.sums
    print(f"  bytes {sums.bytes_in:,} = {sums.bytes_placed:,} placed + {sums.bytes_dropped:,} dropped")
    for group in account.rank_classes:
        print(f"  ranks {group.ranks[0]}-{group.ranks[-1]}: loaded {group.loaded}")
    if result.outcome.verdict is not Verdict.PASS:
        print(f"  {result.outcome.reason}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("python", type=Path)
    options = parser.parse_args()
    measure("DeepSeek-V3 671B block-fp8, TP 16", DEEPSEEK_V3, deepseek_v3(), 16, options.python)
    measure("Qwen3-235B-A22B, TP 8", QWEN3_235B, qwen3_moe(), 8, options.python)


if __name__ == "__main__":
    main()
