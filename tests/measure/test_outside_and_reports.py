"""Outside tools as programs, and the reports over one and over several loads."""

from __future__ import annotations

import html
import os
import re
import sys
from pathlib import Path

import psutil
import pytest
from tests.measure.made import side, workload
from tests.measure.test_bench_command import document, seatrial

from seatrial.core.errors import EngineError, UsageError
from seatrial.core.record import replace
from seatrial.measure.compare.files import report_files
from seatrial.measure.compare.report import Loaded, better, master, report
from seatrial.measure.compare.verdict import judge
from seatrial.measure.load.metrics import ServerView
from seatrial.measure.load.outside import TOOLS, outside_command, run_outside

DATA = Path(__file__).parent / "data"
FAKE = f"""#!{sys.executable}
import pathlib, shutil, sys
out = pathlib.Path(sys.argv[sys.argv.index("--result-dir") + 1])
out.mkdir(exist_ok=True)
shutil.copy({str(DATA / "vllm-0.32.json")!r}, out / "vllm.json")
"""


def fake_tool(folder, text=FAKE):
    folder.mkdir()
    (folder / "vllm").write_text(text)
    (folder / "vllm").chmod(0o755)
    (folder / "python").symlink_to(sys.executable)
    return folder / "python"


def test_an_outside_tool_is_run_and_what_it_wrote_is_kept(stand_in, bench_place):
    place = bench_place()
    python = fake_tool(place / "tools")
    url, _ = stand_in()
    words = ["bench", "run", "--service", url, "--checkpoint", "model", "--workload", "w.toml", "--tool", "vllm"]
    done = seatrial(place, *words, "--tool-python", str(python), "--no-smoke", "--json", check=0)
    (run,) = document(done)["runs"]
    assert run["metrics"]["tool"] == "vllm"
    assert run["metrics"]["warmup"] == 4
    assert run["level"] == "debug"
    assert "outside tool" in run["doubts"][0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"#!{sys.executable}\nimport sys; sys.exit('no such model')\n", "exit code 1: no such model"),
        (f"#!{sys.executable}\n", "holds no result"),
    ],
)
def test_an_outside_tool_that_fails_or_writes_nothing_is_no_result(tmp_path, text, words):
    from seatrial.core.errors import SeatrialError

    python = fake_tool(tmp_path / "tools", text)
    made = workload()
    out = tmp_path / "out"
    command = outside_command("vllm", python, made, url="http://h:1", model="m", tokenizer="/t", out=out)
    with pytest.raises(SeatrialError, match=words):
        run_outside("vllm", command, made, out, tmp_path / "log", timeout_s=300)


def test_a_tool_that_hangs_is_ended_with_all_it_started(tmp_path):
    child = ["sleep", f"3600.{os.getpid()}"]  # of this test run alone
    text = f"#!{sys.executable}\nimport subprocess, time\nsubprocess.Popen({child})\ntime.sleep(3600)\n"
    python = fake_tool(tmp_path / "tools", text)
    command = outside_command("vllm", python, workload(), url="http://h:1", model="m", tokenizer="/t", out=tmp_path)
    with pytest.raises(EngineError, match="did not end"):
        run_outside("vllm", command, workload(), tmp_path, tmp_path / "log", timeout_s=0.5)
    left = [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == child]
    assert psutil.wait_procs(left, timeout=60)[1] == [], "what was killed may take a moment to go"


@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_is_told_the_whole_workload(tool):
    made = workload(
        requests=33, concurrency=7, warmup=0 if tool == "guidellm" else 5, input_tokens=48, output_tokens=17
    )
    to = {"url": "http://h:1", "model": "m", "tokenizer": "/t", "out": Path("/o")}
    line = outside_command(tool, Path("/x/python"), made, **to).shell()
    for value in ("33", "7", "48", "17", "http://h:1"):
        assert re.search(rf"\b{re.escape(value)}\b", line), (value, line)


@pytest.mark.parametrize("tool", TOOLS)
def test_what_a_tool_cannot_be_told_is_refused(tool):
    made = workload(kind="jsonl", file="x.jsonl", input_tokens=0, output_tokens=0)
    to = {"url": "http://h:1", "model": "m", "tokenizer": "/t", "out": Path("/o")}
    with pytest.raises(UsageError, match="random prompts only"):
        outside_command(tool, Path("/x/python"), made, **to)


def test_guidellm_is_told_the_sampling_and_the_seed_and_what_vllm_cannot_do_is_refused():
    to = {"url": "http://h:1", "model": "m", "tokenizer": "/t", "out": Path("/o")}
    made = workload(warmup=0, stream=False)
    line = outside_command("guidellm", Path("/x/python"), made, **to).shell()
    for part in ("stream=false", "extras.body.temperature=0.0", "extras.body.ignore_eos=true", "value=0"):
        assert part in line
    with pytest.raises(UsageError, match="always asks for a stream"):
        outside_command("vllm", Path("/x/python"), made, **to)


