"""`--measured metrics.json` and `hardware measure`: what a run and a machine reached, beside the bounds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from seatrial.cli._hardware_file import UNDISTURBED, complete, least_held
from seatrial.cli._plan_measured import as_run, measured_run
from seatrial.core.errors import FileFormatError
from seatrial.core.quantity import Source
from seatrial.measure.load.metrics import Metrics, Spread
from seatrial.targets.hardware import load_hardware

BENCH = Path(__file__).resolve().parents[2] / "bench" / "plan_bounds.py"
FULL = Metrics(
    schema_version=1, tool="builtin", tool_version="", is_complete=True, partial="", total=10, success=10, failed=0,
    warmup=2, concurrency=4, rate=None, duration_s=8.0, input_tokens=1280, output_tokens=320, request_throughput=1.25,
    output_throughput=40.0, total_throughput=200.0, ttft_ms=Spread(avg=30.0, p50=20.0, n=10),
    tpot_ms=Spread(avg=80.0, p50=75.0, n=10), itl_ms=None, e2e_ms=None,
)  # fmt: skip
FOUND = {
    "device": "cpu", "count": 1, "matmul": {"bfloat16": 2e10, "float32": 5e10}, "copy": 2e10, "read": 3e10,
    "versions": {"torch": "2.0"},
    "all_reduce": {"backend": "gloo", "processes": 2, "size": 1024, "seconds": 1.0, "bandwidth": 1e9},
}  # fmt: skip


def test_metrics_of_a_benchmark_become_a_load_by_means_medians_and_littles_law():
    run = as_run(FULL, "x")
    assert (run.prompt, run.output, run.ttft_s, run.tpot_s) == (128, 32, 0.020, 0.075)
    assert run.batch == 3  # 40 tokens/s x 0.08 s = 3.2 requests that decode at once


def test_the_batch_is_never_above_the_loads_concurrency():
    crowded = msgspec.structs.replace(FULL, output_throughput=4000.0)
    assert as_run(crowded, "x").batch == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"is_complete": False, "partial": "interrupted"}, "ended early"),
        ({"input_tokens": None, "unknown": {"input_tokens": "the server gave no usage"}}, "gave no usage"),
        ({"success": 0}, "success"),
    ],
)
def test_a_run_that_no_bound_can_be_compared_with_is_refused_with_the_reason(change, words):
    with pytest.raises(FileFormatError, match=words):
        as_run(msgspec.structs.replace(FULL, **change), "x")


def test_the_file_that_bench_writes_is_read_and_the_short_form_too(tmp_path):
    file = tmp_path / "metrics.json"
    file.write_bytes(msgspec.json.encode(FULL))
    assert measured_run(file).prompt == 128
    file.write_text(json.dumps({"schema_version": 1, "batch": 2, "prompt": 5, "output": 6, "tpot_s": 0.1}))
    assert measured_run(file).batch == 2


def test_a_measured_run_gives_mfu_mbu_and_its_distance_from_the_bound(make, tmp_path):
    file = tmp_path / "metrics.json"
    file.write_bytes(msgspec.json.encode(FULL))
    done = subprocess.run(
        [sys.executable, "-m", "seatrial", "plan", make().card.folder, "--hardware", "nvidia-h20", "--target", "cuda",
         "--measured", file],
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert "TPOT measured 75.000 ms, at least" in done.stdout
    assert "times the bound" in done.stdout
    assert "decode MBU" in done.stdout


def test_a_measured_machine_is_a_hardware_file_whose_numbers_are_measured(tmp_path):
    file = tmp_path / "here.toml"
    file.write_text(complete(FOUND, "cpu"))
    device = load_hardware(str(file))
    assert device.memory_bandwidth.value == 3e10
    # A bfloat16 product that is slower than a float32 one could have been done as that.
    assert device.peak["bf16"].value == 5e10
    assert device.link_bandwidth.value == 1e9
    assert {q.source for q in device.measured.values()} == {Source.MEASURED}
    assert "fp16" not in device.peak
    assert device.memory.value is None


def test_what_could_not_be_measured_is_unknown_with_its_reason(tmp_path):
    file = tmp_path / "here.toml"
    odd = {
        **FOUND,
        "matmul": {"bfloat16": 'no "such" kernel\nhere', "float32": "nor this"},
        "all_reduce": {"why": "one"},
    }
    file.write_text(complete(odd, "cpu"))
    device = load_hardware(str(file))
    assert device.peak["bf16"].value is None
    assert device.measured["matmul_bfloat16"].note == 'no "such" kernel here'
    assert (device.link_bandwidth.value, device.link_bandwidth.note) == (None, "one")


def test_peaks_that_other_work_lowered_say_so(tmp_path):
    assert least_held(FOUND) is None
    busy = {**FOUND, "held": {"bfloat16": 0.97, "float32": 0.55, "copy": None}}
    assert least_held(busy) == 0.55
    file = tmp_path / "here.toml"
    file.write_text(complete(busy, "cpu"))
    assert "other work held 45% of the cores" in load_hardware(str(file)).memory_bandwidth.note
    quiet = {**FOUND, "held": {"bfloat16": 0.97}}
    file.write_text(complete(quiet, "cpu"))
    assert "other work" not in load_hardware(str(file)).memory_bandwidth.note


def test_of_two_measurements_each_figure_is_the_better_with_its_own_share(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH.parent))
    from plan_bounds import better

    low = {**FOUND, "matmul": {"bfloat16": 1e10, "float32": "no kernel"}, "read": 1e9,
           "held": {"bfloat16": 0.5, "copy": 1.0, "read": 0.4}}  # fmt: skip
    high = {**FOUND, "copy": 1e9, "held": {"bfloat16": 0.9, "float32": 0.8, "copy": 0.3, "read": 1.0}}
    for found in (better(low, high), better(high, low)):
        assert (found["matmul"], found["copy"], found["read"]) == (FOUND["matmul"], FOUND["copy"], FOUND["read"])
        assert found["held"] == {"bfloat16": 0.9, "float32": 0.8, "copy": 1.0, "read": 1.0}


@pytest.mark.engine
@pytest.mark.alone
def test_a_real_run_is_not_faster_than_the_bounds_of_its_machine(tmp_path):
    told = tmp_path / "rows.json"
    done = subprocess.run(
        [sys.executable, BENCH, "--quick", "--seconds", "0.3", "--json", told],
        capture_output=True, text=True, timeout=1500,
    )  # fmt: skip
    # 3: a bound was beaten or a figure was not measured, and other work was seen to hold the cores.
    assert done.returncode in (0, 3), done.stdout + done.stderr
    [row] = json.loads(told.read_text())
    if done.returncode == 3:
        assert row["held"] < UNDISTURBED
        pytest.skip(f"other work held {1 - row['held']:.0%} of the cores while the peaks were measured")
    reached = row["reached"]
    assert reached["ratio_ttft"] >= 1
    assert reached["ratio_tpot"] >= 1
    assert 0 < reached["decode_mbu"] <= 1
    assert 0 < reached["prefill_mfu"] <= 1


@pytest.mark.engine
def test_two_processes_reduce_by_gloo_and_one_has_nobody_to_reduce_with(tmp_path):
    from seatrial.engine.border import ProbeSession
    from seatrial.engine.choose import target_python
    from seatrial.targets import load_target

    with ProbeSession(target_python(load_target("cpu").target), log=tmp_path / "log") as session:
        two = session.call("estimate_collective", {"size": 1 << 20, "seconds": 0.1}, timeout_s=1500)
        one = session.call("estimate_collective", {"processes": 1}, timeout_s=1500)
    assert two.status == "answered", two.trouble()
    found = two.answer
    assert (found["backend"], found["processes"]) == ("gloo", 2)
    assert found["bandwidth"] == pytest.approx(found["size"] / found["seconds"])
    assert "one device" in one.answer["why"]
