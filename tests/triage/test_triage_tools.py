"""The command, the bundle, learning, liveness, the docs page, CANN's table."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.cost import million_turns

from seatrial.cli.triage import command
from seatrial.core.errors import EngineError, SeatrialError, UsageError
from seatrial.triage import Library, cann, diagnose, diagnose_text, library
from seatrial.triage.anchors import anchors
from seatrial.triage.learn import fingerprint, learn
from seatrial.triage.liveness import _texts, check, roots_of_target
from seatrial.triage.page import render
from seatrial.triage.redact import redact
from seatrial.triage.signatures import releases

ROOT = Path(__file__).resolve().parents[2]
KNOWN = "RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB\n"
STRANGE = (
    'Traceback (most recent call last):\n  File "/a/b.py", line 3, in go\n    x()\nQuuxError: frob 12 of /m/x failed\n'
)


def run(*args, **more):
    return CliRunner().invoke(command, args, catch_exceptions=False, **more)


def test_json_has_the_promised_fields(tmp_path):
    log = tmp_path / "a.log"
    log.write_text(KNOWN)
    result = run(str(log), "--json")
    answer = json.loads(result.output)
    assert result.exit_code == 1
    assert answer["category"] == "hbm-oom"
    assert {"category", "confidence", "first_cause", "next_step", "signature", "consequences", "noise"} <= set(answer)
    assert {"text", "file", "line", "process", "time"} <= set(answer["first_cause"])


def test_standard_input_and_exit_codes():
    assert run("-", input=KNOWN).exit_code == 1
    assert run("-", input=STRANGE).exit_code == 3
    assert run("-", input="INFO 05-12 10:00:00 [a.py:1] fine\n").exit_code == 0
    assert "OOM" in run("-", "--exit", "server=137", input="INFO: start\n").output


def odd_lines(count: int) -> str:
    line = "(Worker_TP{0} pid={0}) ERROR 05-12 10:00:00 [x.py:1] ValueError: odd thing {1} {2}\n"
    return "".join(line.format(i, "z" * i, "went wrong in the middle of the night " * 4) for i in range(count))


SCREENS = {
    "known": odd_lines(60) + KNOWN * 3,
    "long": "RuntimeError: NPU out of memory. " + "很长 \x1b[2J\x07 text " * 300 + "\n",
    "deep": 'Traceback (most recent call last):\n  File "/'
    + "deep/" * 60
    + 'end.py", line 3, in go\n    x()\n'
    + KNOWN,
    "unknown": "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above.\n",
    "dead": "Killed\n" + odd_lines(9),
    "clean": "INFO 05-12 10:00:00 [a.py:1] fine\n",
}


@pytest.mark.parametrize("name", SCREENS)
@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (40, 24)])
def test_the_human_view_fits_one_screen(width, height, name):
    from rich.cells import cell_len
    from rich.console import Console

    from seatrial.cli._triage_view import HEAD, rows

    answer = diagnose_text(SCREENS[name], exit_codes={"server": -11} if name == "dead" else None)
    shown = rows(answer, Console(width=width, height=height, force_terminal=True))
    assert len(shown) <= height - 2
    assert all(HEAD + cell_len(row.text) <= width for row in shown)
    heads = {row.head for row in shown}
    assert {"category", "why", "next"} <= heads
    assert answer.first_cause is None or {"first cause", "where"} <= heads
    assert not any(c < " " for row in shown for c in row.text)
    if width == 80 and name == "deep":
        assert any(row.text.startswith("…") and row.text.endswith("end.py:3 in go") for row in shown)


def test_without_a_terminal_a_text_keeps_its_length(tmp_path):
    log = tmp_path / "a.log"
    log.write_text(SCREENS["deep"])
    output = run(str(log)).output
    assert "deep/" * 60 + "end.py:3 in go" in output
    log.write_text(SCREENS["known"])
    output = run(str(log)).output
    assert len(output.splitlines()) <= 40
    assert "[1 of " in output  # how many follow is told where not all are shown


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


def test_learning_writes_a_candidate_and_a_test_that_fails_until_it_is_taken_over(tmp_path):
    log = tmp_path / "a.log"
    log.write_text(STRANGE)
    made = learn(log, category="kernel-limit", cause="c", fix="f", into=tmp_path / "out")
    failing = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(made.test_file)], capture_output=True, text=True, cwd=tmp_path
    )
    assert failing.returncode == 1, failing.stdout
    scope: dict = {}
    exec(made.signature_file.read_text(), scope)
    from seatrial.triage.signature import Library
    from seatrial.triage.signatures import library

    grown = Library((*library().signatures, *scope["SIGNATURES"]))
    other = tmp_path / "other.log"
    other.write_text(STRANGE.replace("12", "977").replace("/m/x", "/n/y"))
    assert diagnose([other], signatures=grown).category == "kernel-limit"


def test_a_bare_assertion_is_learned_by_its_place_and_never_without_one(tmp_path):
    frame = '  File "/x/site-packages/quux/ops/conv.py", line 88, in update\n    assert (batch,) == indices.shape\n'
    log = tmp_path / "a.log"
    log.write_text("Traceback (most recent call last):\n" + frame + "AssertionError\n")
    made = learn(log, category="kernel-limit", cause="c", fix="f", into=tmp_path / "out")
    scope: dict[str, object] = {}
    exec(made.signature_file.read_text(), scope)
    (candidate,) = scope["SIGNATURES"]
    known = Library((candidate,))
    assert diagnose([log], signatures=known).category == "kernel-limit"
    log.write_text("Traceback (most recent call last):\n" + frame.replace("update", "forward") + "AssertionError\n")
    assert diagnose([log], signatures=known).category == "unknown"
    log.write_text("AssertionError\n")
    with pytest.raises(UsageError, match="too little"):
        learn(log, category="kernel-limit", cause="c", fix="f", into=tmp_path / "out")


PYTHON_SAYS = """Traceback (most recent call last):
  File "/x/site-packages/vllm_ascend/sample/sampler.py", line 88, in apply_top_k
    torch.ops._C_ascend.{name}(x)
  File "/x/site-packages/torch/_ops.py", line 88, in __getattr__
    raise AttributeError(
AttributeError: '_OpNamespace' '_C_ascend' object has no attribute '{name}'
"""


@pytest.mark.parametrize(
    ("log", "category"),
    [
        (STRANGE, "lora"),
        (PYTHON_SAYS.format(name="npu_zork_quux"), "dependency-conflict"),
        ("vllm serve: error: argument --zork-config/-zc: 1 validation error for ZorkConfig\n", "config-validation"),
        (KNOWN, "kernel-limit"),  # the library says otherwise: the person knows better
    ],
)
def test_the_written_test_passes_once_the_candidate_is_taken_over_and_fails_before(
    tmp_path, monkeypatch, log, category
):
    (tmp_path / "a.log").write_text(log)
    made = learn(tmp_path / "a.log", category=category, cause="c", fix="f", into=tmp_path / "out")
    scope: dict = {}
    exec(made.signature_file.read_text(), scope)
    exec(made.test_file.read_text(), scope)
    written = scope["test_the_learned_failure_gets_its_category"]
    with pytest.raises(AssertionError):
        written()
    grown = Library((*library().signatures, *scope["SIGNATURES"]))
    monkeypatch.setattr("seatrial.triage.library", lambda: grown)
    written()
    answer = diagnose([tmp_path / "a.log"])
    assert (answer.category, answer.next_step) == (category, "f")
    assert 0 < answer.confidence < 0.93  # a person's word, not the table's


def test_what_python_says_of_any_code_is_learned_with_its_names_and_its_place(tmp_path):
    log = tmp_path / "a.log"
    log.write_text(PYTHON_SAYS.format(name="npu_zork_quux"))
    made = learn(log, category="dependency-conflict", cause="c", fix="f", into=tmp_path / "out")
    scope: dict = {}
    exec(made.signature_file.read_text(), scope)
    known = Library(scope["SIGNATURES"])
    assert diagnose([log], signatures=known).category == "dependency-conflict"
    log.write_text(PYTHON_SAYS.format(name="npu_other"))
    assert diagnose([log], signatures=known).category == "unknown"
    log.write_text(PYTHON_SAYS.format(name="npu_zork_quux").replace("sampler.py", "other.py"))
    assert diagnose([log], signatures=known).category == "unknown"
    log.write_text("IndexError: list index out of range\n")
    with pytest.raises(UsageError, match="too little"):
        learn(log, category="lora", cause="c", fix="f", into=tmp_path / "out")


def test_a_log_with_a_hostile_name_and_a_secret_in_its_failure_makes_plain_files(tmp_path):
    log = tmp_path / 'x""";raise SystemExit(9)#\\.log'
    log.write_text("RuntimeError: the zork at https://me:hunter2@host refused the token=abcdef123456 of the quux\n")
    made = learn(log, category="network-offline-hub", cause='"""', fix="it's\\", into=tmp_path / "out")
    scope: dict = {}
    for file in made:
        text = file.read_text()
        assert "hunter2" not in text
        assert "abcdef123456" not in text
        exec(text, scope)
    assert scope["SIGNATURES"][0].cause == '"""'


def test_a_candidate_is_never_written_over_nor_without_words_nor_as_a_traceback(tmp_path):
    log = tmp_path / "a.log"
    log.write_text(STRANGE)
    words = {"category": "lora", "cause": "c", "fix": "f"}
    made = learn(log, **words, into=tmp_path / "out")
    assert learn(log, **words, into=tmp_path / "out") == made
    made.signature_file.write_text(made.signature_file.read_text() + "# reviewed\n")
    with pytest.raises(UsageError, match="there already"):
        learn(log, **words, into=tmp_path / "out")
    assert made.signature_file.read_text().endswith("# reviewed\n")
    with pytest.raises(UsageError, match="cannot be written"):
        learn(log, **words, into=log / "below-a-file")
    with pytest.raises(UsageError, match="a cause and a fix"):
        learn(log, category="lora", cause=" ", fix="f", into=tmp_path / "other")


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


def test_nothing_is_learned_from_what_is_known_or_healthy(tmp_path):
    log = tmp_path / "a.log"
    log.write_text(KNOWN)
    with pytest.raises(UsageError, match="already answered"):
        learn(log, category="hbm-oom", cause="c", fix="f", into=tmp_path)
    with pytest.raises(UsageError, match="is not a category"):
        learn(log, category="nonsense", cause="c", fix="f", into=tmp_path)
    log.write_text("INFO 05-12 10:00:00 [a.py:1] fine\n")
    with pytest.raises(UsageError, match="no failure"):
        learn(log, category="lora", cause="c", fix="f", into=tmp_path)


def test_a_fingerprint_frees_numbers_paths_and_names():
    import re

    pattern = re.compile(fingerprint("ValueError: got 12 heads in /a/b for 'x'"))
    assert pattern.search("ValueError: got 9 heads in /c for 'yy'")
    assert not pattern.search("ValueError: got 9 tails in /c for 'yy'")


FREED = {
    "list": ("RuntimeError: The size [1, 2, 3, 4, 5, 6, 7] mismatch", "RuntimeError: The size [" + "1, " * 60 + "] ok"),
    "words": ("shape 1 2 3 4 5 6 7 8 9 bad value", "shape " + "1 2 3 4 5 6 7 8 9 " * 5 + "good"),
    "repeated": (
        "RuntimeError: got 1 and 2 and 3 and 4 and 5 and 6 bad heads",
        "RuntimeError: got " + "1 and " * 600 + "good heads",
    ),
    "alike": ("aaa 1 aaa 2 aaa 3 aaa 4 aaa 5 zork", "aaa " * 1000),
    "leading": ("17 of 18 and 19 of 20 kernels zork", "17 of 18 and " * 300),
}


@pytest.mark.parametrize("case", FREED)
def test_a_fingerprint_is_searched_in_little_time_where_it_is_almost_met(case):
    import re

    text, near = FREED[case]
    pattern = re.compile(fingerprint(text))
    assert pattern.search(text)
    assert pattern.search(re.sub(r"\d", "88", text))
    assert million_turns(lambda: pattern.search(near)) < 5
    assert pattern.pattern.count(".{1,200}?") <= 3


@pytest.mark.parametrize(
    "text",
    [
        "ValueError: " + ", ".join(map(str, range(200))) + " tail words",
        "ValueError: size 0x3f of\n 12 kernels",
        "ValueError: bad 'one\ntwo' name",
    ],
    ids=["long", "lines", "quoted"],
)
def test_a_fingerprint_meets_the_text_it_was_made_of(text):
    import re

    assert re.search(fingerprint(text), text)
    assert fingerprint(text).startswith("ValueError: ")


def test_a_message_of_which_too_little_is_the_same_each_time_is_not_learned_by_its_words(tmp_path):
    log = tmp_path / "a.log"
    log.write_text("QuuxError: a 1 b 2 c 3 d 4 e 5 f 6 g 7 h 8 i 9 j 10 k 11 l 12 m 13\n")
    with pytest.raises(UsageError, match="too little"):
        learn(log, category="kernel-limit", cause="c", fix="f", into=tmp_path / "out")


def test_liveness_tells_live_stale_and_outside_apart(tmp_path):
    package = tmp_path / "vllm"
    package.mkdir()
    (package / "a.py").write_text(
        'raise ValueError("Model architectures "\n    f"{x} are not supported "\n    "for now.")\n'
    )
    report = check([tmp_path])
    state = {r.signature: r.state for r in report.rows}
    assert state["arch.not-supported"] == "live"
    assert state["config.max-len"] == "stale"
    assert state["op.atb-name"] == "outside"
    assert report.live + report.stale + report.outside == len(report.rows)
    with pytest.raises(UsageError):
        check([tmp_path / "nothing"])


def test_the_check_of_the_texts_fails_where_one_is_stale(tmp_path):
    package = tmp_path / "vllm"
    package.mkdir()
    (package / "a.py").write_text('raise ValueError("Model architectures x are not supported for now.")\n')
    result = run("signatures", "--check", str(tmp_path), "--json")
    assert result.exit_code == 1
    assert json.loads(result.output)["stale"] > 0
    assert run("signatures", "--check", str(tmp_path)).exit_code == 1
    # Every text that can be searched for, as one source: nothing is stale.
    texts = {t for s in library().signatures for t in _texts(s)}
    (package / "b.py").write_text("\n".join(sorted(texts)))
    result = run("signatures", "--check", str(tmp_path), "--json")
    assert (result.exit_code, json.loads(result.output)["stale"]) == (0, 0)
    (package / "a.py").write_text("x = 1\n")
    (package / "b.py").unlink()
    assert run("signatures", "--check", str(tmp_path)).exit_code == 3


def test_the_docs_page_is_current():
    assert (ROOT / "docs" / "triage-signatures.md").read_text(encoding="utf-8") == render()


def test_an_installed_table_of_error_codes_is_used(tmp_path, monkeypatch):
    place = tmp_path / "runtime" / "conf" / "error_manager"
    place.mkdir(parents=True)
    (place / "error_code.json").write_text(
        json.dumps(
            {
                "error_info_list": [
                    {
                        "ErrCode": "EI0006",
                        "errTitle": "Get_Socket_Timeout",
                        "ErrMessage": "m",
                        "suggestion": {"Solution": "look there"},
                    }
                ]
            }
        )
    )
    text = "[PID: 1] 2025-05-01 EI0006: Getting socket times out."
    assert "look there" not in diagnose_text(text).explanation
    monkeypatch.setenv("ASCEND_HOME_PATH", str(tmp_path))
    assert "look there" in diagnose_text(text).explanation
    (place / "error_code.json").write_text("{broken")
    cann.read_table.cache_clear()
    assert cann.explain(text) == ""


TABLE = {
    "errTitle": "Get_Socket_Timeout",
    "ErrCode": "EI0006",
    "ErrMessage": "Getting socket times out. Reason: %s",
    "suggestion": {"Possible Cause": "1. The peer is late.", "Solution": "1. Look there.\n2. And there."},
}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"\xef\xbb\xbf" + json.dumps({"error_info_list": [TABLE]}).encode(),
            "EI0006: Get_Socket_Timeout; Getting socket times out. Reason: <...>; Possible cause: 1. The peer is late; "
            "Solution: 1. Look there. 2. And there.",
        ),
        (
            json.dumps([{"ErrCode": "EI0006", "errTitle": None, "suggestion": ["do", "it"]}]).encode(),
            "EI0006: Solution: do it.",
        ),
        (json.dumps([{"ErrCode": "EI0006", "errTitle": "N/A", "suggestion": {"Solution": "N/A"}}]).encode(), ""),
        (b'{"error_info_list": "\xff"}', ""),
        (b"[" * 100_000, ""),
        (b"null", ""),
    ],
    ids=["as-shipped", "list", "open", "latin", "deep", "null"],
)
def test_the_table_of_error_codes_is_read_as_it_is_shipped_and_never_stops_a_triage(
    tmp_path, monkeypatch, content, said
):
    place = tmp_path / "runtime" / "conf" / "error_manager"
    place.mkdir(parents=True)
    (place / "error_code.json").write_bytes(content)
    monkeypatch.setenv("ASCEND_HOME_PATH", str(tmp_path))
    assert cann.explain("[PID: 1] 2025-05-01 EI0006: Getting socket times out.") == said


