"""What a parity, a locate, a matrix or a profile concludes, and what a ledger says of the benches beside it: seeded
faults whose hashes join again are told by deriving it anew.
"""

from __future__ import annotations

# ruff: noqa: E501 - a fault is one line: what is changed
import json

import pytest
from bench_runs import BENCH_ID, in_manifest, make_bench
from delivery_runs import recorded
from forgery import forge

from seatrial.core.finding import Severity
from seatrial.core.record import from_plain, to_json, to_plain
from seatrial.core.step import Attachment, StepResult
from seatrial.core.verdict import Verdict, inconclusive, passed
from seatrial.delivery.verify import verify_bundle
from seatrial.evidence import Manifest, Run
from seatrial.gates.agree import Agreement, Divergence
from seatrial.measure.accuracy import ab, bisect, locate
from seatrial.measure.accuracy import parity as parity_of
from seatrial.measure.accuracy.ab_variants import Variant
from seatrial.measure.accuracy.distance import band
from seatrial.measure.loop.events import Baseline, Evidence, Goal, Stop
from seatrial.measure.profile.records import ProfileReport
from seatrial.measure.search import highest
from seatrial.measure.search.highest import outcome_of, told


def keep(workspace, name, arguments, results, *, records=(), finished=None, logs=(), **changes):
    """A run of some kind with these steps and records, closed."""
    plain = {
        "schema_version": 1, "run_id": name, "created_at": "2026-11-21T05:00:00Z", "seatrial_version": "0.1.0",
        "arguments_given": [], "checkpoint": "/models/Qwen3-tiny", "python": "", "git": [], "environment": {},
        "environment_other_names": [], **recorded()["manifest"], "arguments": arguments, **changes,
    }  # fmt: skip
    run = Run.create(workspace.runs_folder / name, from_plain(Manifest, plain, where="manifest"))
    for kind, body in records:
        run.append(kind, body)
    for result in results:
        attached = []
        for log in logs:
            (workspace.root / log).write_bytes(logs[log] if isinstance(logs, dict) else f"INFO of {log}\n".encode())
            attached.append(Attachment(name=log, path=str(workspace.root / log)))
        step = from_plain(StepResult, {**to_plain(result), "attachments": to_plain(attached)}, where="step")
        run.store(step, inputs="i", started_at="t", duration_s=1.0)
    if results or finished is not None:
        verdict = results[0].outcome.verdict.value if results else finished[0]
        reason = results[0].outcome.reason if results else finished[1]
        run.append("finished", {"verdict": verdict, "signed_off": False, "reason": reason})
    run.close()
    return run.folder


def kept_parity(workspace):
    places = tuple(
        parity_of.Position(
            prompt=n % 4, place=n, part="prefill" if n < 30 else "decode", engine=1e-6 * (1 + n % 5), noise=1e-6 * (1 + n % 7),
            best_agrees=n != 3,
        )
        for n in range(60)
    )  # fmt: skip
    split = {part: [p for p in places if p.part == part] for part in ("prefill", "decode")}
    facts = parity_of.ParityFacts(
        checkpoint="/models/Qwen3-tiny", how="http", engine="vllm 0.32.0", reference="Qwen3ForCausalLM",
        serving_dtype="bfloat16", truth_dtype="float32", prompts=4,
        bands=tuple(band(part, [p.engine for p in mine], [p.noise for p in mine]) for part, mine in split.items()),
        divergences=(), sigma=0.01, agreement=59 / 60, top_overlap=1.0, positions=places, other_tokens=(),
    )  # fmt: skip
    return keep(workspace, "parity-1", {"kind": "accuracy", "what": "parity"}, (parity_of.conclude(facts),))


