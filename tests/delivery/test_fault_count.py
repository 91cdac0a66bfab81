"""How many faults are seeded into deliveries and evidence, each in a test that demands its own finding.

Every code of the linter and of `verify` that says a fault has at least one.
"""

from __future__ import annotations

import re
from pathlib import Path

import test_accuracy_evidence
import test_bench_evidence
import test_compared_evidence
import test_delivered_benches
import test_delivered_faults
import test_forged_evidence
import test_found_evidence

from seatrial.delivery.codes import CODES

SEEDED = {
    "files of the commit and the commit itself": test_delivered_faults.DELIVERED,
    "the bundle": test_delivered_faults.BUNDLE,
    "figures of benches in the texts": test_delivered_benches.TEXTS,
    "evidence, plain edits": test_forged_evidence.PLAIN,
    "evidence, all hashes joined": test_forged_evidence.FORGED,
    "scores against their answers": test_accuracy_evidence.FAULTS,
    "accuracy runs": test_accuracy_evidence.FORGED,
    "agreement": test_compared_evidence.AGREED,
    "ladder": test_compared_evidence.CLIMBED,
    "benches and comparisons": test_bench_evidence.FORGED,
    "parity, locate, matrix, profile, ledgers": test_found_evidence.FORGED,
}
NOTES = {"Y100", "Y290", "Y291"}  # what is not known, and what was only hash-checked: no faults


def test_far_more_than_thirty_faults_are_seeded_and_their_number_is_printed():
    for name, faults in SEEDED.items():
        print(f"{len(faults):4} {name}")
    whole = sum(map(len, SEEDED.values()))
    print(f"{whole:4} seeded faults, each caught by `deliver --check` or `verify` in a test of its own")
    assert whole >= 30
    assert all(SEEDED.values())


def test_every_code_that_says_a_fault_is_told_by_some_seeded_one():
    here = Path(__file__).parent
    # The plan's faults are seeded where a run with a plan is made.
    files = [*sorted(here.glob("test_*.py")), here.parent / "workflow" / "test_plan_in_a_run.py"]
    text = "".join(f.read_text() for f in files)
    told = set(re.findall(r'"(Y[12]\d\d)"', text))
    assert {c for c in CODES if c[1] in "12"} - told - NOTES == set()
