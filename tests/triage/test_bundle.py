"""The bundle for an upstream issue: what it holds, and which secrets it lets out (none)."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.cost import million_turns

from seatrial.cli.triage import command
from seatrial.core.errors import SeatrialError, UsageError
from seatrial.triage import diagnose
from seatrial.triage.redact import redact

KNOWN = "RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB\n"


def run(*args, **more):
    return CliRunner().invoke(command, args, catch_exceptions=False, **more)


def test_the_bundle_keeps_the_logs_apart_from_the_story_and_redacts(tmp_path):
    log = tmp_path / "a.log"
    log.write_text(KNOWN + "vllm 0.11.0 HF_TOKEN=hf_abcdefghijklmnop Authorization: Bearer sk-abcdef123456789\n")
    target = tmp_path / "b.zip"
    result = run(str(log), "--bundle", str(target), "--command", "vllm serve m --api-key topsecret")
    assert "bundle:" in result.output
    with zipfile.ZipFile(target) as archive:
        names = set(archive.namelist())
        everything = b"".join(archive.read(n) for n in names)
        assert KNOWN.encode() in archive.read("raw/000-a.log")
        assert {n.split("/")[0] for n in names} == {"raw", "facts", "narrative"}
    for secret in (b"hf_abcdefghijklmnop", b"sk-abcdef123456789", b"topsecret"):
        assert secret not in everything
    with pytest.raises(UsageError):
        run(str(log), "--bundle", str(target))


@pytest.mark.parametrize(
    "line",
    [
        "non-default args: {'model_tag': '/m', 'api_key': ['sekrit-1', 'sekrit-2'], 'port': 8000}",
        '{"api_key": ["sekrit-value-1"]}',
        "vllm serve m --api-key sekrit-1 sekrit-2 --port 1",
        "vllm serve m --token sekrit-1",
        'ENV HF_TOKEN "sekrit-1"',
        "-H 'Authorization: sekrit-1'",
        "Authorization: Basic c2Vrcml0sekrit",
        "https://sekrit1@github.com/x",
        "redis://:sekrit1@h:1/0",
        "https://b.s3.com/x?X-Amz-Credential=AKsekrit%2F2025&X-Amz-Signature=sekrit0123&X=1",
        "PASSWORD = 'a b sekrit c'",
        "MYSQL_PWD=sekrit1",
        "AWS_SECRET_ACCESS_KEY=sekrit/value+1",
        "github_pat_11ABCDEFsekrit0123456789",
        "ms-sekrit00-aaaa-bbbb-cccc-0123456789ab",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIsekrit\nBBBBsekrit\n-----END RSA PRIVATE KEY-----",
        "Cookie: session=sekrit1; other=sekrit2",
        "'api_key': SecretStr('sekrit1')",
        '{"text": "\\\\"api_key\\\\": \\\\"sekrit1\\\\""}',
        "/home/sekrit/vllm/x.py",
        "C:\\Users\\sekrit\\x",
        "X-Amz-Security-Token=" + "sekrit" * 200,
        "'session_token': '" + "sekrit" * 200 + "'",
        "api_keys: ['" + "sekrit" * 200 + "']",
        "vllm serve m --api-key " + "sekrit" * 200 + " " + "sekrit" * 200,
        "Authorization: ApiKey sekrit1",
        "{'authorization': 'Custom-Scheme sekrit1'}",
        "Authorization: sekrit more of the line",
        "secret={api_key=sekritsekrit}",
        "eos_token: x=1,api_key=sekritsekrit",
        'pad_token=\'{"api_key": "sekrit1"}\'',
        "token=[hf_sekrit0123456789abcd]",
        "api_keys=['sekrit12']",
        "credentials: sekrit12",
        "secrets=[sekrit12]",
        '"password": "ab\\"sekrit1"',
        "'password': 'ab\\'sekrit1'",
        "password=ab;sekrit1",
        "password=abcd,sekrit1",
    ],
    ids=lambda line: line[:40],
)
def test_a_secret_is_taken_out_however_it_is_written(line):
    clean = redact(line.encode(), homes=True)
    assert b"sekrit" not in clean.data
    assert clean.hits
    assert redact(clean.data, homes=True).data == clean.data


@pytest.mark.parametrize(
    ("line", "clean"),
    [
        (b"password=12345678", b"password=<redacted>"),
        (b"Server=h;Password=abcd1;Port=1", b"Server=h;Password=<redacted>;Port=1"),
        (b"api_key=abcd1,port:8000, x=1", b"api_key=<redacted>,port:8000, x=1"),
        (b'{"password": "ab\\"cdefg", "port": 1}', b'{"password": "<redacted>", "port": 1}'),
        (b"secret={api_key=abcdefghijk} x", b"secret={api_key=<redacted>} x"),
        (b"Authorization: Bearer abcdefgh from 10.0.0.1", b"Authorization: Bearer <redacted> from 10.0.0.1"),
        (b'"api_keys": [\n "abcdefgh"],\n "port": 1', b'"api_keys": <redacted>\n,\n "port": 1'),
        (b"Authorization: abcd1234 port=8000", b"Authorization: <redacted> port=8000"),
    ],
)
def test_beside_a_secret_the_line_stays_as_it_is(line, clean):
    assert redact(line).data == clean


@pytest.mark.parametrize(
    "text",
    [
        b"-----BEGIN PRIVATE KEY-----" * 9000,
        b"api_key: [" * 9000,
        b"--api-key a a a a " * 9000,
        b"eyJ" + b"a" * 200_000,
        b"eos_token:" * 10_000,
        b"token=[" * 14_000,
        b"api_key: ['" * 9000,
        b'"password": "\\"' * 7000,
        b'password="' + b'\\"' * 50_000,
        b"authorization: a" * 6000,
        b"authorization:" * 7000,
        b"password=a;" * 9000,
        b"password=" + b"a;" * 50_000,
        b"password=" + b";a=" * 33_000,
        b"secret={" * 12_000,
        b"-----BEGIN PRIVATE KEY-----\n" * 4000,
        b"-----BEGIN PRIVATE KEY-----" + b"\n" * 100_000,
        (b"-----BEGIN PRIVATE KEY-----" + b"\na b" * 50) * 500,
        (b"-----BEGIN PRIVATE KEY-----" + b"\na" * 50) * 500,
        b"-----BEGIN PRIVATE KEY-----" + b" a" * 50_000,
    ],
    ids=lambda text: text[:20].decode(),
)
def test_the_search_for_secrets_is_safe(text):
    assert million_turns(lambda: redact(text)) < 40


@pytest.mark.parametrize(
    "line",
    [
        b"eos_token: </s>, pad_token='<|endoftext|>', special_tokens: ['<s>', '</s>']",
        b"tokenizer=/m, token_ids=[1, 2], hf_token=None, api_key=None",
        b"/home/somebody/models/x",
        b"max_tokens=512, prompt_token_ids_len=21, num_tokens: 7",
        b"KeyError: 'model.layers.0.self_attn.q_proj.weight'",
        b"(Worker_TP0 pid=1) ERROR 05-12 10:12:50 [x.py:1] RuntimeError: tokens 5",
        b"token: 151643, token=[151643,151645], authorization=None port=8000",
        b"secret={} api_key={'a': None, 'b': 1}",
        b"hf_overrides={}, hf_processor_mm_kwargs=1, hf_config_path=None, hf_textconfig.rope",
        b"Invalid token:\nTraceback (most recent call last):",
        b"Sampled token:\n(EngineCore_DP0 pid=12) ERROR 05-12 10:12:50 [x.py:1] RuntimeError: tokens 5",
        b"Invalid authorization:\nTraceback (most recent call last):\nserver auth =\nwritten below",
        b"wrong bearer\nTraceback (most recent call last):",
    ],
)
def test_ordinary_lines_are_not_redacted(line):
    assert redact(line).data == line


PEM = b"-----BEGIN RSA PRIVATE KEY-----\n" + b"sekrit/+KEY0abcd" * 4 + b"\n"


PEM = PEM + PEM.partition(b"\n")[2] * 24 + b"sekritQ=\n-----END RSA PRIVATE KEY-----\n"


@pytest.mark.parametrize("prefix", [b"", b"(Worker_TP0 pid=12) ", b"ERROR 05-12 10:00:00 [x.py:1] "])
@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_of_a_private_key_behind_prefixes_the_lines_stay_and_the_key_goes(prefix, ending):
    lines = [prefix + line for line in PEM.splitlines()]
    lines.insert(5, b"(EngineCore pid=3) INFO 05-12 10:00:00 [core.py:1] loaded the model --api-key sekrit12")
    clean = redact(ending.join([b"INFO before", *lines, b"INFO after it", b""]))
    kept = clean.data.split(ending)
    assert b"sekrit" not in clean.data
    assert len(kept) == len(lines) + 3
    assert (kept[0], kept[-2]) == (b"INFO before", b"INFO after it")
    assert all(line.startswith(prefix) for line in kept[1:5])
    assert kept[6] == b"(EngineCore pid=3) INFO 05-12 10:00:00 [core.py:1] loaded the model --api-key <redacted>"
    assert redact(clean.data).data == clean.data


@pytest.mark.parametrize(
    "text",
    [
        PEM.replace(b"\n", b"\\n"),
        b'"private_key": "' + PEM.replace(b"\n", b"\\n") + b'", "x": 1',
        b"private_key: " + PEM,
        PEM.replace(b"\n", b" "),
        PEM.replace(b"\n", b"\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0A\n\n", 1),
        PEM.partition(b"sekritQ=")[0],
        b"(W pid=1) " + PEM.partition(b"sekritQ=")[0].replace(b"\n", b"\n(W pid=1) "),
    ],
    ids=["escaped", "json", "named", "one-line", "encrypted", "cut", "cut-prefixed"],
)
def test_a_private_key_goes_however_it_is_written(text):
    assert b"sekrit" not in redact(text + b"\nINFO after it\n").data
    assert b"INFO after it" in redact(text + b"\nINFO after it\n").data


def raw_of_bundle(folder: Path, content: bytes) -> bytes:
    from seatrial.triage.bundle import write_bundle

    log = folder / "a.log"
    log.write_bytes(content)
    (folder / "b.zip").unlink(missing_ok=True)
    write_bundle(folder / "b.zip", diagnose([log], hashed=True), "")
    with zipfile.ZipFile(folder / "b.zip") as archive:
        return archive.read("raw/000-a.log").removesuffix(b"\n")


@pytest.mark.parametrize("before", [0, 1, 30, 600, 1700, 1760])
@pytest.mark.parametrize("prefix", [b"", b"(Worker_TP0 pid=12) "])
def test_a_private_key_across_the_end_of_a_chunk_is_taken_out(tmp_path, monkeypatch, before, prefix):
    monkeypatch.setattr("seatrial.triage.read.CHUNK", 1 << 14)
    key = b"".join(prefix + line for line in PEM.splitlines(keepends=True))
    lines = b"INFO 05-12 10:00:00 [a.py:1] fine\n"
    filler = (b"x" * ((1 << 14) - before) + b"\n")[-(1 << 14) + before :]
    log = filler + key + lines * 3000
    raw = raw_of_bundle(tmp_path, log)
    assert b"sekrit" not in raw
    assert raw.count(b"\n") == log.count(b"\n") - 1
    assert raw.endswith((lines * 3000).strip())


@pytest.mark.parametrize("before", [3, 9, 12, 20, 39_990, 40_000, 40_010])
def test_a_secret_across_a_piece_of_an_over_long_line_is_taken_out(tmp_path, monkeypatch, before):
    monkeypatch.setattr("seatrial.triage.read.CHUNK", 1 << 14)
    at = (64 << 10) - before
    secret = b" --api-key=hunter2hunter2 --port 8000 "
    log = (b"word " * 40_000)[:at] + secret + b"word " * 30_000 + b"\n" + KNOWN.encode()
    raw = raw_of_bundle(tmp_path, log)
    assert raw == log.replace(b"hunter2hunter2", b"<redacted>").removesuffix(b"\n")


def test_a_bundle_that_cannot_be_finished_leaves_nothing_behind(tmp_path, monkeypatch):
    log = tmp_path / "a.log"
    log.write_text(KNOWN)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("seatrial.triage.bundle._narrative", full)
    with pytest.raises(SeatrialError, match="No space left"):
        run(str(log), "--bundle", str(tmp_path / "b.zip"))
    assert [f.name for f in tmp_path.iterdir()] == ["a.log"]


def test_a_bundle_knows_the_secrets_of_the_command_and_of_this_shell_by_their_values(tmp_path, monkeypatch):
    log = tmp_path / "a.log"
    log.write_text(KNOWN + "the server was given topsecret1 and envsecret2\n" + 'ValueError: bad "password: ", x\n')
    monkeypatch.setenv("HF_TOKEN", "envsecret2")
    target = tmp_path / "b.zip"
    run(str(log), "--bundle", str(target), "--command", "vllm serve 'm --api-key topsecret1")
    with zipfile.ZipFile(target) as archive:
        everything = b"".join(archive.read(n) for n in archive.namelist())
        assert json.loads(archive.read("narrative/diagnosis.json"))["category"] == "hbm-oom"
    assert b"topsecret1" not in everything
    assert b"envsecret2" not in everything


def test_a_binary_beside_the_log_is_named_in_the_bundle_and_not_packed(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "a.log").write_text(KNOWN)
    (folder / "core.4711").write_bytes(bytes(range(256)) * 40)
    run(str(folder), "--bundle", str(tmp_path / "b.zip"))
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        assert [n for n in archive.namelist() if n.startswith("raw/")] == ["raw/000-a.log"]
        assert "core.4711" in archive.read("facts/sha256-of-the-originals.txt").decode()


def test_a_log_that_grows_while_it_is_packed_is_told(tmp_path):
    from seatrial.triage.bundle import write_bundle

    log = tmp_path / "a.log"
    log.write_text(KNOWN)
    answer = diagnose([log], hashed=True)
    write_bundle(tmp_path / "same.zip", answer, "")
    with log.open("a") as more:
        more.write("INFO more\n")
    write_bundle(tmp_path / "grown.zip", answer, "")
    for name, told in (("same", False), ("grown", True)):
        with zipfile.ZipFile(tmp_path / f"{name}.zip") as archive:
            assert ("changed while" in archive.read("facts/sha256-of-the-originals.txt").decode()) == told


def test_the_versions_of_a_bundle_are_those_of_the_banner_and_the_engine(tmp_path):
    from seatrial.triage.bundle import VERSION

    found = b" ".join(
        VERSION.findall(
            b"(APIServer pid=1) INFO [api_utils.py:347]    version 0.32.0\n"
            b"INFO [core.py:133] Initializing a V1 LLM engine (v0.32.1) with config\n"
            b"vLLM API server version 0.11.0rc1\n"
        )
    )
    assert b"0.32.0" in found
    assert b"0.32.1" in found
    assert b"0.11.0rc1" in found


def test_a_bundle_in_a_folder_that_is_not_there_is_a_usage_error(tmp_path):
    log = tmp_path / "a.log"
    log.write_text(KNOWN)
    with pytest.raises(UsageError, match="not a folder"):
        run(str(log), "--bundle", str(tmp_path / "none" / "x.zip"))
