"""The ladder: one change at a time, repeat first, and isolation is never sold as a mend."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from seatrial.core.verdict import Verdict
from seatrial.gates import gate
from seatrial.gates.ladder import climb, switches


@pytest.fixture
def ladder(stand_in_target, engine_home, checkpoint, tmp_path, alive):
    def go(fault: str, extra: tuple[str, ...] = (), tp=None, multimodal=False):
        target = stand_in_target(fault)

        def start(name, args, **more):
            folder = tmp_path / name
            return gate(checkpoint, target, python=engine_home, stage="real", scratch=folder, extra_args=args, **more)

        def run(rung):
            kept = [w for group in switches(extra) if group != rung.without for w in group]
            mm = multimodal and not rung.text_only
            return start(rung.name, (*kept, *rung.args), tp=rung.tp or tp, env=rung.env, multimodal=mm)

        result = climb(start("first", extra, tp=tp, multimodal=multimodal), extra, run, multimodal=multimodal)
        assert alive() == []
        return result

    return go


def names(result):
    return [(step.rung.name, step.ending) for step in result.facts.climbed]


def test_the_switch_at_fault_is_found_by_leaving_it_out(ladder):
    extra = ("--swap-space", "1", "--enable-expert-parallel")
    result = ladder("crash-with=--enable-expert-parallel", extra)
    assert names(result) == [
        ("repeat", "false-ready"),
        ("without-swap-space", "false-ready"),
        ("without-enable-expert-parallel", "ready"),
    ]
    assert result.outcome.verdict is Verdict.FAIL
    assert result.summary == "it serves with one change: without --enable-expert-parallel"
    assert [step.same_signature for step in result.facts.climbed] == [True, True, False]


def test_a_failure_that_does_not_repeat_is_called_so(ladder, tmp_path):
    result = ladder(f"once={tmp_path / 'once'}")
    assert names(result) == [("repeat", "ready")]
    assert "does not repeat" in result.summary
    assert result.facts.working is None
    assert result.outcome.verdict is Verdict.FAIL


def test_text_only_isolates_and_mends_nothing(ladder):
    result = ladder("no-image", multimodal=True)
    assert names(result) == [("repeat", "false-ready"), ("text-only", "ready")]
    assert result.facts.working is None
    assert result.summary == "no change mends it; isolated to the multimodal processor or tower"


def test_a_fault_in_everything_fails_on_every_rung(ladder, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    result = ladder("error-500", ("--x",), tp=2)
    assert [name for name, _ in names(result)] == ["repeat", "without-x", "one-device"]
    assert result.summary == "no change mends it: all 3 rungs fail"


def test_a_gate_that_passed_has_nothing_to_climb(ladder):
    assert ladder("").outcome.verdict is Verdict.PASS


def test_the_command_climbs_when_told(stand_in_target, checkpoint, tmp_path):
    stand_in_target("crash-with=--enable-expert-parallel")
    words = ["gate", str(checkpoint), "--target", "stand-in", "--stage", "real", "--ladder"]
    done = subprocess.run(
        [sys.executable, "-m", "seatrial", *words, "--arg=--enable-expert-parallel", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.stdout, done.stderr
    document = json.loads(done.stdout)
    assert (done.returncode, document["verdict"]) == (1, "fail")
    assert document["results"][1]["facts"]["working"]["name"] == "without-enable-expert-parallel"


def test_an_argument_of_the_target_that_is_false_is_not_left_out_once_more():
    from seatrial.core.record import replace
    from seatrial.gates.ladder_run import optional
    from seatrial.targets import load_target

    target = load_target("cpu").target
    args = {"enable-expert-parallel": True, "enable-lora": False, "quantization": "fp8"}
    assert optional(replace(target, serve=replace(target.serve, args=args))) == (
        "enable-expert-parallel",
        "quantization",
    )
