"""Pages as pictures, kept for whoever looks at them (SEATRIAL_PICTURES names the folder), and what only a laid-out page
shows: nothing cut off, nothing a letter wide, everything reachable by keyboard, print without controls.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from chromium import PROGRAM, Chromium
from report_runs import make_run, recorded

from seatrial.evidence import Run, open_workspace
from seatrial.report import write_report
from seatrial.report.workspace_page import write_overview

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed (Debian's package: chromium)"),
]
SCREENS = [(1280, "light", ""), (1280, "dark", ""), (400, "light", ""), (400, "dark", ""), (720, "light", "print")]
TICK = "document.querySelectorAll('[data-runs] input').forEach(i => i.checked || i.click())"
# Cells that hold text and are narrower than four of their letters, or whose text runs out of them.
BAD_CELLS = """[...document.querySelectorAll('td, th, dd, dt')].filter(c => {
  if (!c.checkVisibility() || !c.innerText.trim() || c.closest('.sr')) return false;
  const wide = c.getBoundingClientRect().width, em = parseFloat(getComputedStyle(c).fontSize);
  return wide < 1.6 * em && c.innerText.trim().length > 4 || c.scrollWidth > c.clientWidth + 2 && !c.closest('.chart');
}).map(c => c.outerHTML.slice(0, 160))"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Chromium(tmp_path_factory.mktemp("profile")) as running:
        running.screen(1280, 900)
        yield running


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Two runs with everything in them, and the overview that compares them."""
    place = open_workspace(tmp_path_factory.mktemp("w"), write=True)
    steps = {**recorded("good"), **recorded("further")}
    one = make_run(place.runs_folder / "20260131-120000-tiny-0001", steps)
    inputs = {"checkpoint": "sha256:" + "6594e8781199828c32f39c10791914b03aa758366d226ee33d6742b3b54f6d72"}
    two = make_run(
        place.runs_folder / "20260201-120000-tiny-0002", recorded("broken"), versions={"vllm": "0.33.0"}, inputs=inputs
    )
    made = {"good": write_report(one), "broken": write_report(two)}
    one.close()
    two.close()
    return {**made, "overview": write_overview(place)}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Where they are kept."""
    named = os.environ.get("SEATRIAL_PICTURES")
    folder = Path(named) if named else tmp_path_factory.mktemp("pictures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize("name", ["good", "broken", "overview"])
@pytest.mark.parametrize(("width", "scheme", "media"), SCREENS)
def test_every_page_is_kept_as_a_picture_and_no_cell_is_squeezed_or_cut(
    name, width, scheme, media, browser, pages, pictures
):
    browser.screen(width, 1800, scheme=scheme, media=media)
    try:
        browser.open(pages[name])
        if name == "overview":
            browser.value(TICK)
        assert browser.value(BAD_CELLS) == []
        assert browser.value("document.documentElement.scrollWidth") <= width
        file = pictures / f"{name}-{width}-{media or scheme}.png"
        browser.picture(file)
    finally:
        browser.screen(1280, 900)
    data = file.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (width, 1800)
    # A blank page of that size is a few kilobytes.
    assert len(data) > 30_000


def press(browser, key, code, number, text=""):
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key=key, code=code, windowsVirtualKeyCode=number, text=text)


def test_two_runs_are_compared_by_keyboard_alone_and_the_focus_is_seen(browser, pages):
    browser.open(pages["overview"])
    ticked = 0
    seen = []
    for _ in range(30):
        press(browser, "Tab", "Tab", 9)
        at = browser.value("document.activeElement.outerHTML.slice(0, 60)")
        seen.append(at)
        assert browser.value("getComputedStyle(document.activeElement).outlineStyle") != "none", at
        if "checkbox" in at:
            press(browser, " ", "Space", 32, " ")
            ticked += 1
        if ticked == 2:
            break
    assert ticked == 2, seen
    assert "values differ" in browser.value("document.querySelector('#compare').innerText")


def test_the_overview_prints_its_table_without_controls(browser, pages):
    browser.open(pages["overview"])
    assert browser.pdf().startswith(b"%PDF")
    browser.screen(800, 1100, media="print")
    try:
        assert browser.value("[...document.querySelectorAll('input, select')].some(n => n.checkVisibility())") is False
        assert browser.value("document.querySelectorAll('[data-runs] tbody tr').length") == 2
    finally:
        browser.screen(1280, 900)


def test_a_run_without_a_wall_time_of_its_own_has_that_of_its_records(tmp_path):
    from seatrial.report.words import between

    place = open_workspace(tmp_path, write=True)
    run = make_run(place.runs_folder / "20260131-120000-tiny-0001", recorded("good"))
    run.append("finished", {"verdict": "pass", "signed_off": False, "reason": "", "kind": "accuracy"})
    page = write_report(run).read_text()
    run.close()
    assert "beginning to its last record" in page
    assert Run.read(run.folder).log.entries[-1].kind == "finished"
    assert between("2026-01-31T12:00:00Z", "2026-01-31T12:01:30.5Z") == 90.5
    assert between("2026-01-31T12:00:00Z", "2026-01-31T11:00:00Z") is None
    assert between("yesterday", "today") is None