def kept_locate(workspace):
    def row(key, out):
        return locate.ModuleRow(
            key=key, step=0, by="tensors", engine_key=key, module="Linear", kind="linear", width=64, relative=0.2 if out else 0.001,
            noise=0.001, limit=0.01, out=out, excused=False, cosine=0.99, ulps=1.0, bad=0, tokens=(), tokens_out=(),
            strayed=(), suspects=(),
        )  # fmt: skip

    rows = (row("layers.0.mlp", False), row("layers.1.self_attn", True), row("layers.1.mlp", True))
    facts = locate.LocateFacts(
        checkpoint="/models/Qwen3-tiny", prompt="p", prompt_tokens=4, serving_dtype="bfloat16", truth_dtype="float32",
        reference="Qwen3ForCausalLM", rows=rows, unmatched=(), only_reference=(), first=rows[1], cause="kernel",
        cause_by="place",
    )  # fmt: skip
    return keep(workspace, "locate-1", {"kind": "accuracy", "what": "locate"}, (locate.conclude(facts),))


def kept_matrix(workspace):
    wide = Divergence(prompt=0, place=3, first="a", second="b", margin=0.7, other_margin=0.6)
    cells = []
    for name, divergences in (("graph", ()), ("kv-fp8", (wide,))):
        agreement = Agreement(
            first="base", second=name, prompts=8, equal=8 - len(divergences), divergences=divergences,
            worst_logprob=0.01, step=0.0,
        )  # fmt: skip
        cells.append(ab.cell_of(Variant(name=name, says=f"with {name}", cause="kernel"), agreement))
    facts = ab.MatrixFacts(checkpoint="/models/Qwen3-tiny", cells=tuple(cells))
    logs = ("server-graph.log", "server-kv-fp8.log")
    return keep(workspace, "ab-1", {"kind": "accuracy", "what": "ab"}, (ab.conclude(facts),), logs=logs)


def kept_bisect(workspace):
    codes = {"v1": 0, "v2": 0, "v3": 1, "v4": 1}
    result = bisect.bisect(tuple(codes), codes.get)
    lines = b"".join(to_json(t) + b"\n" for t in result.facts.trials)
    return keep(workspace, "bisect-1", {"kind": "accuracy", "what": "bisect"}, (result,), logs={"trials.jsonl": lines})


def kept_profile(workspace):
    make_bench(workspace)
    facts = {
        "explains": BENCH_ID, "files": [{"path": "/traces/rank0.json", "bytes": 10, "sha256": "a" * 64}],
        "report": to_plain(ProfileReport()), "profiler_attached": True, "schema_version": 1,
    }  # fmt: skip
    step = StepResult(step="profile", outcome=inconclusive("nothing could be analysed"), summary="ranks 0", facts=facts)
    arguments = {"kind": "profile", "explains": BENCH_ID}
    return keep(workspace, "profile-1", arguments, (step,), inputs={"/traces/rank0.json": "a" * 64})


def kept_highest(workspace):
    names = {level: f"20261121-04000{level}-bench-small-b0b0" for level in (1, 8)}
    for level, name in names.items():
        make_bench(workspace, name=name, sides=("graph",), runs=1, load={"concurrency": level})
    found = highest(lambda level: passed(), low=1.0, high=8.0, repeats=1, whole=True)
    trials = [{"level": t.level, "run": names[t.level], "outcome": to_plain(t.outcomes[0])} for t in found.tries]
    facts = {
        "run_id": "highest-1",
        "outcome": to_plain(outcome_of(found, "concurrency")),
        "highest": to_plain(found),
        "trials": trials,
        "reused": 0,
    }
    step = StepResult(
        step="highest", outcome=outcome_of(found, "concurrency"), summary=told(found, "concurrency"), facts=facts
    )
    arguments = {"kind": "highest", "bounds": {"by": "concurrency", "low": 1.0, "high": 8.0, "repeats": 1}}
    return keep(workspace, "highest-1", arguments, (step,), records=[("trial", t) for t in trials])


def kept_search(workspace):
    run = make_bench(workspace, sides=("graph",), runs=1)
    records = [
        ("tried", {"name": "graph", "run": run.run_id, "failed": ""}),
        ("tried", {"name": "x", "run": "", "failed": "no start"}),
    ]
    return keep(workspace, "search-1", {"kind": "search"}, (), records=records, finished=("pass", "best: graph"))


