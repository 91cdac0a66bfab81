"""The cases that each signature declares are its tests."""

from __future__ import annotations

from io import BytesIO

import pytest
from tests.cost import million_turns

from seatrial.triage import Kind, Library, Tier, by_family, diagnose, diagnose_text, library
from seatrial.triage.gates import hits
from seatrial.triage.read import LogFile
from seatrial.triage.scan import Scanner
from seatrial.triage.signature import Matcher

ALL = [s for group in by_family().values() for s in group]
ids = [s.id for s in ALL]


def events(tmp_path, text):
    path = tmp_path / "x.log"
    path.write_text(text, encoding="utf-8")
    scan = Scanner(LogFile("x.log", path)).run()
    return scan.events, "\n".join(scan.context)


@pytest.mark.parametrize("signature", ALL, ids=ids)
def test_its_own_cases_match(signature, tmp_path):
    assert signature.matches, "a signature without a case is not tested"
    for case in signature.matches:
        found, context = events(tmp_path, case)
        matched = [s.id for e in found for s in library().of(e, context)]
        assert signature.id in matched, case


@pytest.mark.parametrize("signature", [s for s in ALL if s.rejects], ids=lambda s: s.id)
def test_its_counter_cases_do_not_match(signature, tmp_path):
    for case in signature.rejects:
        found, context = events(tmp_path, case)
        assert signature.id not in [s.id for e in found for s in library().of(e, context)], case


@pytest.mark.parametrize("signature", [s for s in ALL if s.kind is Kind.ROOT], ids=lambda s: s.id)
def test_a_root_case_alone_gets_its_category_or_none(signature):
    """One line out of its log may be too little to be sure; it must not get another category."""
    for case in signature.matches:
        answer = diagnose_text(case)
        assert answer.category in {signature.category, "unknown"}, (case, answer.signature)
        assert answer.first_cause is not None or signature.id.startswith("quality.")
        alone = diagnose([BytesIO(case.encode())], signatures=Library((signature,)))
        assert alone.category == ("unknown" if signature.tier is Tier.WEAK else signature.category)


def test_nearly_every_case_of_a_text_gets_its_category():
    cases = [(s, c) for s in ALL if s.kind is Kind.ROOT and s.tier >= Tier.LITERAL for c in s.matches]
    right = sum(diagnose_text(case).category == signature.category for signature, case in cases)
    assert right >= 0.92 * len(cases)  # a line alone is less than a log


@pytest.mark.parametrize("signature", [s for s in ALL if s.kind is not Kind.ROOT], ids=lambda s: s.id)
def test_a_case_that_is_no_root_alone_stays_unknown(signature):
    for case in signature.matches:
        assert diagnose_text(case).category == "unknown"


@pytest.mark.parametrize("signature", ALL, ids=ids)
def test_its_cases_pass_the_gates_of_large_logs(signature):
    if signature.kind in {Kind.NOISE, Kind.EVIDENCE, Kind.WRAPPER} or signature.category in NOT_OF_SERVERS:
        return
    for case in signature.matches:
        assert hits(case.encode()), "no gate lets this line through"


# What a server's log never holds: tables of scores.
NOT_OF_SERVERS = {"accuracy-garbled", "evaluation-config"}
EVIL = [
    "a" * 4000,
    " " * 4000,
    "(" * 2000 + ")" * 2000,
    "Error: " * 600,
    "0123456789 " * 360,
    "not support " * 330,
    "KeyError: '" + "layers.0." * 400,
    "output: " + "ab" * 2000,
    "HCCL " * 800,
    "expert " * 580,
    'File "' + "x/" * 2000,
    "speculative model " * 220,
    "output: " + "!? " * 1300,
]


@pytest.mark.parametrize("signature", ALL, ids=ids)
def test_no_pattern_backtracks_on_hostile_lines(signature):
    matcher = Matcher(signature, 0)
    patterns = [
        p
        for p in (matcher.pattern, matcher.unless, matcher.frames, matcher.innermost, matcher.code, matcher.context)
        if p
    ]
    seeds = [*EVIL, *((signature.matches[0] * 4000)[:4096] if signature.matches else "")[:1]]
    seeds += [(case * (4096 // max(1, len(case)) + 1))[:4096] for case in signature.matches[:1]]
    for text in seeds:
        spent = million_turns(lambda text=text: [pattern.search(text) for pattern in patterns])
        assert spent < 20, text[:40]
