"""The overview of a workspace, two runs compared, and the live view: whole, honest, quick in a real browser."""

from __future__ import annotations

import http.client
import json
import threading
from contextlib import contextmanager

import pytest
from chromium import PROGRAM, Chromium
from page import Page
from report_runs import make_run, recorded
from tests.cost import million_turns

from seatrial.evidence import Run, open_workspace
from seatrial.report.compare import differences, facets
from seatrial.report.live import live
from seatrial.report.workspace_page import read_all, workspace_html, write_overview

HOSTILE = '"><script>alert(1)</script>\u202e</script><!--'
FEATURES = {
    "outcome": {"verdict": "pass", "reason": ""}, "summary": "2 supported", "findings": [], "commands": [],
    "timeline": [], "duration_s": 3.0, "inputs": "x", "attachments": {},
    "facts": {"rows": [{"name": "streaming", "status": "supported"}, {"name": "lora", "status": "not-attempted"}]},
}  # fmt: skip


@pytest.fixture
def three(place, make):
    """A good run, a broken one with another engine and features, a hostile one; and a folder that is no run."""
    make("good", name="20260131-120000-tiny-0001").close()
    steps = recorded("broken")
    steps["features"] = FEATURES
    make(steps, name="20260201-120000-tiny-0002", versions={"vllm": "0.33.0", "new": "1"}).close()
    make("good", name="20260202-120000-evil-0003", checkpoint=f"/models/{HOSTILE}").close()
    (place / "20260203-120000-torn-0004").mkdir()
    (place / "20260203-120000-torn-0004" / "manifest.json").write_text("{")
    return open_workspace(place.parent, write=False)


def test_every_run_has_its_line_the_unreadable_too_and_hostile_names_stay_text(three):
    html = write_overview(three).read_text()
    page = Page(html)
    assert page.problems == []
    for name in ("tiny-0001", "tiny-0002", "evil-0003", "torn-0004"):
        assert name in page.text
    assert "unreadable" in page.text
    assert "4 runs" in page.text
    assert [a.get("type") for a, _ in page.scripts] == ["application/json", None]
    assert json.loads(page.scripts[0][1])["runs"]
    assert "alert(1)" not in "".join(text for attributes, text in page.scripts if not attributes)
    assert "streaming" in page.text


def test_a_run_that_cannot_be_read_keeps_no_other_from_its_report(three, tmp_path):
    from click.testing import CliRunner

    from seatrial.cli.report import command

    done = CliRunner().invoke(command, ["--all", "--json", "--workspace", str(three.root)])
    assert done.exit_code == 0, done.exception
    told = json.loads(done.stdout)
    assert (len(told["reports"]), len(told["left_out"])) == (3, 1)
    assert "no report of 20260203-120000-torn-0004" in done.stderr
    assert (three.root / "overview.html").is_file()
    (tmp_path / "empty").mkdir()
    none = CliRunner().invoke(command, ["--all", "--workspace", str(tmp_path / "empty")])
    assert "there is no run in" in str(none.exception)


def test_a_link_is_written_only_to_a_report_that_is_there(three):
    from seatrial.report import write_report

    write_report(Run.read(three.run_folder("20260131")))
    links = [link for link in Page(write_overview(three).read_text()).links if link.endswith("report.html")]
    assert set(links) >= {"runs/20260131-120000-tiny-0001/report.html"}
    listed = [link for link in links if "0002" not in link]
    assert listed == ["runs/20260131-120000-tiny-0001/report.html"]


def test_what_differs_between_two_runs_is_named_and_what_agrees_is_not(three):
    left, right = (facets(Run.read(three.run_folder(n))) for n in ("20260131", "20260201"))
    found = {(d.group, d.name): (d.left, d.right) for d in differences(left, right)}
    assert found["versions", "vllm"] == ("0.32.0+cpu", "0.33.0")
    assert found["versions", "new"] == ("", "1")
    assert found["verdicts", "dry"] == ("pass", "fail")
    assert found["features", "streaming"] == ("", "supported")
    assert not [k for k in found if k[1] == "target"]
    assert differences(left, left) == ()


