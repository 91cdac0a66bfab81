"""A bench is verified from its requests: seeded faults whose hashes all join again are told by deriving it anew."""

from __future__ import annotations

# ruff: noqa: E501 - a fault is one line: what is changed, and the code that must tell
import json
from pathlib import Path

import pytest
from bench_runs import document, in_manifest, lines, make_bench
from forgery import forge

from seatrial.core.finding import Severity
from seatrial.core.verdict import Verdict
from seatrial.delivery.verify import verify_bundle
from seatrial.evidence import open_workspace

A1, B2 = "bench-eager-1", "bench-graph-2"


def figures(step, change):
    """The same edit where a careful forger makes it: in the facts and in metrics.json."""

    def fault(folder, b, f, a):
        f(step, lambda d: change(d["metrics"]))
        a(step, "metrics.json", document(change))

    return fault


def facts(step, change):
    return lambda folder, b, f, a: f(step, change)


def kept(step, name, edit):
    return lambda folder, b, f, a: a(step, name, edit)


def manifest(change):
    return lambda folder, b, f, a: in_manifest(folder, change)


def _gone(step):
    def fault(folder, b, f, a):
        b[step].clear()
        b[step].update(step="left-out")

    return fault


def _p99(metrics):
    metrics["ttft_ms"]["p99"] = 12.5


def _flip(folder, b, f, a):
    f("verdict", lambda d: d.update(answer="fail", winner="eager", reason="worse: request_throughput -28.6%"))
    b["verdict"]["outcome"].update(verdict="fail", reason="worse: request_throughput -28.6%")
    b["verdict"]["summary"] = "worse: request_throughput -28.6%"
    b["finished"].update(verdict="fail")


def _percentage(folder, b, f, a):
    f("verdict", lambda d: d["figures"]["request_throughput"].update(change=0.9))


def _both(*faults):
    return lambda *args: [fault(*args) for fault in faults]


FORGED = {
    "an edited p99": (figures(A1, _p99), "Y218"),
    "a throughput raised": (figures(B2, lambda m: m.update(request_throughput=999.0)), "Y218"),
    "tokens that were not made": (figures(B2, lambda m: m.update(output_tokens=99999)), "Y218"),
    "a failure not counted": (figures(A1, lambda m: m.update(total=25, failed=1)), "Y218"),
    "metrics.json of other figures": (kept(A1, "metrics.json", document(_p99)), "Y218"),
    "a request dropped": (kept(A1, "requests.jsonl", lines(lambda rows: rows.pop())), "Y218"),
    "the slowest request dropped and the next one twice": (kept(A1, "requests.jsonl", lines(lambda rows: rows.__setitem__(-1, rows[-2]))), "Y218"),
    "a request made faster": (kept(A1, "requests.jsonl", lines(lambda rows: rows[9].update(first_s=rows[9]["intended_s"] + 0.001, chunks_s=[rows[9]["intended_s"] + 0.001, *rows[9]["chunks_s"][1:]]))), "Y218"),
    "a failed request called answered": (kept(A1, "requests.jsonl", lines(lambda rows: rows[9].update(how="cut", error="gone"))), "Y218"),
    "a warm-up counted": (kept(A1, "requests.jsonl", lines(lambda rows: rows[0].update(warmup=False))), "Y218"),
    "times that run backwards": (kept(A1, "requests.jsonl", lines(lambda rows: rows[9].update(sent_s=rows[9]["end_s"] + 9))), "Y218"),
    "no requests at all": (kept(A1, "requests.jsonl", lambda d: b""), "Y218"),
    "a summary of other figures": (lambda folder, b, f, a: b[A1].update(summary="24 of 24 requests, 999.00 req/s"), "Y218"),
    "a doubt of the figures left out": (kept(A1, "generator.json", document(lambda d: d.update(cpu_share=0.99))), "Y218"),
    "a doubt of the gate left out": (_both(kept(A1, "gate.json", document(lambda d: d.update(passed=False, reasons=["others used it"])))), "Y220"),
    "a busy machine called quiet": (kept(A1, "gate.json", document(lambda d: d["load"][1].update(busy_s=d["load"][1]["busy_s"] + 15))), "Y220"),
    "a debug run called formal": (facts(A1, lambda d: d.update(doubts=["the clock jumped"])), "Y220"),
    "a broken service level called held": (manifest(lambda m: m["arguments"]["workload"]["sla"][0].update(limit_ms=1.0)), "Y220"),
    "a verdict of a run flipped": (lambda folder, b, f, a: b[A1]["outcome"].update(verdict="fail", reason="x"), "Y220"),
    "unreadable answers called readable": (facts("accuracy-eager", lambda d: d.update(texts=[""])), "Y220"),
    "no answers called readable": (facts("accuracy-graph", lambda d: d.update(texts=[])), "Y220"),
    "another workload in the manifest": (manifest(lambda m: m["arguments"]["workload"]["load"].update(concurrency=64)), "Y219"),
    "another seed in the manifest": (manifest(lambda m: m["arguments"]["workload"]["load"].update(seed=7)), "Y219"),
    "a manifest of another checkpoint": (manifest(lambda m: m["inputs"].update(model="f" * 64)), "Y219"),
    "a manifest of another engine": (manifest(lambda m: m["versions"].update(vllm="0.11.0")), "Y219"),
    "sides exchanged in the manifest": (manifest(lambda m: m["arguments"]["sides"].reverse()), "Y219"),
    "more repeats asked for than were made": (manifest(lambda m: m["arguments"].update(runs=9)), "Y219"),
    "a flag that the command has not": (facts(A1, lambda d: d["setup"]["facts"].update({"flag.max-num-seqs": "256"})), "Y219"),
    "a command without the side's flag": (lambda folder, b, f, a: b[A1]["commands"][0].update(argv=[w for w in b[A1]["commands"][0]["argv"] if w != "--enforce-eager"]), "Y219"),
    "the order of other requests": (facts(A1, lambda d: d["setup"]["facts"].update({"workload.order": "0" * 64})), "Y219"),
    "a run of another bench": (facts(B2, lambda d: d.update(evidence="20261120-000000-bench-other-0000/bench-graph-2")), "Y219"),
    "a run left out": (_gone("bench-graph-4"), "Y219"),
    "a verdict flipped": (_flip, "Y221"),
    "a percentage raised": (_percentage, "Y221"),
    "a p value lowered": (facts("verdict", lambda d: d["figures"]["request_throughput"].update(p=0.0001)), "Y221"),
    "a forbidden difference left out": (manifest(lambda m: m["arguments"].update(under_test=["flag.other"])), "Y221"),
    "judged by another figure": (manifest(lambda m: m["arguments"].update(judged_by="ttft_ms.p99")), "Y221"),
    "the comparison taken away": (_gone("verdict"), "Y221"),
    "the bench's verdict flipped": (lambda folder, b, f, a: b["finished"].update(verdict="inconclusive"), "Y212"),
    "a bench signed off": (lambda folder, b, f, a: b["finished"].update(signed_off=True), "Y212"),
    "a bench called another kind": (manifest(lambda m: m["arguments"].update(kind="walk")), None),
}  # fmt: skip