def test_a_tool_that_answers_for_fewer_requests_is_doubted_and_all_it_wrote_is_kept(tmp_path):
    python = fake_tool(tmp_path / "tools", FAKE + "(out / 'raw').mkdir(); (out / 'raw' / 'rows.csv').write_text('a')\n")
    made, out = workload(requests=41), tmp_path / "out"
    command = outside_command("vllm", python, made, url="http://h:1", model="m", tokenizer="/t", out=out)
    seen = run_outside("vllm", command, made, out, tmp_path / "log", timeout_s=300)
    assert "vllm accounts for 40 requests where 41 were asked for" in seen.metrics.doubts
    assert seen.others == (str(out / "raw" / "rows.csv"),)


def loaded(values_a, values_b, concurrency, historical=None):
    changes = {"workload__concurrency": concurrency}
    a = side(values_a, label="xLLM", **changes)
    b = side(values_b, label="vLLM", **changes, **{"flag.x": "1"})
    a, b = ([replace(r, metrics=replace(r.metrics, concurrency=concurrency)) for r in s] for s in (a, b))
    judged = judge(a, b, under_test=["flag.x"])
    return Loaded(judged=judged, a=tuple(a), b=tuple(b), historical=historical or {})


A, B = [100.0, 101.0, 99.5, 100.5, 100.2], [120.0, 121.0, 119.5, 120.5, 120.2]


def test_the_master_report_has_a_trend_over_all_loads_in_both_languages():
    loads = [loaded(A, B, 8), loaded([v / 2 for v in A], [v / 2 for v in B], 1)]
    for language, word in (("en", "Concurrency"), ("zh", "并发")):
        files = master(loads, language)
        text = files["report.md"]
        assert word in text
        assert text.index("| 1 |") < text.index("| 8 |")
        assert "+20.0%" in text
        chart = files["trend-request_throughput.svg"]
        assert chart.count("<circle") == 4
        assert "xLLM" in chart
        assert "trend-request_throughput.svg" in text


def test_one_load_that_is_not_comparable_takes_the_charts_from_all():
    fair, unfair = loaded(A, B, 8), loaded(A, B, 1)
    other = side(B, label="vLLM", model="other")
    unfair = replace(unfair, judged=judge(unfair.a, other, under_test=[]), b=tuple(other))
    files = master([fair, unfair], "en")
    assert list(files) == ["report.md"]
    assert "not comparable" in files["report.md"]


def test_a_throughput_of_five_digits_is_written_out_in_tables_and_charts():
    large = loaded([v * 123.4 for v in A], [v * 123.4 for v in B], 8)
    files = master([large], "en")
    for text in (report(large, "en"), report(large, "zh"), files["report.md"]):
        assert "e+0" not in text
    assert "| 12,370 | 14,838 |" in files["report.md"]
    assert "e+0" not in files["trend-request_throughput.svg"]


def test_a_value_of_many_lines_is_one_cell():
    one = loaded(A, B, 4)
    fairness = one.judged.fairness
    differences = (replace(fairness.differences[0], a="x\n| y", why="first\nsecond"),)
    judged = replace(one.judged, fairness=replace(fairness, differences=differences), doubts=("a\n# b",))
    text = report(replace(one, judged=judged), "en")
    assert "| x \\| y |" in text
    assert "| first second |" in text
    assert "* a # b" in text


HOSTILE = "|x](https://h.test) <img src=q> **b** `c` @who _d_ \\| $e$ ~f~"


def test_labels_reasons_and_settings_are_read_as_text_and_not_as_markup():
    a, b = side(A, label=HOSTILE, **{f"flag.{HOSTILE}": HOSTILE}), side(B, label=f"# {HOSTILE}")
    judged = replace(
        judge(a, b, under_test=[f"flag.{HOSTILE}"]), reason=HOSTILE, doubts=(f"- {HOSTILE}", f"1. {HOSTILE}")
    )
    one = Loaded(judged=judged, a=tuple(a), b=tuple(b), historical={f"# {HOSTILE}": HOSTILE})
    for text in (report(one, "en"), report(one, "zh"), master([one], "en")["report.md"]):
        unlit = re.sub(r"^!\[.*\n|`[^`]*`", "", text, flags=re.M)  # without our own charts and code
        plain = re.sub(r"\\[!-/:-@\[-`{-~]", "", unlit)
        for word in ("](", "<img", "**b", "_d_", "@who", "://", "$e$", "~f~"):
            assert word not in plain, word
        for rows in re.findall(r"(?:^\|.*\n)+", plain, re.M):
            # Every row of a table has the cells of its heading.
            assert len({row.count("|") for row in rows.splitlines()}) == 1, rows
        assert not re.search(r"^[>*] (#|-|\d+[.)]) ", plain, re.M)
    page = report_files([one])
    for name, text in page.items():
        if name.endswith(".html"):
            assert "<img" not in text
            assert html.escape(HOSTILE) in text, name
            assert "<b>b</b>" not in text


