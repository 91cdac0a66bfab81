"""A service that asks for a key: it is used, and found in nothing that is kept or shown."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tests.measure.made import workload
from tests.measure.test_bench_command import document, seatrial

from seatrial.core.errors import EngineError, UsageError
from seatrial.measure.load.dataset import make_plan
from seatrial.measure.load.generator import Service, drive
from seatrial.measure.load.outside import TOOLS, outside_command, run_outside
from seatrial.measure.load.service import attached, key_from

KEY = "sk-Zebra/42+unlikely=="
# The first is a name of the engine's own, which a manifest would keep with its value.
VARIABLES = {"VLLM_BENCH_WORD": KEY}


def kept_anywhere(folder: Path) -> list[str]:
    """Files under the workspace that hold the key."""
    files = [f for f in (folder / ".seatrial").rglob("*") if f.is_file()]
    assert files
    return [str(f) for f in files if KEY.encode() in f.read_bytes() or json.dumps(KEY)[1:-1].encode() in f.read_bytes()]


@pytest.fixture
def locked(stand_in, bench_place):
    """A service that asks for KEY, and a place to bench it from."""
    url, _ = stand_in("--api-key", KEY)
    return url, bench_place()


def test_a_bench_of_a_service_with_a_key_keeps_everything_but_the_key(locked):
    url, place = locked
    line = ["bench", "run", "--service", url, "--workload", "w.toml", "--key-env", "VLLM_BENCH_WORD"]
    done = seatrial(place, *line, "--json", check=0, env=VARIABLES)
    ended = document(done)
    assert ended["runs"][0]["metrics"]["success"] == 40
    assert kept_anywhere(place) == []
    assert KEY not in done.stdout + done.stderr
    # Replayed: the name is kept, the key is asked of the environment again.
    again = seatrial(place, "replay", ended["run_id"], "--json", env=VARIABLES)
    assert document(again)["ended"]["runs"][0]["metrics"]["success"] == 40
    assert kept_anywhere(place) == []


@pytest.mark.parametrize("words", [[], ["--key-env", "VLLM_BENCH_WORD"]], ids=["without", "wrong"])
def test_a_service_that_does_not_let_us_in_says_so_without_the_key(locked, words):
    url, place = locked
    wrong = {"VLLM_BENCH_WORD": KEY + "x"} if words else {}
    done = seatrial(place, "bench", "run", "--service", url, "--workload", "w.toml", *words, check=4, env=wrong)
    assert "--key-env" in done.stderr
    assert KEY not in done.stderr
    assert kept_anywhere(place) == []


def test_a_key_that_is_not_there_or_no_header_is_a_mistake_of_the_user(locked, monkeypatch):
    url, place = locked
    line = ["bench", "run", "--service", url, "--workload", "w.toml", "--key-env", "NO_SUCH_VARIABLE"]
    assert "NO_SUCH_VARIABLE is not set" in seatrial(place, *line, check=2).stderr
    for bad in ("two words", "a\r\nX-Evil: 1", "schlüssel", " "):
        monkeypatch.setenv("BAD_KEY", bad)
        with pytest.raises(UsageError, match="BAD_KEY"):
            key_from("BAD_KEY")


def test_a_server_that_repeats_the_key_is_not_quoted_with_it(stand_in):
    url, _ = stand_in("--fault", "key-back")
    made = workload(requests=3, warmup=0)
    run = drive(Service(url=url, model="m", key=KEY), make_plan(made, "m"), concurrency=1, timeout_s=3000)
    assert {r.how for r in run.records} == {"http-error"}
    assert all(KEY not in r.error and "<redacted>" in r.error for r in run.records)


def test_the_highest_load_of_a_service_with_a_key(locked):
    url, place = locked
    line = ["bench", "highest", "--service", url, "--workload", "w.toml", "--high", "2", "--repeats", "1", "--json"]
    found = document(seatrial(place, *line, "--key-env", "VLLM_BENCH_WORD", check=0, env=VARIABLES))
    assert found["highest"]["holds_at"] == 2
    assert kept_anywhere(place) == []


@pytest.mark.parametrize("tool", TOOLS)
def test_no_command_line_of_an_outside_tool_holds_the_key(tool):
    to = {"url": "https://h:1", "model": "m", "tokenizer": "/t", "out": Path("/o"), "has_key": True, "ca": "/ca.pem"}
    command = outside_command(tool, Path("/x/python"), workload(warmup=0), **to)
    assert not any("Bearer" in word for word in command.argv)
    assert ("{KEY}" in " ".join(command.argv[4:])) == (tool != "vllm")
    assert command.env["SSL_CERT_FILE"] == command.env["REQUESTS_CA_BUNDLE"] == "/ca.pem"


def test_what_a_tool_writes_is_kept_without_the_key(tmp_path):
    home = tmp_path / "bin"
    home.mkdir()
    (home / "python").symlink_to(sys.executable)
    text = "import os, sys\nopen('raw.json', 'w').write(repr(sys.argv))\nprint('key', sys.argv[-1])\nsys.exit(3)\n"
    (home / "aiperf").write_text(text)
    out = tmp_path / "out"
    to = {"url": "http://h:1", "model": "m", "tokenizer": "/t", "out": out, "has_key": True}
    command = outside_command("aiperf", home / "python", workload(warmup=0), **to)
    with pytest.raises(EngineError, match="exit code 3: key <redacted>"):
        run_outside("aiperf", command, workload(warmup=0), out, tmp_path / "log", timeout_s=300, key=KEY)
    written = (out / "raw.json").read_text()
    assert "'--api-key', '<redacted>'" in written
    assert KEY not in written + (tmp_path / "log").read_text()


def test_the_key_of_a_server_that_we_start_is_its_own(bench_place):
    place = bench_place()
    line = ["bench", "run", "--checkpoint", "model", "--target", "stand-in", "--workload", "w.toml"]
    done = seatrial(place, *line, f"--arg=--api-key={KEY}", "--json", check=0)
    assert document(done)["runs"][0]["metrics"]["success"] == 40
    assert kept_anywhere(place) == []


def test_attached_with_the_key_lists_the_model(locked):
    url, _ = locked
    assert attached(url, None, key=KEY).model == "stand-in"
