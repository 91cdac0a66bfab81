"""Further unfairnesses and bad inputs, each tried on the real commands before it was written down here."""

from __future__ import annotations

import json
import uuid

import pytest
from tests.measure.made import bench_run, workload
from tests.measure.test_bench_command import document, seatrial

from seatrial.core.errors import FileFormatError
from seatrial.core.record import replace
from seatrial.evidence import Run
from seatrial.measure.compare import judge
from seatrial.measure.load.dataset import make_plan
from seatrial.measure.load.generator import Service, drive
from seatrial.measure.load.metrics import ServerView, measure
from seatrial.measure.load.readers import read_results
from seatrial.workflow.bench import bench_runs

VLLM = {
    "backend": "openai",
    "num_prompts": 64,
    "completed": 64,
    "failed": 0,
    "duration": 2.0,
    "total_input_tokens": 2048,
    "total_output_tokens": 1024,
    "request_throughput": 32.0,
    "output_throughput": 512.0,
    "mean_ttft_ms": 5.0,
    "p50_ttft_ms": 5.0,
    "median_ttft_ms": 5.0,
    "p99_ttft_ms": 9.0,
}


def written(tmp_path, text: str):
    (tmp_path / "vllm.json").write_text(text)
    return read_results(tmp_path / "vllm.json", "vllm")


def test_a_name_that_is_there_twice_is_refused_and_not_decided_by_order(tmp_path):
    text = json.dumps(VLLM)[:-1] + ', "completed": 3}'
    with pytest.raises(FileFormatError, match="'completed' is there twice"):
        written(tmp_path, text)


@pytest.mark.parametrize("value", ["1" * 400, "1e300", "-" + "9" * 99])
def test_a_number_longer_than_any_figure_is_unknown(tmp_path, value):
    text = json.dumps(VLLM).replace('"p99_ttft_ms": 9.0', f'"p99_ttft_ms": {value}')
    (found,) = written(tmp_path, text)
    assert found.metrics.ttft_ms.p99 is None
    assert found.metrics.ttft_ms.p50 == 5.0


@pytest.mark.parametrize(
    "changes", [{"duration": 2000.0}, {"request_throughput": 3.2}, {"total_output_tokens": 65536}], ids=str
)
def test_a_throughput_that_its_own_counts_contradict_is_doubted(tmp_path, changes):
    (good,) = written(tmp_path, json.dumps(VLLM))
    assert not any("but" in d for d in good.metrics.doubts)
    (found,) = written(tmp_path, json.dumps(VLLM | changes))
    assert any(" s are " in d for d in found.metrics.doubts)


def test_repeats_that_the_prefix_cache_answered_are_no_repeats():
    def side(label, shares):
        runs = [bench_run(100.0 + i, label=label) for i in range(len(shares))]
        return [
            replace(r, metrics=replace(r.metrics, server=ServerView(cached=s)))
            for r, s in zip(runs, shares, strict=True)
        ]

    cold, warm = side("A", [0.0] * 4), side("B", [0.0, 0.9, 0.9, 0.9])
    judged = judge(cold, warm, under_test=())
    assert judged.answer != "pass"
    assert any("prefix cache answered 0% of the prompts in one and 90% in another" in d for d in judged.doubts)
    assert not judged.figures


def test_a_server_with_another_tokenizer_counts_other_prompts(stand_in):
    url, _ = stand_in("--fault", "other-tokenizer")
    made = workload(requests=6, warmup=1)
    run = drive(Service(url=url, model="m"), make_plan(made, "m"), concurrency=2, timeout_s=300)
    found = measure(run, concurrency=2, rate=0, stream=True, exact_length=True, speculative=None)
    assert any("another tokenizer" in d for d in found.doubts)


def test_a_request_that_was_sent_before_is_noted(stand_in, bench_place):
    place = bench_place()
    url, _ = stand_in()
    rows = [json.dumps({"prompt": f"tell me {i % 5}", "output_len": 4}) for i in range(44)]
    (place / "data.jsonl").write_text("\n".join(rows))
    text = (place / "w.toml").read_text()
    (place / "w.toml").write_text(
        text.replace('kind = "random"\ninput_tokens = 8\noutput_tokens = 4', 'kind = "jsonl"\nfile = "data.jsonl"')
    )
    (run,) = document(seatrial(place, "bench", "run", "--service", url, "--workload", "w.toml", "--json"))["runs"]
    assert any("39 of 40 requests were sent before" in n for n in run["metrics"]["notes"])