@pytest.fixture(scope="module")
def made_bench(tmp_path_factory):
    return make_bench(open_workspace(tmp_path_factory.mktemp("bench"), write=True)).folder


@pytest.fixture
def bench(made_bench, tmp_path) -> Path:
    import shutil

    return shutil.copytree(made_bench, tmp_path / made_bench.name)


def test_a_whole_bench_is_derived_again_step_by_step_and_every_step_says_from_what(bench):
    report = verify_bundle(bench)
    one = report.runs[0]
    assert (report.verdict, one.kind, one.derived, one.findings) == (Verdict.PASS, "bench", 11, ())
    assert all(c.derived for c in one.checked)
    assert {c.step for c in one.checked} >= {A1, B2, "accuracy-eager", "verdict", "(the run)"}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_bench_whose_hashes_all_join_is_caught(name, bench):
    fault, code = FORGED[name]
    forge(bench, lambda b, f, a: fault(bench, b, f, a))
    report = verify_bundle(bench)
    one = report.runs[0]
    assert not [f for f in one.findings if f.code.startswith("V") and f.severity is Severity.ERROR]
    assert report.verdict is not Verdict.PASS
    found = {f.code for f in one.findings if f.severity is Severity.ERROR}
    assert code is None or code in found, one.findings


def test_a_kind_or_a_step_without_a_rule_is_named_and_not_passed(bench):
    forge(bench, lambda b, f, a: in_manifest(bench, lambda m: m["arguments"].update(kind="walk")))
    one = verify_bundle(bench).runs[0]
    assert (one.verdict, one.derived) == (Verdict.INCONCLUSIVE, 0)
    assert any("no rule knows runs of the kind 'walk'" in f.message for f in one.findings)
    assert all(not c.derived for c in one.checked)


@pytest.mark.parametrize(("changes", "says"), [({"noisy": True}, "smoke-only"), ({"runs": 2}, "under 4 a side")])
def test_a_bench_that_allows_no_percentage_is_derived_again_too(changes, says, tmp_path):
    run = make_bench(open_workspace(tmp_path, write=True), **changes)
    report = verify_bundle(run.folder)
    assert report.verdict is Verdict.PASS, report.runs[0].findings
    judged = json.loads(run.artifact(run.steps()["verdict"].facts).read_text())
    assert says in (judged["answer"], *judged["reason"].split(": "), judged["reason"].partition("no verdict ")[2])


def test_what_the_version_that_ran_did_not_keep_is_said_and_its_doubts_are_taken_as_recorded(bench):
    def older(b, f, a):
        for body in b.values():
            if str(body.get("step")).startswith("bench-"):
                body["artifacts"] = [x for x in body["artifacts"] if x["name"] != "generator.json"]
                a(body["step"], "gate.json", document(lambda d: d.pop("load")))

    forge(bench, older)
    report = verify_bundle(bench)
    assert report.verdict is Verdict.PASS, report.runs[0].findings
    told = {f.message for f in report.runs[0].findings}
    assert any("use of its core was not kept" in t for t in told)
    assert any("looks around the load were not kept" in t for t in told)
