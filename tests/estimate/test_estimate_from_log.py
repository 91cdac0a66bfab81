"""Start-up figures read from real and typed log lines, and what they teach."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.core.quantity import Quantity, Source
from seatrial.estimate import Layout, Serving, engine_rules, make_plan
from seatrial.estimate.calibrate import Calibration, forget_calibration, keep_calibration, load_calibration
from seatrial.estimate.from_log import GIB, compare, largest_error, learn, read_log

CPU = (
    "(Worker pid=2044) INFO 11-20 14:49:06 [cpu_worker.py:260] Auto set (1.66/22.84) GiB for KV cache on node 0, with "
    "2.28 GiB requested memory for the worker. 0.63 GiB memory was consumed by non-kv usages.\n"
    "(EngineCore pid=2015) INFO 11-20 14:49:06 [kv_cache_utils.py:2327] CPU KV cache size: 3,477,376 tokens, Maximum "
    "concurrency for 512 tokens per request: 6791.75x\n"
)
DEVICE = """INFO [model_runner.py:1] Loading model weights took 15.2699 GB
INFO [worker.py:2] Available KV cache memory: 38.25 GiB
INFO [kv_cache_utils.py:829] GPU KV cache size: 626,688 tokens
INFO [kv_cache_utils.py:833] Maximum concurrency for 32,768 tokens per request: 19.12x
INFO [gpu_model_runner.py:2] Graph capturing finished in 21 secs, took 0.52 GiB
"""


def plan(model, length=512):
    device = Quantity(value=64 * GIB, unit="bytes", source=Source.DECLARED, note="test")
    return make_plan(model, Layout(), Serving(max_model_len=length), engine_rules("cuda"), device)


def test_the_cpu_engines_lines_are_read():
    found = read_log(CPU)
    assert found.tokens.value == 3477376
    assert (found.length.value, found.concurrency.value) == (512, 6791.75)
    assert found.for_kv.value == 1.66 * GIB
    assert found.non_kv.value == 0.63 * GIB
    assert found.tokens.line == 2


def test_a_devices_lines_are_read_with_their_rounding():
    found = read_log(DEVICE)
    assert found.weights.value == 15.2699 * GIB
    assert found.weights.rounding == pytest.approx(0.00005 * GIB)
    assert found.graphs.value == 0.52 * GIB
    assert (found.tokens.value, found.length.value) == (626688, 32768)
    assert found.for_kv.value == 38.25 * GIB


def test_a_log_without_figures_gives_none():
    assert not read_log("INFO Application startup complete.\n").any()


def test_the_errors_are_per_figure_and_rounding_is_no_error(make):
    rows = {r.what: r for r in compare(read_log(CPU), plan(make()))}
    assert rows["length"].within_rounding
    assert rows["tokens"].error != 0
    assert rows["non_kv"].estimated is None
    assert largest_error(tuple(rows.values())) > 0


def test_what_is_learnt_is_kept_shown_used_and_removable(make, tmp_path):
    file = tmp_path / "calibration.json"
    before = plan(make())
    learnt = learn(read_log(DEVICE), before, "run.log", Calibration())
    keep_calibration(file, "my-target", learnt)
    keep_calibration(file, "other", Calibration())
    again = load_calibration(file, "my-target")
    assert again == learnt
    assert again.graphs.note == "run.log, line 5"
    device = Quantity(value=64 * GIB, unit="bytes", source=Source.DECLARED, note="test")
    after = make_plan(make(), Layout(), Serving(max_model_len=512), engine_rules("cuda"), device, calibration=again)
    assert after.memory.for_kv == before.memory.for_kv - int(0.52 * GIB)
    assert "graphs" not in after.memory.unknown
    assert forget_calibration(file, "my-target")
    assert load_calibration(file, "my-target") == Calibration()
    assert not forget_calibration(file, "my-target")


@given(st.text(alphabet="GPU KVcachesiz:0123456789,.()/GiBtokensAvailable memory-\n", max_size=400))
def test_any_text_is_read_without_an_error(text):
    read_log(text)