@pytest.mark.parametrize("after", [60, 0], ids=["in the middle", "before the first answer"])
def test_a_service_that_dies_has_neither_held_nor_broken_a_level(bench_place, after):
    place = bench_place(f"die-after={after}")
    text = (place / "w.toml").read_text()
    (place / "w.toml").write_text(text.replace("requests = 40", "requests = 100"))
    line = ["bench", "highest", "--checkpoint", "model", "--target", "stand-in", "--workload", "w.toml", "--json"]
    found = document(seatrial(place, *line, "--high", "2", "--repeats", "1", check=3))
    assert (found["highest"]["holds_at"], found["highest"]["breaks_at"]) == (None, None)
    assert found["trials"][0]["outcome"]["verdict"] == "inconclusive"
    assert "partial" in found["trials"][0]["outcome"]["reason"]


def test_a_ledger_or_a_fact_that_was_changed_carries_nothing(bench_place):
    place = bench_place()
    line = ["--checkpoint", "model", "--target", "stand-in", "--workload", "w.toml", "--json"]
    base = document(seatrial(place, "bench", "run", *line, check=0))["run_id"]
    goal = ["--goal", "g", "--model", "model", "--target", "stand-in", "--json"]
    loop = document(seatrial(place, "loop", "start", *goal, check=0))["loop"]
    seatrial(place, "loop", "record", "evidence", base, "--hypothesis", "slow", check=0)
    runs = place / ".seatrial" / "runs"
    for file in (runs / base / "artifacts").glob("*.json"):
        if b'"request_throughput"' in file.read_bytes() and b'"setup"' in file.read_bytes():
            file.write_text(file.read_text().replace('"success": 40', '"success": 41').replace(":40", ":41"))
    for words in (["loop", "record", "baseline", base], ["bench", "compare", base, base]):
        done = seatrial(place, *words, check=4)
        assert "cannot be used" in done.stderr or "cannot be resumed" in done.stderr
        assert "Traceback" not in done.stderr
    ledger = runs / loop / "records.jsonl"
    ledger.write_text(ledger.read_text().replace('"hypothesis":"slow"', '"hypothesis":"fast"'))
    for words in (["loop", "status"], ["loop", "next"], ["loop", "record", "blocked", "x"]):
        done = seatrial(place, *words, check=4)
        assert "cannot be used" in done.stderr or "cannot be resumed" in done.stderr


@pytest.mark.parametrize("label", ["../../../evil", "a/b", "x" * 200, "--flag", "标签"])
def test_a_label_that_looks_like_a_path_names_no_folder(stand_in, bench_place, label):
    place = bench_place()
    url, _ = stand_in()
    mark = uuid.uuid4().hex  # other tests' folders lie beside this one's
    label = label.replace("evil", mark)
    line = ["bench", "run", "--service", url, "--workload", "w.toml", f"--label={label}", "--json"]
    (run,) = document(seatrial(place, *line, check=0))["runs"]
    assert run["setup"]["label"] == label
    assert list(place.parent.rglob(f"*{mark}*")) == []
    assert {f.name for f in (place / ".seatrial").iterdir()} <= {"runs", "scratch", ".gitignore", "index.sqlite"}


@pytest.mark.parametrize("label", ["", " ", "a\nb", "x" * 301])
def test_a_label_that_cannot_be_shown_is_refused(bench_place, label):
    line = ["bench", "run", "--service", "http://127.0.0.1:9", "--workload", "w.toml", f"--label={label}"]
    assert "a label is" in seatrial(bench_place(), *line, check=2).stderr


def test_no_trial_of_the_highest_load_sends_what_another_sent(stand_in, bench_place):
    place = bench_place()
    url, _ = stand_in()
    line = ["bench", "highest", "--service", url, "--workload", "w.toml", "--high", "2", "--repeats", "3", "--json"]
    found = document(seatrial(place, *line, check=0))
    sent = set()
    for trial in found["trials"]:
        run = Run.read(place / ".seatrial" / "runs" / trial["run"])
        sent |= {b.setup.get("workload.order") for b in bench_runs(run)}
    assert len(sent) == len(found["trials"]) >= 4


def test_more_than_a_machine_can_hold_is_refused_before_it_is_made(bench_place):
    place = bench_place()
    text = (place / "w.toml").read_text()
    (place / "w.toml").write_text(text.replace("requests = 40", "requests = 1000000000"))
    done = seatrial(place, "bench", "run", "--service", "http://127.0.0.1:9", "--workload", "w.toml", check=4)
    assert "would not be held" in done.stderr
