"""Times the overview of a workspace of 200 runs: reading, rendering, and loading, filtering, comparing in Chromium.

Run: PYTHONPATH=src python bench/report_overview.py [--runs N]
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "report"))

from chromium import PROGRAM, Chromium
from report_runs import make_run, recorded

from seatrial.evidence import open_workspace
from seatrial.report.workspace_page import read_all, workspace_html, write_overview

ACT = """
(async () => {
  const frame = () => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)));
  const form = document.querySelector("[data-filters]");
  const times = [];
  for (const text of ["0007", "qwen", "pass model-3", "nothing like this", ""]) {
    const began = performance.now();
    form.elements.text.value = text;
    form.elements.text.dispatchEvent(new Event("input", { bubbles: true }));
    await frame();
    times.push(performance.now() - began);
  }
  const boxes = document.querySelectorAll("[data-runs] input");
  const began = performance.now();
  boxes[0].click();
  boxes[boxes.length - 1].click();
  await frame();
  return [times, performance.now() - began, document.querySelectorAll(".differences tr").length];
})()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    count = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        workspace = open_workspace(Path(name) / "w", write=True)
        good, broken = recorded("good"), recorded("broken")
        for n in range(count):
            steps = copy.deepcopy(broken if n % 3 == 2 else good)
            versions = {"vllm": f"0.{20 + n % 13}.0", **{f"package-{p}": f"1.{p}.{n % 4}" for p in range(150)}}
            made = make_run(
                workspace.runs_folder / f"20260131-12{n // 60:02d}{n % 60:02d}-model-{n:04d}", steps,
                checkpoint=f"/models/model-{n % 12}", versions=versions,
                target={"name": ("cpu", "ascend-a2", "kunlun-p800")[n % 3], "platform": "cpu"},
            )  # fmt: skip
            made.close()
        began = time.perf_counter()
        runs = read_all(workspace)
        read = time.perf_counter()
        html = workspace_html(runs, title="bench")
        rendered = time.perf_counter()
        load = os.getloadavg()[0]
        print(f"{count} runs, load average {load:.1f}")
        print(f"read {read - began:.2f} s, HTML {rendered - read:.2f} s, {len(html.encode()) / 1e3:.0f} kB")
        page = write_overview(workspace)
        if PROGRAM is None:
            print("no Chromium: the browser was not measured")
            return
        with Chromium(Path(name) / "profile") as browser:
            browser.screen(1280, 900)
            browser.open(page)
            loads = [browser.open(page) for _ in range(5)]
            print(f"load event after {statistics.median(loads):.2f} s (median of 5)")
            times, compared, rows = browser.value(ACT)
            print(f"filter until drawn: {', '.join(f'{t:.0f}' for t in times)} ms")
            print(f"compare two runs until drawn: {compared:.0f} ms, {rows} rows")
            print(f"complaints: {browser.complaints() or 'none'}")


if __name__ == "__main__":
    main()
