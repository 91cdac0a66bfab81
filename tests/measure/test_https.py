"""A service behind https with a certificate of its own: trusted only where that is said; proxies are not asked."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.measure.made import workload
from tests.measure.test_bench_command import document, seatrial

from seatrial.core.errors import EngineError, UsageError
from seatrial.measure.load.dataset import make_plan
from seatrial.measure.load.generator import Service, drive
from seatrial.measure.load.outside import TOOLS, outside_command
from seatrial.measure.load.service import attached

NOBODY = "http://127.0.0.1:9"  # the discard port: whoever asks this proxy is refused


@pytest.fixture
def signed(tmp_path) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key, in one PEM file."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate")
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=stand-in"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "ca.pem"]
    subprocess.run(["openssl", *words], cwd=tmp_path, check=True, capture_output=True)
    both = tmp_path / "both.pem"
    both.write_text((tmp_path / "key.pem").read_text() + (tmp_path / "ca.pem").read_text())
    return both


@pytest.fixture
def https(stand_in, signed):
    url, _ = stand_in("--tls", str(signed))
    return url.replace("http:", "https:")


def test_a_bench_of_a_service_behind_https_that_is_trusted_on_purpose(https, bench_place, signed, monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, NOBODY)
    place = bench_place()
    words = ["bench", "run", "--service", https, "--workload", "w.toml", "--json"]
    ca = str(signed.with_name("ca.pem"))
    (run,) = document(seatrial(place, *words, "--ca", ca, check=0))["runs"]
    assert (run["metrics"]["success"], run["metrics"]["failed"]) == (40, 0)
    assert run["metrics"]["speculative"]["accept_rate"] == pytest.approx(2 / 3)
    refused = seatrial(place, *words, check=4)
    assert "is not trusted" in refused.stderr
    assert "--ca" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) <= 4


def test_without_trust_no_request_is_sent_and_each_says_why(https):
    made = workload(requests=4, warmup=0)
    run = drive(Service(url=https, model="m"), make_plan(made, "m"), concurrency=1, timeout_s=300)
    assert {r.how for r in run.records} == {"refused"}
    assert "certificate verify failed" in run.records[0].error.lower()
    with pytest.raises(EngineError, match="is not trusted"):
        attached(https, "m")


def test_another_name_than_the_certificates_is_not_trusted(https, signed):
    with pytest.raises(EngineError, match="is not trusted"):
        attached(https.replace("127.0.0.1", "localhost"), None, str(signed.with_name("ca.pem")))


@pytest.mark.parametrize("file", ["absent.pem", "w.toml"])
def test_a_file_that_is_no_certificate_is_a_mistake_of_the_user(bench_place, file):
    line = ["bench", "run", "--service", "https://127.0.0.1:9", "--workload", "w.toml", "--ca", file]
    done = seatrial(bench_place(), *line, check=2)
    assert "holds no certificate" in done.stderr
    assert "Traceback" not in done.stderr


def test_trust_without_https_is_refused(bench_place):
    line = ["bench", "run", "--service", "http://127.0.0.1:9", "--workload", "w.toml", "--ca", "w.toml"]
    assert "behind https" in seatrial(bench_place(), *line).stderr
    with pytest.raises(UsageError, match="behind https"):
        attached("http://127.0.0.1:9", None, "x")


@pytest.mark.parametrize("tool", TOOLS)
def test_outside_tools_go_straight_to_the_service_too(tool):
    made = workload(warmup=0)
    to = {"url": "http://bench.example:8000", "model": "m", "tokenizer": "/t", "out": Path("/o")}
    env = outside_command(tool, Path("/x/python"), made, **to).env
    assert env["NO_PROXY"] == env["no_proxy"] == "127.0.0.1,localhost,bench.example"