@pytest.mark.parametrize(
    ("pattern", "literals"),
    [
        ("abcd.{0,9}efghij", ("efghij",)),
        ("abcd|x{2}wxyz", ("abcd", "wxyz")),
        ("abcd|[xy]z", ()),
        ("(?:one|two) three", (" three",)),
        (r"is not path\b(?: now)?", ("is not path",)),
        ("abcde?", ("abcd",)),
    ],
)
def test_the_literals_of_a_pattern(pattern, literals):
    assert anchors(pattern) == literals


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 5000, random.Random(3).randbytes(5000)], ids=["empty", "binary", "random"]
)
def test_a_log_of_which_nothing_was_read_is_inconclusive_not_clean(tmp_path, content):
    log = tmp_path / "a.log"
    log.write_bytes(content)
    result = run(str(log), "--json")
    answer = json.loads(result.output)
    assert result.exit_code == 3
    assert not answer["healthy"]
    assert "a.log" in answer["explanation"]


def test_a_folder_without_a_file_is_inconclusive(tmp_path):
    result = run(str(tmp_path), "--json")
    assert result.exit_code == 3
    assert "no file was found" in json.loads(result.output)["explanation"]


def test_a_readable_clean_log_beside_an_empty_one_is_clean(tmp_path):
    (tmp_path / "a.log").write_text("INFO 11-20 all is well\n")
    (tmp_path / "b.log").touch()
    assert run(str(tmp_path)).exit_code == 0


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that opens but does not read")
def test_a_log_that_opens_but_cannot_be_read_is_a_note_not_a_traceback():
    result = run("/proc/self/mem", "--json")
    assert result.exit_code == 3
    assert "cannot be read" in json.loads(result.output)["sources"][0]["dropped"]