def test_a_historical_baseline_says_so_with_its_source():
    text = report(loaded(A, B, 4, {"xLLM": "baseline/2026-03.md"}), "en")
    assert "historical baseline, not measured here (source: baseline/2026-03.md)" in text
    assert "历史基线" in report(loaded(A, B, 4, {"xLLM": "x"}), "zh")


def test_every_percentile_has_its_cell_and_unknown_is_a_word():
    one = loaded(A, B, 4)
    runs = tuple(replace(r, metrics=replace(r.metrics, itl_ms=None)) for r in one.a)
    text = report(replace(one, a=runs), "en")
    for heading in ("TTFT (ms) | avg | p50 | p90 | p99", "TPOT (ms) | avg", "ITL (ms) | avg"):
        assert heading in text
    assert "unknown" in text


def test_better_is_claimed_in_a_fixed_order_up_to_the_first_figure_that_shows_nothing():
    # The throughputs differ, the latencies (equal in all runs) do not: the claims end there.
    one = loaded(A[:4], B[:4], 4)
    assert better(one.judged) == dict.fromkeys(("request_throughput", "output_throughput", "total_throughput"), "vLLM")
    figures = dict(one.judged.figures)
    figures["output_throughput"] = replace(figures["output_throughput"], p=0.3)
    assert better(replace(one.judged, figures=figures)) == {"request_throughput": "vLLM"}
    figures["request_throughput"] = replace(figures["request_throughput"], p=0.06)
    assert better(replace(one.judged, figures=figures)) == {}


def test_the_files_of_all_loads_are_there_in_both_languages_as_markdown_and_html():
    loads = [loaded(A, B, 8, {"xLLM": "baseline/<b>2026</b>.md"}), loaded([v / 2 for v in A], [v / 2 for v in B], 1)]
    files = report_files(loads)
    for language in ("en", "zh"):
        for kind in ("md", "html"):
            assert {f"master-{language}.{kind}", f"report-c1-{language}.{kind}", f"report-c8-{language}.{kind}"} <= {
                *files
            }
        master_page = files[f"master-{language}.html"]
        assert master_page.count("<svg") == 4
        assert "<script" not in master_page
        assert "http" not in re.sub(r"http-equiv|http://www.w3.org/2000/svg", "", master_page)
    assert "总报告" in files["master-zh.html"]
    assert "变好：请求吞吐量 (req/s) +20.0%" in files["report-c8-zh.md"]
    assert "&lt;b&gt;2026" in files["report-c8-en.html"]
    assert "<b>Verdict: pass</b>" in files["report-c8-en.html"]
    assert "![Output throughput (tok/s)](trend-output_throughput-en.svg)" in files["master-en.md"]


def test_loads_of_other_sides_or_twice_the_same_are_refused():
    with pytest.raises(UsageError, match="two runs are at the load c8"):
        report_files([loaded(A, B, 8), loaded(A, B, 8)])
    one = loaded(A, B, 1)
    with pytest.raises(UsageError, match="same two sides"):
        report_files([loaded(A, B, 8), replace(one, judged=replace(one.judged, label_a="other"))])


def test_a_setting_that_one_side_does_without_is_not_set_and_one_nobody_saw_is_unknown():
    a, b = side(A, label="eager", **{"flag.enforce-eager": "true"}), side(B, label="graph")
    fair = Loaded(judged=judge(a, b, under_test=["flag.enforce-eager"]), a=tuple(a), b=tuple(b))
    assert "| flag.enforce-eager | true | not set | allowed |" in report(fair, "en")
    b = side(B, label="graph", dtype=None)
    unfair = Loaded(judged=judge(a, b, under_test=["flag.enforce-eager"]), a=tuple(a), b=tuple(b))
    assert "| dtype | bfloat16 | unknown | forbidden |" in report(unfair, "en")


def test_the_servers_own_clock_has_its_table_where_it_was_read():
    one = loaded(A, B, 8)
    assert "own clock" not in report_files([one])["report-c8-en.md"]
    seen = ServerView(requests=20, ttft_ms=5.25, e2e_ms=20.5, cached=0.125)
    told = replace(one, a=tuple(replace(r, metrics=replace(r.metrics, server=seen)) for r in one.a))
    assert f"| {one.judged.label_a} 1 | 5.25 | 20.5 | unknown | 12% |" in report_files([told])["report-c8-en.md"]
    assert "服务端自身计时" in report_files([told])["report-c8-zh.md"]
