"""`seatrial plan --html`: what is drawn is what was computed, and what is unknown is said and not drawn."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from seatrial.core.quantity import Quantity, Source
from seatrial.estimate import Layout, Serving, engine_rules, make_plan
from seatrial.estimate.compute import lay_out
from seatrial.estimate.curves import Reach, curves, frontier
from seatrial.estimate.roofline import speed
from seatrial.report.plots import Axis, short
from seatrial.report.sections.plan import WHOLE, charts, memory_bar
from seatrial.targets.hardware import load_hardware

GIB = 1024**3


def planned(model, gib=1.0, **serving):
    device = Quantity(value=int(gib * GIB), unit="bytes", source=Source.DECLARED, note="a test")
    return make_plan(model, Layout(), Serving(**serving), engine_rules("cuda"), device, requests=4)


def test_the_pieces_of_the_bar_are_as_long_as_their_bytes(make):
    plan = planned(make())
    bar = memory_bar(plan)
    total = plan.memory.device.value
    weights = next(p for p in bar.pieces if p.name == "weights")
    assert weights.width == pytest.approx(plan.weights.largest().total() / total * WHOLE, abs=0.01)
    asked = next(p for p in bar.pieces if p.name == "KV cache asked")
    assert asked.width == pytest.approx(plan.answer.needed / total * WHOLE, abs=0.01)
    assert all(a.x + a.width == pytest.approx(b.x, abs=0.02) for a, b in zip(bar.pieces, bar.pieces[1:], strict=False))
    assert bar.pieces[-1].x + bar.pieces[-1].width == pytest.approx(bar.rule, abs=0.05)
    assert bar.unknown == ("graphs", "runtime")


def test_a_bar_of_more_than_the_device_says_so_and_stays_in_its_frame(make):
    bar = memory_bar(planned(make(), gib=0.01))
    assert "more than there is" in bar.summary
    assert bar.pieces[-1].x + bar.pieces[-1].width <= WHOLE + 0.1


def test_batches_beyond_the_kv_cache_are_drawn_as_not_fitting_and_kept_off_the_frontier(make):
    model, hardware = make(), load_hardware("nvidia-h20")
    plan = planned(model, gib=0.25, max_num_seqs=512)
    found = curves(model, hardware, engine_rules("cuda"), Serving(), plan, devices=1, prompt=128, output=16)
    held = plan.most.requests
    assert 1 <= held < 512
    assert [p.fits for p in found.by_batch] == [p.batch <= held for p in found.by_batch]
    assert held in [p.batch for p in found.by_batch]
    assert all(p.batch <= held for p in found.pareto)


def test_a_curve_has_the_same_bounds_as_the_plan_itself(make):
    model, hardware = make(), load_hardware("nvidia-h20")
    plan = planned(model, max_num_seqs=8)
    found = curves(model, hardware, engine_rules("cuda"), Serving(), plan, devices=2, prompt=128, output=16)
    work = lay_out(model, Layout(), plan.asked.serving, engine_rules("cuda"))
    for point in found.by_batch:
        assert point.tpot_s == speed(work, hardware, batch=point.batch, prompt=128, output=16).tpot_s
    assert {p.layout for p in found.pareto} == {"TP 1", "TP 2"}


def test_the_frontier_is_what_nothing_beats_in_both():
    def at(tpot, rate, name="TP 1"):
        return Reach(
            layout=name, devices=1, batch=1, tpot_s=tpot, tokens_per_s_device=rate, binding="memory", fits=True
        )

    points = [at(1, 10), at(2, 5), at(3, 20), at(3, 20, "TP 1, EP"), at(4, 20)]
    assert [p.best for p in frontier(points)] == [True, False, True, True, False]


def test_without_peaks_nothing_is_drawn_and_each_reason_is_told(make):
    model = make()
    plan = planned(model)
    found = curves(
        model, load_hardware("kunlun-p800"), engine_rules("cuda"), Serving(), plan, devices=1, prompt=128, output=16
    )
    drawn = charts(plan, None, found, None, None)
    assert drawn.roofline is drawn.by_batch is drawn.pareto is None
    assert any("peak.bf16" in m and "memory_bandwidth" in m for m in drawn.missing)


def test_the_page_holds_five_charts_and_no_script_and_fetches_nothing(make, tmp_path):
    folder, page = make().card.folder, tmp_path / "plan.html"
    done = subprocess.run(
        [sys.executable, "-m", "seatrial", "plan", folder, "--hardware", "nvidia-h20", "--target", "cuda", "--html",
         page, "--json"],
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert text.count('role="img"') == 5
    assert "<script" not in text
    assert not re.search(r"""(src|href)=["'](?!#)|https?://""", text)
    found = json.loads(done.stdout)
    assert text.count('class="dot') >= len(found["curves"]["by_batch"]) + len(found["curves"]["pareto"])


def test_a_hostile_name_is_text_on_the_page(make, tmp_path):
    folder = Path(make().card.folder)
    bad = folder.rename(folder.parent / "<svg onload=x>")
    page = tmp_path / "plan.html"
    subprocess.run(
        [sys.executable, "-m", "seatrial", "plan", bad, "--memory", "1", "--html", page],
        capture_output=True,
        timeout=500,
    )
    assert "&lt;svg onload=x&gt;" in page.read_text()
    assert "<svg onload" not in page.read_text()


def test_an_unwritable_page_is_one_line_and_2(make, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "seatrial", "plan", make().card.folder, "--memory", "1", "--html", tmp_path / "no/x"],
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_axis_keeps_order_and_what_hardly_changes_looks_flat():
    axis = Axis([100.0, 101.0], 0, 100)
    assert 0 < axis.at(100.0) < axis.at(101.0) < axis.at(100.0) + 2
    assert [short(1.98e15, "B"), short(0.0021, "s"), short(20)] == ["1.98 PB", "2.1 ms", "20"]
