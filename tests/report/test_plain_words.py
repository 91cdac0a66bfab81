"""Figures and words of a report say no more and no less than the facts: units, rounding, unknowns, links, cuts."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from tests.report.report_runs import make_run, recorded

from seatrial.cli.deliver import command as deliver_command
from seatrial.cli.report import command as report_command
from seatrial.core.errors import UsageError
from seatrial.core.quantity import measured
from seatrial.core.step import Outcome
from seatrial.core.verdict import Verdict
from seatrial.evidence import ArtifactRef, StoredStep, open_workspace
from seatrial.report import write_report
from seatrial.report.blocks import Cell, Column, Curve, Document, Section, Table
from seatrial.report.facts import Facts
from seatrial.report.gather import Gathered, StepFacts
from seatrial.report.html import html_of
from seatrial.report.markdown import markdown_of
from seatrial.report.plots import short
from seatrial.report.sections import against, bench, features, ladder, planned, profile, rung, sources
from seatrial.report.words import billions, size, visible
from seatrial.report.workspace_page import write_overview

FURTHER = json.loads((Path(__file__).parent / "data" / "further.json").read_text())


def step(facts, name="x"):
    ref = ArtifactRef(name="facts.json", file="facts.json", sha256="0" * 64, bytes=2)
    stored = StoredStep(
        step=name, inputs="i", started_at="t", duration_s=1.0, outcome=Outcome(verdict=Verdict.PASS), summary="",
        facts=ref, findings=(), commands=(), artifacts=(), timeline=(),
    )  # fmt: skip
    return StepFacts(stored=stored, facts=facts, problem="")


NO_RUN: Gathered = None  # type: ignore[assignment] - the sections below read nothing of the run


def words_of(blocks) -> str:
    document = Document(
        title="t", subtitle="s", verdict="pass", tone="pass", seal="", is_signed_off=False, reason="", header=(),
        sections=(Section(id="x", title="x", blocks=tuple(blocks)),), footer="f",
    )  # fmt: skip
    html_of(document)
    return markdown_of(document).replace("\\", "")


@given(st.floats(min_value=1e-9, max_value=1e17))
def test_no_figure_of_a_chart_or_table_is_written_with_an_exponent_or_as_a_thousand_of_its_unit(number):
    figure = re.match(r"[\d.]+", short(number, "s"))
    assert figure
    assert "e" not in short(number, "B").removesuffix("B")
    assert float(figure[0]) < 1000 or number >= 999.5e15
    assert float(figure[0].replace(",", "")) > 0
    assert "e" not in measured(number) or number < 1e-4


@pytest.mark.parametrize(("number", "said"), [(999_960_000, "1.0 B"), (999_940_000, "999.9 M"), (999, "999")])
def test_a_number_of_parameters_that_rounds_to_the_next_unit_is_in_that_unit(number, said):
    assert billions(number) == said


def test_a_size_that_rounds_to_the_next_unit_is_in_that_unit():
    assert size(2**20 - 1) == "1.0 MiB"
    assert size(1023) == "1,023 B"


def test_a_throughput_of_five_digits_is_written_out():
    assert measured(12345.6) == "12,346"
    assert measured(4.0321) == "4.032"
    assert bench._number(12345.6, "").text == "12,346"


def test_less_than_one_token_a_second_is_not_none():
    assert planned._rate(0.7) == "0.7"
    assert planned._rate(None) is None
    assert planned._rate(1234.5) == "1,234"


def test_answers_that_nobody_counted_are_not_called_none_of_none():
    said = words_of(
        rung.blocks(step({"level": "L4", "claims": "c", "score": {}, "request": {}, "dataset": {}}), NO_RUN)
    )
    assert "0 of 0" not in said
    assert "answers: unknown" in said
    row = {"task": "t", "metric": "m", "value": 0.5, "level": "L4", "complete": True, "limit": None, "tool": "x"}
    said = words_of(rung.blocks(step({"level": "L4", "claims": "c", "score": {"scores": [row]}}), NO_RUN))
    assert "lower is better" not in said
    assert re.search(r"\| 0\.5000 \| unknown", said)


def test_a_trace_of_another_shape_shows_what_it_does_not_say_as_unknown():
    device = {"device": 0, "times": {"span_ns": 100}, "kernels": [{"name": "k", "calls": "many"}], "families": [{}]}
    phases = [{"phase": "decode", "steps": None}]
    rank = {"rank": 0, "devices": [device], "pipeline": {"how": "x", "phases": phases, "bubbles": [{"pairs": []}]}}
    facts = {"profiler_attached": False, "report": {"ranks": [rank]}}
    said = words_of(profile.blocks(step(facts), NO_RUN))
    assert "busy 0.0 %" not in said
    assert "busy unknown" in said
    assert "| decode | unknown |" in said
    assert "profiler attached: no" in said


def test_a_rung_that_gave_no_reason_is_not_said_to_serve():
    climbed = [
        {"rung": {"name": "eager", "change": "--enforce-eager", "kind": "workaround"}, "ending": "died", "reason": ""}
    ]
    assert "it serves" not in words_of(ladder.blocks(step({"climbed": climbed}), NO_RUN))


def test_an_output_whose_judgement_is_not_recorded_is_not_inside():
    rows = [{"key": f"k{i}", "kind": "o", "step": 0, "relative": 0.001, "limit": 1.0} for i in range(200)]
    facts = {"rows": rows, "first": None, "divergences": []}
    blocks = against.locate(step(facts), NO_RUN)
    said = words_of(blocks)
    assert "| inside |" not in said
    assert "0 more" not in said
    curve = next(b for b in blocks if isinstance(b, Curve))
    # All of it is under the lower end: the upper end is above it, not below.
    assert curve.up == ("a tenth of the limit or less", "the limit")


def test_divergences_that_are_not_shown_are_counted():
    row = {"prompt": 0, "place": 1, "engine_token": 2, "reference_token": 3, "margin": 0.5, "near_tie": False}
    said = words_of(against.parity(step({"divergences": [row] * 230}), NO_RUN))
    assert "30 more are in the facts file" in said
    said = words_of(against.parity(step({"divergences": [{}]}), NO_RUN))
    assert "None" not in said
    assert "wide" not in said


def test_source_files_nobody_counted_are_not_none():
    facts = Facts({"worker_sources": {"seen": [{"name": "p", "process": "w"}]}})
    said = words_of(sources.blocks(facts))
    assert "0 source files" not in said
    assert "None" not in said


def test_a_table_without_rows_says_so_in_both_forms():
    table = Table(columns=(Column(title="a"),), rows=(), title="Distances")
    document = Document(
        title="t", subtitle="s", verdict="pass", tone="pass", seal="", is_signed_off=False, reason="", header=(),
        sections=(Section(id="x", title="x", blocks=(table, Table(columns=(), rows=()))),), footer="f",
    )  # fmt: skip
    assert html_of(document).count("Nothing is recorded here.") == 2
    markdown = markdown_of(document)
    assert markdown.count("Nothing is recorded here.") == 2
    assert "|---|" not in markdown


@pytest.mark.parametrize(
    "hidden", ["\U000e0041", "\u3164", "\u115f", "\uffa0", "\u034f", "\ufe0f", "\U000e0100", "\ufff9"]
)
def test_a_character_that_nobody_sees_is_written_as_its_code(hidden):
    assert visible(f"name{hidden}") == f"name\\u{ord(hidden):04x}"


def test_the_links_of_the_markdown_lead_to_its_sections(tmp_path):
    run = make_run(tmp_path / "run", {**recorded("good"), **copy.deepcopy(FURTHER)})
    place = write_report(run)
    run.close()
    markdown = place.with_suffix(".md").read_text()
    wanted = set(re.findall(r"\]\(#([^)]+)\)", markdown))
    assert {"step-inspect", "step-features"} <= wanted
    assert wanted <= set(re.findall(r'<a id="([a-z0-9-]+)"></a>', markdown))


def test_bodies_and_answers_that_are_cut_or_left_out_say_so(tmp_path):
    steps = recorded("good")
    real = steps["real"]
    request = real["facts"]["requests"][0]
    request["text"] = "word " * 200
    real["attachments"][request["response_attachment"]] = "a" * 9000
    real["attachments"][request["request_attachment"]] = "b" * (70 << 10)
    run = make_run(tmp_path / "run", steps)
    markdown = write_report(run).with_suffix(".md").read_text().replace("\\", "")
    run.close()
    assert "word word…" in markdown
    assert "response, its first 8,000 characters" in markdown
    assert "request is not shown here" in markdown


def test_a_text_of_many_lines_that_is_cut_says_so():
    from seatrial.report.generic import blocks_of

    assert "the first 4,000 characters" in words_of(blocks_of("line\n" * 2000, "log"))


def test_two_steps_never_share_an_anchor():
    from seatrial.report.overview import anchor

    assert len({anchor(s) for s in ("bench-a.b-1", "bench-a-b-1", "bench-a b-1", "bench-ä-1", "bench-ö-1")}) == 5
    assert anchor("real-ladder") == "real-ladder"
    assert re.fullmatch(r"[A-Za-z0-9-]+", anchor("bench-ä b-1"))


def test_a_verdict_that_is_a_sentence_does_not_push_its_neighbours_off_the_page():
    rows = ((Cell(text="the throughput is not beyond the noise of the baseline", tone="inconclusive"),),)
    document = Document(
        title="t", subtitle="s", verdict="pass", tone="pass", seal="", is_signed_off=False, reason="", header=(),
        sections=(Section(id="x", title="x", blocks=(Table(columns=(Column(title="a"),), rows=rows),)),), footer="f",
    )  # fmt: skip
    html = html_of(document)
    assert '<span class="tone inconclusive says">the throughput' in html
    assert ".tone.says { white-space: normal; }" in html


def test_the_overview_links_to_no_report_that_is_not_there_and_names_are_whole_in_links(tmp_path):
    place = open_workspace(tmp_path / "w", write=True)
    steps = {**recorded("good"), "features": FURTHER["features"]}
    make_run(place.runs_folder / "20260131-120000-tiny-0001", steps).close()
    page = write_overview(place).read_text()
    assert "tiny-qwen3" in page
    assert 'href="runs/' not in page
    run = make_run(place.runs_folder / "20260131-120001-a#b?c%20-0002", steps, checkpoint="/models/other")
    write_report(run)
    run.close()
    links = re.findall(r'href="(runs/[^"]+)"', write_overview(place).read_text())
    assert len(links) == 2
    assert all((place.root / unquote(link)).is_file() and "#" not in link and "?" not in link for link in links)


def test_an_option_that_would_do_nothing_is_refused(tmp_path):
    place = open_workspace(tmp_path / "w", write=True)
    run = make_run(place.runs_folder / "20260131-120000-tiny-0001", recorded("good"))
    run.close()
    at = ["--workspace", str(tmp_path / "w")]
    for words in (["--port", "8000"], ["--serve", "--json"]):
        said = CliRunner().invoke(report_command, [*words, *at])
        assert isinstance(said.exception, UsageError), words
        assert words[0] in said.exception.message
    assert not (run.folder / "report.html").exists()
    for words in (["--base", "HEAD", "--repo", "."], ["--check", ".", "--repo", "."], ["--check", ".", "--model", "x"]):
        said = CliRunner().invoke(deliver_command, ["last", *words, *at])
        assert isinstance(said.exception, UsageError), words
        assert "--check" in said.exception.message


@pytest.mark.parametrize(
    "switch", [{"args": 3}, {"env": ["A"]}, {"env": "A=1"}, {"drop": 0.5, "args": True}, {"tp": [2]}, ["--x"]]
)
def test_a_switch_of_another_shape_is_shown_and_breaks_no_report(switch):
    row = {"name": "lora", "title": "LoRA", "status": "supported", "switch": switch, "start": "lora"}
    said = words_of(features.blocks(step({"rows": [row]}), NO_RUN))
    assert "LoRA" in said
    kept = switch if isinstance(switch, list) else list(switch.values())
    assert all(str(v).strip("[]'") in said for v in kept if v is not True and v != 0.5)


def test_a_json_argument_that_switches_a_feature_on_is_shown():
    switch = {
        "args": [],
        "env": {},
        "tp": None,
        "drop": [],
        "merged": {"additional-config": {"ascend_x": {"on": True}}},
    }
    row = {"name": "x", "title": "X", "status": "supported", "switch": switch, "start": "x"}
    said = words_of(features.blocks(step({"rows": [row]}), NO_RUN))
    assert '--additional-config with {"ascend_x":{"on":true}} laid over it' in said
    switch["merged"] = {}
    said = words_of(features.blocks(step({"rows": [row]}), NO_RUN))
    assert "merged" not in said
    assert "| – |" in said


def test_a_comparison_gives_the_terminal_no_orders(tmp_path):
    place = open_workspace(tmp_path / "w", write=True)
    steps = recorded("good")
    make_run(place.runs_folder / "20260131-120000-tiny-0001", steps).close()
    steps["inspect"]["summary"] = "a\x1b[31mred \u202eback"
    make_run(place.runs_folder / "20260131-120001-tiny-0002", steps, environment={"X\x1b[2J": "1"}).close()
    words = ["--compare", "20260131-120000-tiny-0001", "--workspace", str(tmp_path / "w")]
    said = CliRunner().invoke(report_command, words, env={"COLUMNS": "200"})
    assert said.exit_code == 0, said.output
    assert "\\u001b[31mred \\u202eback" in said.output
    assert "\x1b" not in said.output
    assert "\u202e" not in said.output


def test_a_status_has_one_tone_in_card_matrix_and_overview():
    from seatrial.report.sections.checkpoint_extras import STATUS
    from seatrial.report.sections.features import TONES
    from seatrial.report.workspace_page import STATUS_TONES

    for status, tone in TONES.items():
        assert STATUS_TONES.get(status, "not-applicable") == tone
        assert STATUS.get(status, tone) == tone