@contextmanager
def serving(workspace):
    server = live(workspace, 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def get(port, path, host=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    connection.request("GET", path, headers={"Host": host or f"127.0.0.1:{port}"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.getheader("Content-Type"), body


def test_the_live_view_shows_runs_as_they_are_now_and_nothing_outside_of_them(three, place, make):
    secret = place.parent.parent / "secret.txt"
    secret.write_text("secret")
    run = Run.read(three.run_folder("20260131"))
    ref = run.steps()["real"].artifacts[0]
    before = sorted(p for p in place.rglob("*"))
    with serving(three) as port:
        assert b"4 runs" in get(port, "/")[2]
        status, kind, body = get(port, f"/runs/{run.run_id}/report.html")
        assert (status, kind) == (200, "text/html; charset=utf-8")
        assert b"Signed off" in body
        assert get(port, f"/runs/{run.run_id}/artifacts/{ref.file}")[2] == run.artifact(ref).read_bytes()
        for path in (
            "/../secret.txt", "/runs/../../secret.txt", f"/runs/{run.run_id}/artifacts/../../../../secret.txt",
            f"/runs/{run.run_id}/artifacts/%2e%2e%2f%2e%2e%2fmanifest.json", f"/runs/{run.run_id}/.lock",
            "/index.sqlite", f"/runs/{run.run_id}/artifacts/", "/runs//manifest.json",
        ):  # fmt: skip
            status, _, body = get(port, path)
            assert status == 404, path
            assert b"secret" not in body or b"secret.txt" in body
        assert get(port, "/", host="evil.example")[0] == 403
        make("good", name="20260204-120000-late-0005").close()
        assert b"late-0005" in get(port, "/")[2]
    assert [p for p in sorted(place.rglob("*")) if "late-0005" not in str(p)] == before


def test_artifacts_are_sent_as_text_whatever_they_hold(place, make):
    steps = recorded("good")
    steps["real"]["attachments"] = {"page.html": "<script>alert(1)</script>"}
    run = make(steps)
    run.close()
    ref = next(a for a in run.steps()["real"].artifacts if a.name == "page.html")
    with serving(open_workspace(place.parent, write=False)) as port:
        assert get(port, f"/runs/{run.run_id}/artifacts/{ref.file}")[1] == "text/plain; charset=utf-8"


FRAMES = "new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))"
SHOWN = "[...document.querySelectorAll('[data-runs] tbody tr')].filter(r => !r.hidden).map(r => r.dataset.run)"
TYPE = """(() => {{ const e = document.querySelector('[data-filters]').elements.{0}; e.value = {1!r};
e.dispatchEvent(new Event('input', {{bubbles: true}})); }})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if PROGRAM is None:
        pytest.skip("no Chromium is installed (Debian's package: chromium)")
    with Chromium(tmp_path_factory.mktemp("profile")) as running:
        running.screen(1280, 900)
        yield running


@pytest.mark.browser
def test_filters_ticks_and_the_address_work_and_nothing_complains(three, browser):
    page = write_overview(three)
    browser.open(page)
    browser.value(TYPE.format("text", "0002"))
    assert browser.value(SHOWN) == ["20260201-120000-tiny-0002"]
    browser.value(TYPE.format("text", ""))
    browser.value(TYPE.format("verdict", "pass"))
    assert len(browser.value(SHOWN)) == 2
    browser.value(TYPE.format("verdict", ""))
    browser.value(TYPE.format("kind", "run"))
    assert len(browser.value(SHOWN)) == 3  # the unreadable one is of no kind that is known
    browser.value(TYPE.format("kind", ""))
    for name in ("0001", "0002"):
        browser.value(f"document.querySelector('tr[data-run$=\"{name}\"] input').click()")
    said = browser.value("document.querySelector('#compare').innerText")
    assert "0.33.0" in said
    assert "values differ" in said
    assert browser.value("document.querySelectorAll('[data-runs] input:disabled').length") == 2
    browser.value(TYPE.format("text", "tiny"))
    assert "text=tiny" in browser.value("location.hash")
    browser.events.clear()
    browser.call("Page.reload")
    browser.wait("Page.loadEventFired")
    assert len(browser.value(SHOWN)) == 2
    assert "0.33.0" in browser.value("document.querySelector('#compare').innerText")
    assert browser.complaints() == []
    assert {address.partition("#")[0] for address in browser.requests()} == {page.resolve().as_uri()}


@pytest.mark.browser
def test_the_differences_in_the_page_are_those_of_the_command(three, browser):
    page = write_overview(three)
    browser.open(page)
    for name in ("0001", "0002"):
        browser.value(f"document.querySelector('tr[data-run$=\"{name}\"] input').click()")
    rows = browser.value(
        "[...document.querySelectorAll('.differences tbody tr:not(.group)')].map(r => r.cells[0].textContent)"
    )
    left, right = (facets(Run.read(three.run_folder(n))) for n in ("20260131", "20260201"))
    assert sorted(rows) == sorted(d.name for d in differences(left, right))


@pytest.mark.browser
def test_without_scripts_the_whole_table_is_there_and_on_a_small_screen_it_fits(three, browser, tmp_path):
    page = write_overview(three)
    browser.scripts(allowed=False)
    try:
        browser.open(page)
        assert len(browser.value(SHOWN)) == 4
        assert browser.value("document.querySelector('[data-filters]').hidden") is True
    finally:
        browser.scripts(allowed=True)
    for scheme in ("light", "dark"):
        browser.screen(390, 844, scheme=scheme)
        browser.open(page)
        assert browser.value("document.documentElement.scrollWidth <= innerWidth") is True
    browser.screen(1280, 900)


def test_two_hundred_runs_make_a_page_of_bounded_size(place, make):
    make("good").close()
    one = facets(Run.read(open_workspace(place.parent, write=False).run_folder("last")))
    from seatrial.core.record import replace

    many = [replace(one, run_id=f"2026-{n:04d}") for n in range(200)]
    html = workspace_html(many, title="many")
    assert html.count("<tr data-run=") == 200
    assert len(html.encode()) < 2 << 20


def test_the_facts_of_a_hundred_thousand_tensors_are_not_read_for_the_overview(place):
    steps = recorded("good")
    steps["dry"]["facts"]["filler"] = ["x" * 1000] * 3000
    make_run(place / "20260131-120000-big-0009", steps).close()
    found = []
    assert million_turns(lambda: found.extend(read_all(open_workspace(place.parent, write=False)))) < 80
    assert found[0].values["verdicts/dry"] == "pass"


def test_a_linked_folder_and_a_page_by_another_name_are_not_served(place, make, tmp_path):
    run = make("good")
    run.close()
    (run.folder / "artifacts" / "page.xhtml").write_text("<html xmlns='http://www.w3.org/1999/xhtml'/>")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "key.txt").write_text("secret")
    linked = make("good", name="20260131-120000-tiny-0009")
    linked.close()
    (linked.folder / "artifacts").rename(tmp_path / "aside")
    (linked.folder / "artifacts").symlink_to(outside)
    with serving(open_workspace(place.parent, write=False)) as port:
        assert get(port, f"/runs/{linked.run_id}/artifacts/key.txt")[0] == 404
        status, kind, _ = get(port, f"/runs/{run.run_id}/artifacts/page.xhtml")
        assert (status, kind) == (200, "application/octet-stream")


def test_a_name_that_no_file_can_have_is_not_found_and_the_server_goes_on(place, make):
    run = make("good")
    run.close()
    with serving(open_workspace(place.parent, write=False)) as port:
        for name in ("%00", "a%00b", "x" * 5000, "%ff%fe", "..%2f..%2fmanifest.json", "%2e%2e", ""):
            assert get(port, f"/runs/{run.run_id}/artifacts/{name}")[0] == 404
            assert get(port, f"/runs/{name}/report.html")[0] == 404
        assert get(port, "/")[0] == 200


def test_what_ended_a_run_is_told_and_runs_of_a_kind_can_be_chosen(place, make):
    broken = make("good", name="20260205-120000-bench-0006", finish=False, arguments={"kind": "bench", "sides": []})
    broken.append("error", {"reason": "the service is not ready: CUDA out of memory"})
    broken.close()
    html = write_overview(open_workspace(place.parent, write=True)).read_text()
    page = Page(html)
    assert "the service is not ready: CUDA out of memory" in page.text
    assert '<option value="">all kinds</option><option>bench</option>' in html
    assert 'data-run="20260205-120000-bench-0006" data-kind="bench"' in html


def test_two_benches_are_compared_by_their_figures(place, make):
    steps = {
        "bench-a-1": {
            **recorded("good")["inspect"],
            "facts": {"metrics": {"request_throughput": 12.345, "ttft_ms": None}},
        }
    }
    one = make(steps, name="20260205-120000-bench-0007", arguments={"kind": "bench"})
    one.close()
    values = facets(Run.read(one.folder)).values
    assert values["numbers/bench-a-1: Request throughput (req/s)"] == "12.345"
    assert values["numbers/bench-a-1: TTFT (ms) p99"] == "unknown"