def test_a_bundle_in_a_folder_that_is_not_there_is_a_usage_error(tmp_path):
    log = tmp_path / "a.log"
    log.write_text(KNOWN)
    with pytest.raises(UsageError, match="not a folder"):
        run(str(log), "--bundle", str(tmp_path / "none" / "x.zip"))


def test_a_target_whose_interpreter_has_no_vllm_is_named_with_its_folder(tmp_path, monkeypatch):
    (tmp_path / "seatrial.toml").write_text(
        '[targets.here]\nextends = "cpu"\n[targets.here.engine]\nkind = "interpreter"\n'
        f'interpreter = "{sys.executable}"\n'
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EngineError, match="site-packages holds no vllm"):
        roots_of_target("here")


def test_the_table_of_releases_names_only_signatures_and_releases_that_exist():
    table = releases()
    known = {s.id: s for s in library().signatures}
    assert {"vllm", "vllm_ascend"} <= set(table.looked_at)
    assert set(table.found) <= set(known)
    for identity, packages in table.found.items():
        assert known[identity].versions == packages
        for package, spans in packages.items():
            ends = [end for span in spans.split(", ") for end in span.split("..")]
            assert ends
            assert set(ends) <= set(table.looked_at[package]), identity


def test_a_text_that_came_late_is_not_said_to_stand_in_the_older_releases():
    found = {s.id: s.versions for s in library().signatures}
    order = list(releases().looked_at["vllm"])
    assert any(v["vllm"].split("..")[0] != order[0] for v in found.values() if "vllm" in v)
    assert found["arch.not-supported"]["vllm"] == f"{order[0]}..{order[-1]}"


def test_no_function_of_the_signatures_door_has_the_name_of_a_family():
    # Importing a family puts its module on the package under the family's name.
    import seatrial.triage.signatures as door

    families = {file.stem for file in Path(door.__file__).parent.glob("*.py")}
    assert not families & {name for name, value in vars(door).items() if callable(value)}
