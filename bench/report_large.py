"""Times a report with some 92,000 tensors in trouble: rendering, size, and loading and searching in Chromium.

Run: PYTHONPATH=src python bench/report_large.py
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "report"))

from chromium import PROGRAM, Chromium
from report_runs import large_names, large_steps, make_run

from seatrial.report import write_report
from seatrial.report.compose import compose
from seatrial.report.gather import gather
from seatrial.report.html import html_of
from seatrial.report.markdown import markdown_of

SEARCH = """
(async () => {
  const box = document.querySelector("[data-tensors=tensor-troubles]");
  box.scrollIntoView();
  await new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)));
  const input = box.querySelector("input");
  const out = {};
  for (const text of ["layers.17.mlp.experts.200.", "down_proj", "nothing like this"]) {
    const began = performance.now();
    input.value = text;
    input.dispatchEvent(new Event("input"));
    await new Promise((r) => setTimeout(r, 130));
    await new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)));
    out[text] = [Math.round(performance.now() - began - 130), box.querySelector("output").textContent];
  }
  return out;
})()
"""


def main() -> None:
    names = list(large_names())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = make_run(folder / "run", large_steps(names))
        print(f"{len(names)} tensors, facts {run.artifact(run.steps()['dry'].facts).stat().st_size / 1e6:.1f} MB")
        began = time.perf_counter()
        gathered = gather(run)
        read = time.perf_counter()
        document = compose(gathered)
        composed = time.perf_counter()
        html = html_of(document)
        rendered = time.perf_counter()
        markdown = markdown_of(document)
        end = time.perf_counter()
        print(f"read and check {read - began:.2f} s, compose {composed - read:.2f} s", end=", ")
        print(f"HTML {rendered - composed:.2f} s, Markdown {end - rendered:.2f} s")
        print(f"report.html {len(html.encode()) / 1e3:.0f} kB, report.md {len(markdown.encode()) / 1e3:.0f} kB")
        path = write_report(run)
        run.close()
        if PROGRAM is None:
            print("no Chromium: the browser was not measured")
            return
        with Chromium(folder / "profile") as browser:
            browser.screen(1280, 900)
            browser.open(path)
            loads = [browser.open(path) for _ in range(3)]
            print(f"load event after {min(loads):.2f} to {max(loads):.2f} s (3 loads)")
            for text, (milliseconds, said) in browser.value(SEARCH).items():
                print(f"search {text!r}: {milliseconds} ms until drawn, {said}")
            print(f"complaints: {browser.complaints() or 'none'}")


if __name__ == "__main__":
    main()
