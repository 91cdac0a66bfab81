"""What a run's plan predicted stands in the delivered texts beside what the engine said, each figure bound to both."""

from __future__ import annotations

import json

import pytest
from delivery_runs import make_run, recorded
from tests.shards import write_shard
from tests.workflow.test_bad_input import CONFIG, TENSORS

from seatrial.core.record import to_plain
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.figures import numbers_of, unfounded
from seatrial.delivery.planned import COLUMNS, ROWS, planned_of
from seatrial.estimate import read_model
from seatrial.estimate.check import DrySeen, check_plan
from seatrial.estimate.device import device_for
from seatrial.estimate.facts import plan_facts
from seatrial.estimate.from_log import read_log
from seatrial.estimate.launch import read_launch
from seatrial.evidence import Run
from seatrial.targets import load_target


@pytest.fixture
def facts(tmp_path):
    """The plan of a small checkpoint under the recorded launch: 64 MiB for the cache, as the target may set it."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    write_shard(folder / "model.safetensors", TENSORS)
    argv = ("vllm", "serve", str(folder), "--max-model-len", "256", "--kv-cache-memory-bytes", str(64 << 20))
    target = load_target("cpu").target
    return plan_facts(read_model(folder), device_for(target), read_launch(argv, {}, target.platform))


def step(outcome, facts):
    empty = {"findings": [], "commands": [], "timeline": [], "attachments": {}}
    kept = {"outcome": to_plain(outcome), "summary": "", "facts": to_plain(facts)}
    return {**empty, **kept, "inputs": "recorded", "duration_s": 0.1}


@pytest.fixture
def with_plan(workspace, facts):
    """The recorded run with a plan, checked against the log of its own real gate."""
    what = recorded()
    log = what["steps"]["real"]["attachments"]["server.log"]
    seen = DrySeen(weights=facts.plan.weights.largest().total(), per_token=None)
    check = check_plan(facts.plan, read_log(log), seen, "real")
    what["steps"]["plan"] = step(facts.plan.outcome, facts)
    what["steps"]["plan-check"] = step(check.outcome(), check)
    return Run.read(make_run(workspace, what).folder)


def rows_of(text):
    """The table of planned memory by its first cell, in whichever language."""
    lines = [[c.strip() for c in line.strip().strip("|").split("|")] for line in text.splitlines() if "|" in line]
    labels = {label for pair in ROWS.values() for label in pair}
    return {cells[0]: cells[1:] for cells in lines if len(cells) == 3 and cells[0] in labels}


def texts_of(done, folder):
    pages = [folder / f for f in done.files if f.endswith(".md")]
    return {p.name: p.read_text() for p in pages}


def test_the_figures_of_plan_and_engine_stand_in_the_reports_and_in_the_tutorial(
    with_plan, repo, hand_over, scores, workspace, facts
):
    folder = repo("sphinx")
    done = hand_over(with_plan, folder, scores=scores, languages=("zh", "en"))
    assert done.state == "committed", done.refused
    bundle = workspace.root / "deliveries" / f"{with_plan.run_id}-ascend"
    tokens = f"{facts.plan.capacity.tokens:,}"
    for file, language in (("analysis.en.md", 0), ("analysis.zh.md", 1)):
        rows = rows_of((bundle / file).read_text())
        assert rows[ROWS["tokens"][language]] == [tokens, "1,641,856"]
        assert rows[ROWS["for_kv"][language]] == ["64.0 MiB", "798.7 MiB"]
        parameters = rows[ROWS["tensors"][language]]
        assert parameters[0] == parameters[1]
    tutorial = folder / "docs/source/tutorials/models/Qwen3-tiny.md"
    pages = [tutorial] if tutorial.is_file() else list(folder.rglob("Qwen3-tiny.md"))
    assert rows_of(pages[0].read_text())["KV cache in tokens"] == [tokens, "1,641,856"]
    english = (bundle / "analysis.en.md").read_text()
    assert f"check of the plan: {EvidenceView(with_plan).verdict('plan-check')}" in english
    assert "plan-check facts" in english


def test_a_figure_of_the_plan_backs_its_own_row_and_column_alone(with_plan):
    view = EvidenceView(with_plan)
    numbers, planned = numbers_of(view), planned_of(view)
    by_key = {r.key: r for r in planned.rows}
    head = f"| Memory | {COLUMNS['planned'][0]} | {COLUMNS['reported'][0]} |\n|---|---|---|\n"

    def shown(key, one, two, language=0):
        return [f.figure for f in unfounded(f"{head}| {ROWS[key][language]} | {one} | {two} |", numbers)]

    tokens, kv = by_key["tokens"], by_key["for_kv"]
    one, two = tokens.shown("planned"), tokens.shown("reported")
    assert shown("tokens", one, two) == []
    assert shown("tokens", two, one) == [two, one]
    assert shown("for_kv", one, two) == [one, two]
    assert shown("for_kv", kv.shown("planned"), kv.shown("reported")) == []
    assert shown("for_kv", "64.1 MiB", "798.7 GiB") == ["64.1", "798.7"]
    # What was predicted is no source of a figure elsewhere.
    assert [f.figure for f in unfounded(f"It holds {one} tokens.", numbers)] == [one]


def test_every_changed_figure_of_the_table_is_noticed(with_plan):
    view = EvidenceView(with_plan)
    numbers = numbers_of(view)
    for language in (0, 1):
        titles = [COLUMNS[c][language] for c in ("planned", "reported")]
        head = f"| x | {titles[0]} | {titles[1]} |\n|---|---|---|\n"
        for row in planned_of(view).rows:
            good = [row.shown(c) or "unknown" for c in ("planned", "reported")]
            line = f"| {ROWS[row.key][language]} | {good[0]} | {good[1]} |"
            assert unfounded(head + line, numbers) == []
            for cell in filter(lambda c: c != "unknown", good):
                digit = next(c for c in cell if c.isdigit())
                changed = line.replace(cell, cell.replace(digit, str((int(digit) + 1) % 10), 1))
                assert unfounded(head + changed, numbers), changed


def test_a_run_without_a_plan_says_nothing_of_it(run, repo, hand_over, scores, workspace):
    assert planned_of(EvidenceView(run)) is None
    folder = repo("sphinx")
    hand_over(run, folder, scores=scores, languages=("zh", "en"))
    bundle = workspace.root / "deliveries" / f"{run.run_id}-ascend"
    for file in bundle.glob("*.md"):
        assert rows_of(file.read_text()) == {}
        assert "planned" not in file.read_text()


def test_a_plan_without_figures_gives_its_reason(workspace, repo, hand_over, scores):
    from seatrial.core.verdict import inconclusive

    what = recorded()
    why = "config.json: num_attention_heads is missing"
    what["steps"]["plan"] = {**step(inconclusive(why), {}), "summary": why}
    what["steps"]["plan-check"] = step(inconclusive(f"there is no plan to check: {why}"), {})
    run = Run.read(make_run(workspace, what).folder)
    folder = repo("sphinx")
    done = hand_over(run, folder, scores=scores, languages=("zh", "en"))
    assert done.state == "committed", done.refused
    bundle = workspace.root / "deliveries" / f"{run.run_id}-ascend"
    assert (
        "The plan of this launch has no figures: config.json: num\\_attention\\_heads is missing"
        in (bundle / "analysis.en.md").read_text()
    )


def test_the_report_gives_every_figure_of_the_check_with_its_unit_and_in_words(with_plan):
    from seatrial.report import write_report

    text = write_report(with_plan).with_suffix(".md").read_text().replace("\\", "")
    rows = [line for line in text.splitlines() if "gate's log, line" in line and "step-plan" not in line]
    assert len(rows) >= 4
    for name in ("for_kv", "non_kv", "| tokens |", "| length |"):
        assert not any(name in row for row in rows)
    assert "(bytes" not in text
    for row in rows:
        for cell in row.strip("| ").split(" | ")[1:3]:
            assert "B" in cell or "tokens" in cell or "requests" in cell or "unknown" in cell, row
    (weights,) = [line for line in text.splitlines() if line.startswith("| weights of the largest rank |")]
    assert weights.count(" bytes") == 2