def kept_loop(workspace):
    run = make_bench(workspace)
    judged = json.loads(run.artifact(run.steps()["verdict"].facts).read_text())
    mean = judged["figures"]["request_throughput"]["mean_a"]
    events = [
        Goal(goal="more requests", model="/models/Qwen3-tiny", framework="vllm", sla="ttft p99 <= 500 ms"),
        Baseline(evidence=BENCH_ID, value=mean, runs=4, sla="ttft p99 <= 500 ms", sla_holds=True),
        Evidence(evidence=(f"{BENCH_ID}/bench-eager-1",), hypothesis="eager is slow"),
        Stop(rule="", reason="enough"),
    ]  # fmt: skip
    records = [("loop", e) for e in events]
    return keep(
        workspace, "loop-1", {"kind": "loop"}, (), records=records, finished=("inconclusive", "stopped by hand: enough")
    )


KINDS = {
    "parity": (kept_parity, "only hash-checked: their logits"),
    "locate": (kept_locate, "only hash-checked: the outputs"),
    "ab": (kept_matrix, "only hash-checked: their answers"),
    "bisect": (kept_bisect, "only hash-checked: its exit codes"),
    "profile": (kept_profile, "only hash-checked: the 1 trace file(s)"),
    "highest": (kept_highest, ""),
    "search": (kept_search, ""),
    "loop": (kept_loop, ""),
}


def _event(number, **changes):
    """A change of the loop's nth event, in the line itself (forge keeps one body a kind)."""

    def edit(folder, b, f, a):
        file = folder / "records.jsonl"
        lines = [json.loads(x) for x in file.read_text().splitlines()]
        [e for e in lines if e["kind"] == "loop"][number]["body"].update(changes)
        file.write_text("\n".join(json.dumps(x) for x in lines) + "\n")

    return edit


def _clean(bodies, step):
    """The step's verdict and the run's, as if nothing had been found."""
    bodies[step].update(findings=[], outcome={"verdict": "pass", "reason": ""})
    bodies["finished"].update(verdict="pass", reason="")


