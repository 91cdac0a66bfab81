"""Recorded benches in what is delivered: their figures from the records, doubts and unknowns said, faults caught."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from bench_runs import BENCH_ID, document, make_bench
from checkouts import git
from forgery import forge

from seatrial.core.errors import FileFormatError, UsageError
from seatrial.core.finding import Severity
from seatrial.core.verdict import Verdict
from seatrial.delivery import check_delivery
from seatrial.delivery.benches import read_benches
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.figures import numbers_of, unfounded
from seatrial.delivery.verify import verify_bundle

SHAPES = {"sphinx": "ascend", "mkdocs": "ascend", "kunlun": "kunlun", "generic": "generic"}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_recorded_bench_is_quoted_with_its_figures_in_every_text_and_the_linter_passes(
    shape, run, repo, hand_over, workspace
):
    bench = make_bench(workspace)
    folder = repo(shape)
    done = hand_over(run, folder, SHAPES[shape], benches=(bench.run_id,), languages=("zh", "en"))
    assert done.state == "committed", done.refused
    texts = {p.name: p.read_text() for p in Path(done.bundle).glob("*.md")}
    kept = json.loads(bench.artifact(bench.steps()["verdict"].facts).read_text())["figures"]
    mean = f"{kept['request_throughput']['mean_b']:,.2f}"
    p99 = f"{kept['ttft_ms.p99']['mean_b']:,.2f}"
    for name in ("analysis.zh.md", "analysis.en.md", "comment.md"):
        row = next(line for line in texts[name].splitlines() if line.startswith("| graph"))
        assert f"| 4 | {mean} |" in row
        assert f"| {p99} |" in row
    assert "变好：请求吞吐量 (req/s) +28.6% (p = 0.029)" in texts["analysis.zh.md"].replace("\\", "")
    assert "better: request_throughput +28.6% (p = 0.029)" in texts["analysis.en.md"].replace("\\", "")
    assert f"seatrial replay {bench.run_id}" in texts["runbook.zh.md"]
    if shape in ("sphinx", "mkdocs"):
        page = (folder / "docs/source/tutorials/models/Qwen3-tiny.md").read_text()
        assert f"| graph | 4 | {mean} |" in page
        assert "Throughput and latency under load are unknown" not in page
    report = check_delivery(folder, workspace)
    assert report.verdict is Verdict.PASS, report.findings
    whole = verify_bundle(Path(done.bundle))
    assert whole.verdict is Verdict.PASS, whole.findings
    assert {r.kind for r in whole.runs} == {"run", "bench"}
    again = hand_over(run, folder, SHAPES[shape], benches=(bench.run_id,), languages=("zh", "en"))
    assert again.state == "unchanged"
    assert git(folder, "rev-list", "--count", "main..HEAD").strip() == "1"


def test_without_a_bench_performance_is_unknown_in_every_text(run, repo, hand_over):
    folder = repo("sphinx")
    done = hand_over(run, folder, languages=("zh", "en"))
    texts = {p.name: p.read_text() for p in Path(done.bundle).glob("*.md")}
    page = (folder / "docs/source/tutorials/models/Qwen3-tiny.md").read_text()
    assert "Throughput and latency under load are unknown: no bench is quoted." in page
    assert "性能未知：没有可引用的性能测试记录。" in texts["analysis.zh.md"]
    assert "Unknown: no bench is quoted." in texts["runbook.en.md"]


def test_a_debug_run_is_quoted_as_one_with_its_doubts_and_no_percentage(run, repo, hand_over, workspace):
    bench = make_bench(workspace, noisy=True)
    done = hand_over(run, repo("generic"), "generic", benches=(bench.run_id,), languages=("zh", "en"))
    english = (Path(done.bundle) / "analysis.en.md").read_text()
    section = english[english.index("## 11") : english.index("## 12")]
    assert "| debug |" in section
    assert "graph is no base for a claim: other processes used 75 % of the cores under load, above 10 %" in section
    assert "No comparison of graph with eager: eager: other processes" in section
    assert not re.search(r"[+-]\d+\.\d%", section)
    assert check_delivery(workspace.root.parent.parent / "generic", workspace).verdict is Verdict.PASS


def test_figures_that_were_not_measured_are_unknown_with_the_reason(run, repo, hand_over, workspace):
    bench = make_bench(workspace, sides=("graph",), runs=1, load={"requests": 24}, stream=False)
    done = hand_over(run, repo("generic"), "generic", benches=(bench.run_id,), languages=("zh", "en"))
    chinese = (Path(done.bundle) / "analysis.zh.md").read_text()
    row = next(line for line in chinese.splitlines() if line.startswith("| graph"))
    assert row.count("未知") == 4
    assert "the answers were not streamed" in chinese


def test_benches_of_something_else_are_refused_with_the_reason_in_the_text(run, repo, hand_over, workspace):
    here = EvidenceView(run)
    other = make_bench(
        workspace, name="20261121-050000-bench-other-0001", inputs={"model": "f" * 64, "tokenizer": "t0"}
    )
    nameless = make_bench(workspace, name="20261121-050000-bench-nameless-0002", inputs={})
    versions = {**run.manifest.versions, "vllm": "0.11.0"}
    older = make_bench(workspace, name="20261121-050000-bench-older-0003", versions=versions)
    found = read_benches([r.run_id for r in (other, nameless, older)], workspace, here)
    assert found.quoted == ()
    assert [w.partition(" is of ")[2].split(",")[0] for w in found.refused] == [
        "another checkpoint", "a checkpoint that is not known", "vllm 0.11.0",
    ]  # fmt: skip
    done = hand_over(run, repo("generic"), "generic", benches=(other.run_id, make_bench(workspace).run_id))
    told = (Path(done.bundle) / "analysis.zh.md").read_text()
    assert f"未引用的性能测试及原因：{other.run_id} 使用的是其他权重。" in told.replace("\\", "")
    with pytest.raises(UsageError, match="is no bench"):
        read_benches([run.run_id], workspace, here)


def test_a_bench_that_contradicts_its_requests_is_no_result(run, repo, hand_over, workspace):
    bench = make_bench(workspace)
    forge(bench.folder, lambda b, f, a: a("bench-graph-1", "metrics.json", document(lambda d: d.update(failed=9))))
    with pytest.raises(FileFormatError, match=r"contradicts itself: Y218 bench-graph-1: metrics.json"):
        hand_over(run, repo("generic"), "generic", benches=(bench.run_id,))
    (bench.folder / "records.jsonl").write_text("{}\n")
    with pytest.raises(FileFormatError, match="is not whole"):
        read_benches([bench.run_id], workspace, EvidenceView(run))


@pytest.fixture
def delivered(run, repo, hand_over, workspace):
    make_bench(workspace)
    folder = repo("sphinx")
    done = hand_over(run, folder, benches=(BENCH_ID,), languages=("zh", "en"))
    return folder, Path(done.bundle)


def _rewrite(folder, bundle, edit):
    """Change the page and the reports, and the sums of the delivery record with them."""
    import hashlib

    file = bundle / "delivery.json"
    record = json.loads(file.read_text())
    for one in (*record["files"], *record["bundle"]):
        for place in (folder / one["path"], bundle / one["path"]):
            if place.is_file() and place.suffix == ".md":
                place.write_text(edit(place.read_text()))
                one["sha256"] = hashlib.sha256(place.read_bytes()).hexdigest()
    file.write_text(json.dumps(record))
    git(folder, "commit", "-aq", "--amend", "--no-edit")


def _cell(text, column, value):
    lines = text.splitlines(keepends=True)
    for n, line in enumerate(lines):
        if line.startswith("| graph"):
            cells = line.split("|")
            cells[column] = f" {value} "
            lines[n] = "|".join(cells)
    return "".join(lines)


TEXTS = {
    "a throughput in a text": lambda t: _cell(t, 3, "999.25"),
    "a TTFT p99 in a text": lambda t: _cell(t, 6, "1.25"),
    "a TPOT p50 in a text": lambda t: _cell(t, 7, "0.75"),
    "more runs than were made": lambda t: _cell(t, 2, "9"),
    "a percentage in a text": lambda t: t.replace("+28.6%", "+48.6%"),
    "another load in a text": lambda t: t.replace("concurrency 4 ", "concurrency 64 ").replace("并发数 4", "并发数 64"),
    "other lengths in a text": lambda t: t.replace("32 input tokens", "33 input tokens").replace("输入 32", "输入 33"),
    "more requests in a text": lambda t: t.replace("24 requests", "25 requests").replace("共 24 条", "共 25 条"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_figure_that_no_bench_has_is_caught_though_every_hash_joins(name, delivered, workspace):
    folder, bundle = delivered
    _rewrite(folder, bundle, TEXTS[name])
    found = check_delivery(folder, workspace).findings
    assert {f.code for f in found if f.severity is Severity.ERROR} == {"Y131"}
    assert verify_bundle(bundle).verdict is Verdict.FAIL


def test_a_quoted_bench_that_is_gone_changed_or_forged_is_caught(delivered, workspace, tmp_path):
    folder, bundle = delivered
    place = workspace.runs_folder / BENCH_ID
    aside = shutil.copytree(place, tmp_path / "aside")

    def codes():
        return {f.code for f in check_delivery(folder, workspace).findings if f.severity is Severity.ERROR}

    assert codes() == set()
    forge(place, lambda b, f, a: a("bench-graph-1", "metrics.json", document(lambda d: d.update(failed=9))))
    assert "Y145" in codes()
    record = json.loads((bundle / "delivery.json").read_text())
    import hashlib

    record["benches"][0]["head_sha256"] = hashlib.sha256((place / "head.json").read_bytes()).hexdigest()
    (bundle / "delivery.json").write_text(json.dumps(record))
    assert "Y145" in codes()  # the head is that of the record now, and the requests still say otherwise
    shutil.rmtree(place)
    assert "Y145" in codes()
    shutil.copytree(aside, place)


def test_every_figure_of_a_bench_is_bound_to_its_own_field(run, workspace):
    bench = make_bench(workspace)
    found = read_benches([bench.run_id], workspace, EvidenceView(run))
    numbers = numbers_of(EvidenceView(run), None, found)
    side = found.quoted[0].sides[1].figures
    table = "| Setting | Requests/s | TTFT p50 (ms) |\n|---|---|---|\n| graph | {} | {} |\n"
    good = table.format(f"{side['request_throughput']:.2f}", f"{side['ttft_ms.p50']:.2f}")
    swapped = table.format(f"{side['ttft_ms.p50']:.2f}", f"{side['request_throughput']:.2f}")
    assert unfounded(good, numbers) == []
    assert len(unfounded(swapped, numbers)) == 2
