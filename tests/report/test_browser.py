"""The report in a real headless Chromium: no complaint, no request, readable without scripts, searchable with them."""

from __future__ import annotations

import pytest
from chromium import PROGRAM, Chromium
from report_runs import large_names, large_steps, make_run, recorded
from test_report import HOSTILE, spoil

from seatrial.core.command import Command
from seatrial.core.record import from_plain
from seatrial.report import write_report

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed (Debian's package: chromium)"),
]
VISIBLE = "document.body.innerText"
TROUBLES = "document.querySelector('[data-tensors=tensor-troubles]')"
FRAMES = "new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Chromium(tmp_path_factory.mktemp("profile")) as running:
        running.screen(1280, 900)
        yield running


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Reports by name, written once."""
    made = {}
    place = tmp_path_factory.mktemp("runs")
    hostile = recorded("broken")
    for step in hostile.values():
        step["facts"] = spoil(step["facts"])
        step["summary"] += HOSTILE
    kinds = {
        "good": recorded("good"),
        "broken": recorded("broken"),
        "hostile": hostile,
        "large": large_steps(list(large_names())),
    }
    for name, steps in kinds.items():
        run = make_run(place / name, steps, checkpoint=f"/models/{HOSTILE}" if name == "hostile" else "/models/tiny")
        made[name] = write_report(run)
        run.close()
    return made


@pytest.mark.parametrize("name", ["good", "broken", "hostile", "large"])
def test_the_page_asks_for_nothing_and_nothing_complains(browser, reports, name):
    browser.open(reports[name])
    browser.value(f"document.querySelectorAll('details').forEach(d => d.open = true); {FRAMES}")
    assert browser.requests() == [reports[name].resolve().as_uri()]
    assert browser.complaints() == []
    assert not [e for e in browser.events if e["method"] == "Page.javascriptDialogOpening"]


def test_the_policy_stops_a_script_and_a_request_that_got_into_the_page(browser, reports):
    browser.open(reports["good"])
    browser.value(
        "const s = document.createElement('script'); s.textContent = 'window.stolen = 1'; document.body.append(s);"
        "const i = new Image(); i.src = 'http://127.0.0.1:9/x'; document.body.append(i); " + FRAMES
    )
    assert browser.value("window.stolen === undefined")
    browser.wait_complaint("Content Security Policy")


@pytest.mark.parametrize("name", ["good", "broken"])
def test_without_javascript_all_key_texts_are_there(browser, reports, name):
    browser.scripts(False)
    try:
        browser.open(reports[name])
        text = browser.value("document.body.innerText")
        folded = browser.value("document.body.textContent")
        assert not browser.value("document.querySelector('input, button') !== null")
    finally:
        browser.scripts(True)
    steps = recorded(name)
    assert all(step["summary"] in text for step in steps.values())
    commands = [from_plain(Command, c, where=name) for step in steps.values() for c in step["commands"]]
    assert len(commands) >= 4
    assert all(c.shell() in text for c in commands)
    assert "model.layers.*.self_attn.q_proj.weight" in text
    assert "BPE" in text
    assert "memory bytes" in folded
    if name == "broken":
        assert "model.layers.1.mlp.experts.0.down_proj.weight" in text


def test_search_finds_single_tensors_among_92000_and_the_state_narrows(browser, reports):
    browser.open(reports["large"])
    ask = f"""(async (text, state) => {{
      const box = {TROUBLES};
      box.scrollIntoView();
      await {FRAMES};
      box.querySelector('select').value = state;
      box.querySelector('input').value = text;
      const said = new Promise(r => new MutationObserver(r).observe(box.querySelector('output'), {{childList: true}}));
      box.querySelector('input').dispatchEvent(new Event('input'));
      await said;
      return [box.querySelector('output').textContent, box.querySelector('tbody').innerText];
    }})"""
    said, rows = browser.value(f"{ask}('layers.17.mlp.experts.200.', '')")
    assert said == "tensors: 6"
    assert "model.layers.17.mlp.experts.200.down_proj.weight_scale_inv" in rows
    assert browser.value(f"{ask}('', 'unexplained')")[0] == f"tensors: {len(list(large_names())):,}"
    said, rows = browser.value(f"{ask}('no such tensor', '')")
    assert said == "tensors: 0"
    assert "Nothing fits." in rows
    assert browser.complaints() == []


def test_a_group_unfolds_by_keyboard_a_page_at_a_time(browser, reports):
    browser.open(reports["large"])
    browser.value(f"{TROUBLES}.scrollIntoView(); {FRAMES}")
    browser.value(f"{TROUBLES}.querySelector('button.fold').focus()")
    group = browser.value("document.activeElement.textContent")
    for kind in ("keyDown", "keyUp"):
        browser.call(
            "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r"
        )
    browser.value(FRAMES)
    assert browser.value("document.activeElement.getAttribute('aria-expanded')") == "true"
    shown = browser.value(f"[...{TROUBLES}.querySelectorAll('.members li')].map(l => l.textContent)")
    assert "*" in group
    assert 0 < len(shown) <= 200
    assert set(shown) <= set(large_names())


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (400, "light"), (400, "dark")])
def test_nothing_is_wider_than_the_screen_and_text_stands_out(browser, reports, width, scheme):
    browser.screen(width, 900, scheme=scheme)
    try:
        for name in ("good", "broken", "hostile"):
            browser.open(reports[name])
            assert browser.value("document.documentElement.scrollWidth") <= width
        paint = "getComputedStyle(document.body)"
        ink, paper = browser.value(f"[{paint}.color, {paint}.backgroundColor]")
        assert (ink, paper) == (
            ("rgb(27, 36, 48)", "rgb(255, 255, 255)")
            if scheme == "light"
            else ("rgb(228, 232, 237)", "rgb(20, 24, 29)")
        )
    finally:
        browser.screen(1280, 900)


def test_small_text_and_verdicts_have_enough_contrast_in_both_schemes(browser, reports):
    """WCAG 2.2 AA: 4.5 to 1. Computed from the colours the browser really uses."""
    ratio = """(() => {
      const light = (c) => {
        const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
          .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const paper = (n) => { for (; n; n = n.parentElement) {
        const c = getComputedStyle(n).backgroundColor;
        if (!c.endsWith(', 0)')) return c;
      } return 'rgb(255,255,255)'; };
      const low = [];
      for (const n of document.querySelectorAll('small, .tone, dt, th, td, p, a, summary, .stamp, .seal, code')) {
        if (!n.checkVisibility()) continue;
        const [a, b] = [light(getComputedStyle(n).color), light(paper(n))].sort((x, y) => y - x);
        if ((a + 0.05) / (b + 0.05) < 4.5) low.push(n.outerHTML.slice(0, 120));
      }
      return low;
    })()"""
    for scheme in ("light", "dark"):
        browser.screen(1280, 900, scheme=scheme)
        browser.open(reports["broken"])
        assert browser.value(ratio) == []
    browser.screen(1280, 900)


def test_it_prints_with_everything_unfolded(browser, reports):
    browser.open(reports["good"])
    assert browser.pdf().startswith(b"%PDF")
    browser.screen(800, 1100, media="print")
    try:
        assert browser.value("getComputedStyle(document.querySelector('nav')).display") == "none"
        inside = "document.querySelector('details:not([open]) > .inside')"
        assert browser.value(f"{inside}.getBoundingClientRect().height") > 0
    finally:
        browser.screen(1280, 900)


def test_the_engines_and_our_own_spans_differ_in_form_not_only_in_colour(browser, reports):
    browser.open(reports["good"])
    fill = "getComputedStyle(document.querySelector('rect.{}')).fill"
    assert "hatch" in browser.value(fill.format("seatrial"))
    assert browser.value(fill.format("engine")).startswith("rgb")
    assert browser.value("document.querySelector('.timeline').innerText").count("seatrial") >= 2