FORGED = {
    "parity: a wide distance called rounding": ("parity", lambda o, b, f, a: f("parity", lambda d: d["positions"][5].update(engine=1.0)), "Y223"),
    "parity: the bands of other positions": ("parity", lambda o, b, f, a: f("parity", lambda d: d["bands"][0].update(far=9)), "Y223"),
    "parity: an agreement raised": ("parity", lambda o, b, f, a: f("parity", lambda d: d.update(agreement=1.0)), "Y223"),
    "parity: the tokenizer's fault left out": ("parity", lambda o, b, f, a: f("parity", lambda d: d.update(other_tokens=[0])), "Y223"),
    "parity: a band left out": ("parity", lambda o, b, f, a: f("parity", lambda d: d.update(bands=d["bands"][:1])), "Y223"),
    "parity: another summary": ("parity", lambda o, b, f, a: b["parity"].update(summary="all is well"), "Y223"),
    "locate: an error called inside its limit": ("locate", lambda o, b, f, a: (f("locate", lambda d: ([r.update(out=False) for r in d["rows"]], d.update(first=None, cause="", cause_by=""))), _clean(b, "locate")), "Y223"),
    "locate: an error excused by nothing": ("locate", lambda o, b, f, a: (f("locate", lambda d: ([r.update(excused=True) for r in d["rows"] if r["out"]], d.update(first=None, cause="", cause_by=""))), _clean(b, "locate")), "Y223"),
    "ab: a broken setting left out": ("ab", lambda o, b, f, a: (f("ab", lambda d: d.update(cells=d["cells"][:1])), _clean(b, "ab")), "Y223"),
    "ab: a setting that was asked for left out": ("ab", lambda o, b, f, a: in_manifest(o, lambda m: m["arguments"].update(options={"only": ["tp2"]})), "Y223"),
    "ab: a broken setting called not run": ("ab", lambda o, b, f, a: f("ab", lambda d: d["cells"][1].update(state="not-run", reason="no start")), "Y223"),
    "ab: a wide break called rounding by float32": ("ab", lambda o, b, f, a: f("ab", lambda d: d["cells"][1].update(exact=d["cells"][0]["agreement"], state="rounding")), "Y223"),
    "bisect: a later bad one called the first": ("bisect", lambda o, b, f, a: f("bisect", lambda d: d.update(first_bad="v4")), "Y223"),
    "bisect: an earlier good one called the last": ("bisect", lambda o, b, f, a: f("bisect", lambda d: d.update(last_good="v1")), "Y223"),
    "bisect: a trial left out": ("bisect", lambda o, b, f, a: f("bisect", lambda d: d.update(trials=d["trials"][:3])), "Y223"),
    "bisect: more candidates than were searched": ("bisect", lambda o, b, f, a: f("bisect", lambda d: d.update(candidates=40)), "Y223"),
    "locate: a later module called the first": ("locate", lambda o, b, f, a: f("locate", lambda d: d.update(first=d["rows"][2])), "Y223"),
    "locate: called clean": ("locate", lambda o, b, f, a: (b["locate"]["outcome"].update(verdict="pass", reason=""), b["finished"].update(verdict="pass")), "Y223"),
    "ab: a broken setting called rounding": ("ab", lambda o, b, f, a: f("ab", lambda d: d["cells"][1].update(state="rounding", reason="")), "Y223"),
    "ab: the verdict flipped": ("ab", lambda o, b, f, a: (b["ab"]["outcome"].update(verdict="pass", reason=""), b["finished"].update(verdict="pass")), "Y223"),
    "ab: a server's log left out": ("ab", lambda o, b, f, a: b["ab"].update(artifacts=[]), "Y223"),
    "bisect: a good candidate called bad": ("bisect", lambda o, b, f, a: f("bisect", lambda d: d["trials"][0].update(judgement="bad")), "Y223"),
    "bisect: other exit codes": ("bisect", lambda o, b, f, a: f("bisect", lambda d: d["trials"][0].update(codes=[0, 0], reason="2 of 2 runs are good")), "Y223"),
    "bisect: another first bad one": ("bisect", lambda o, b, f, a: f("bisect", lambda d: d.update(first_bad="v2")), "Y223"),
    "bisect: called inconclusive": ("bisect", lambda o, b, f, a: (b["bisect"]["outcome"].update(verdict="inconclusive", reason="x"), b["finished"].update(verdict="inconclusive")), "Y223"),
    "profile: nothing analysed called a pass": ("profile", lambda o, b, f, a: (b["profile"]["outcome"].update(verdict="pass", reason=""), b["finished"].update(verdict="pass")), "Y223"),
    "profile: it explains another bench": ("profile", lambda o, b, f, a: f("profile", lambda d: d.update(explains="other")), "Y223"),
    "profile: other traces": ("profile", lambda o, b, f, a: in_manifest(o, lambda m: m["inputs"].update({"/traces/rank0.json": "b" * 64})), "Y223"),
    "highest: a higher load than held": ("highest", lambda o, b, f, a: f("highest", lambda d: d["highest"].update(holds_at=64.0)), "Y222"),
    "highest: a trial that no record has": ("highest", lambda o, b, f, a: f("highest", lambda d: d["trials"][0].update(level=3.0)), "Y222"),
    "highest: a trial called broken that its bench held": ("highest", lambda o, b, f, a: f("highest", lambda d: d["trials"][1]["outcome"].update(verdict="fail", reason="x")), "Y222"),
    "highest: the verdict flipped": ("highest", lambda o, b, f, a: (b["highest"]["outcome"].update(verdict="fail", reason="x"), b["finished"].update(verdict="fail")), "Y222"),
    "highest: other bounds": ("highest", lambda o, b, f, a: in_manifest(o, lambda m: m["arguments"]["bounds"].update(high=99.0)), "Y222"),
    "search: another best": ("search", lambda o, b, f, a: b["finished"].update(reason="best: x"), "Y222"),
    "search: its verdict flipped": ("search", lambda o, b, f, a: b["finished"].update(verdict="fail"), "Y222"),
    "loop: a lower baseline": ("loop", _event(1, value=1.0), "Y222"),
    "loop: a debug run as baseline": ("loop", _event(1, is_formal=False), "Y222"),
    "loop: a stop rule that does not hold": ("loop", _event(3, rule="win"), "Y222"),
    "loop: its verdict flipped": ("loop", lambda o, b, f, a: b["finished"].update(verdict="pass"), "Y222"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_kept_run_of_every_kind_is_derived_again_and_says_what_it_could_only_hash(kind, workspace):
    maker, left = KINDS[kind]
    one = verify_bundle(maker(workspace)).runs[0]
    assert [f for f in one.findings if f.severity is Severity.ERROR] == []
    assert (one.verdict, one.derived) == (Verdict.PASS, 1)
    assert all(c.derived for c in one.checked)
    notes = [f.message for f in one.findings]
    assert any(left in n for n in notes) if left else notes == []


def test_a_setting_that_float32_cleared_is_derived_again_from_both_comparisons(workspace):
    near = Divergence(prompt=0, place=3, first="a", second="b", margin=0.3, other_margin=0.2)
    first = Agreement(
        first="base", second="tp2", prompts=8, equal=7, divergences=(near,), worst_logprob=0.01, step=0.05
    )
    exact = Agreement(first="base", second="tp2", prompts=8, equal=8, divergences=(), worst_logprob=0.001, step=0.0)
    variant = Variant(name="tp2", says="on two devices", cause="kernel")
    cell = ab.settled(ab.cell_of(variant, first), ab.cell_of(variant, exact))
    assert cell.state == "rounding"
    result = ab.conclude(ab.MatrixFacts(checkpoint="/models/Qwen3-tiny", cells=(cell,)))
    logs = ("server-base.log", "server-base-float32.log", "server-tp2.log", "server-tp2-float32.log")
    folder = keep(workspace, "ab-2", {"kind": "accuracy", "what": "ab"}, (result,), logs=logs)
    one = verify_bundle(folder).runs[0]
    assert [f.one_line() for f in one.findings if f.severity is Severity.ERROR] == []
    assert one.verdict is Verdict.PASS


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_conclusion_whose_hashes_all_join_is_caught(name, workspace):
    kind, fault, code = FORGED[name]
    folder = KINDS[kind][0](workspace)
    if kind == "loop" and fault.__qualname__.startswith("_event"):
        fault(folder, None, None, None)
        forge(folder, lambda b, f, a: None)
    else:
        forge(folder, lambda b, f, a: fault(folder, b, f, a))
    one = verify_bundle(folder).runs[0]
    assert one.verdict is Verdict.FAIL
    assert code in {f.code for f in one.findings if f.severity is Severity.ERROR}, one.findings


@pytest.mark.parametrize(("verdict", "fault"), [("pass", True), ("inconclusive", False)])
def test_a_trial_whose_bench_measured_nothing_has_neither_held_nor_broken_its_level(verdict, fault, workspace):
    from seatrial.delivery.evidence_view import EvidenceView
    from seatrial.delivery.verify.ledger_rules import highest_load

    folder = kept_highest(workspace)
    name = "20261121-040008-bench-small-b0b0"
    bench = workspace.runs_folder / name
    lines = [json.loads(x) for x in (bench / "records.jsonl").read_text().splitlines()]
    kept = [x for x in lines if x["kind"] != "step"]
    (bench / "records.jsonl").write_text("".join(json.dumps({**x, "seq": n}) + "\n" for n, x in enumerate(kept)))
    forge(bench, lambda b, f, a: None)
    forge(folder, lambda b, f, a: f("highest", lambda d: d["trials"][1]["outcome"].update(verdict=verdict, reason="x")))
    view = EvidenceView(Run.read(folder))
    told = [f.message for f in highest_load(view, view.stored("highest"))]
    assert any("its outcome is" in t for t in told) is fault, told


@pytest.mark.parametrize("kind", ["highest", "search", "loop"])
def test_a_ledger_without_the_runs_it_names_is_called_hash_checked_and_not_derived(kind, workspace, tmp_path):
    import shutil

    alone = shutil.copytree(KINDS[kind][0](workspace), tmp_path / "alone" / f"{kind}-1")
    one = verify_bundle(alone).runs[0]
    assert "Y291" in {f.code for f in one.findings}
    assert (one.verdict, one.derived) == (Verdict.INCONCLUSIVE, 0)
    assert not any(c.derived for c in one.checked if c.step in (kind, "(the run)") and kind != "highest")
