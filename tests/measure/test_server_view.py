"""The server's own clock beside the client's, and requests that were not ours."""

from __future__ import annotations

import json
import threading
import urllib.request

import pytest
from tests.measure.test_bench_command import document, seatrial

from seatrial.measure.load.server_view import server_view

VLLM = """# HELP vllm:time_to_first_token_seconds Histogram of time to first token in seconds.
vllm:time_to_first_token_seconds_bucket{{engine="0",le="0.001"}} 0.0
vllm:time_to_first_token_seconds_count{{engine="0",model_name="m"}} {n}
vllm:time_to_first_token_seconds_sum{{engine="0",model_name="m"}} {s}
vllm:time_to_first_token_seconds_created{{engine="0",model_name="m"}} 1.763e+09
vllm:request_success_total{{engine="0",finished_reason="length",model_name="m"}} {n}
vllm:request_success_total{{engine="0",finished_reason="stop",model_name="m"}} 1.0
"""


def page(n: object, s: object) -> str:
    return VLLM.format(n=n, s=s)


def test_the_servers_mean_is_of_what_grew_between_the_two_looks():
    view = server_view(page(10.0, 1.0), page(30.0, 1.5))
    assert (view.requests, view.ttft_ms) == (20, pytest.approx(25.0))
    assert view.e2e_ms is None
    assert view.note == ""


@pytest.mark.parametrize(
    ("before", "after"),
    [(page(10.0, 1.0), page(3.0, 0.1)), ("", page(3.0, 0.1))],
    ids=["restarted", "no page before"],
)
def test_counters_that_cannot_be_set_against_each_other_give_no_figure(before, after):
    view = server_view(before, after)
    assert view.requests is None
    assert view.ttft_ms is None
    assert "backwards" in view.note


@pytest.mark.parametrize("hostile", [page("NaN", "1"), page("10.0", "x"), page("+Inf", "+Inf"), "", "\x00" * 99])
def test_a_page_that_is_none_gives_no_figure(hostile):
    view = server_view(page(1.0, 1.0), hostile)
    assert view is None or view.ttft_ms is None


def test_a_counter_that_appears_with_the_first_request_began_at_nothing():
    text = 'sglang:num_requests_total{{m="x"}} {n}\nsglang:time_to_first_token_seconds_{what}{{m="x"}} {v}\n'
    after = text.format(n=4.0, what="sum", v=0.2) + 'sglang:time_to_first_token_seconds_count{m="x"} 4.0\n'
    view = server_view("sglang:num_running_reqs 0.0\n", after)
    assert (view.requests, view.ttft_ms) == (4, pytest.approx(50.0))


def test_a_bench_tells_the_servers_clock_from_the_clients(stand_in, bench_place):
    url, _ = stand_in("--ttft", "0.01")
    words = ["bench", "run", "--service", url, "--workload", "w.toml"]
    done = seatrial(bench_place(), *words, "--json", check=0)
    (run,) = document(done)["runs"]
    view = run["metrics"]["server"]
    # The warm-up is not among them.
    assert view["requests"] == 40
    assert 10 <= view["ttft_ms"] <= run["metrics"]["ttft_ms"]["avg"]
    assert not any("others used it" in d for d in run["doubts"])
    assert "on the server's own clock" in seatrial(bench_place(), *words, check=0).stdout


def test_a_service_that_others_use_meanwhile_is_noticed(stand_in, bench_place):
    # The bench has 44 streams: from the 20th on they wait until somebody else has asked for something, too.
    url, _ = stand_in("--ttft", "0.02", "--fault", "want-other=20")
    body = json.dumps({"prompt": [1, 2], "max_tokens": 3}).encode()
    over = threading.Event()

    def meddle() -> None:
        while not over.is_set():
            urllib.request.urlopen(urllib.request.Request(f"{url}/v1/completions", data=body, method="POST")).read()

    other = threading.Thread(target=meddle)
    other.start()
    try:
        done = seatrial(bench_place(), "bench", "run", "--service", url, "--workload", "w.toml", "--json", check=0)
    finally:
        over.set()
        other.join()
    (run,) = document(done)["runs"]
    assert any("others used it too" in d for d in run["doubts"])
    assert run["level"] == "debug"
