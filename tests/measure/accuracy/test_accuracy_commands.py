"""The commands: bad input ends in one line with its mend, results in the right exit code."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

from seatrial.cli.accuracy import command
from seatrial.core.errors import FileFormatError, SeatrialError, UsageError
from seatrial.measure.accuracy import reference_dtype
from seatrial.measure.accuracy.records import DatasetConfig
from seatrial.measure.accuracy.run import RunWriter, tally
from seatrial.measure.accuracy.serving import address


@pytest.fixture
def written(tmp_path, prediction, request_config):
    """A run of so many right answers out of 20, in a folder."""

    def make(name, right):
        rows = [prediction(str(i), status="correct" if i < right else "wrong") for i in range(20)]
        with RunWriter(tmp_path / name, request_config, DatasetConfig(name="d", source="d")) as writer:
            for row in rows:
                writer.add(row)
            writer.finish(tally(name, "L4", rows))
        return str(tmp_path / name)

    return make


def test_compare_fails_for_a_worse_run_and_passes_for_the_same(written):
    good, bad = written("good", 19), written("bad", 9)
    worse = CliRunner().invoke(command, ["compare", good, bad, "--json"])
    assert worse.exit_code == 1
    document = json.loads(worse.stdout)
    assert document["facts"]["test"]["lost"] == 10
    text = CliRunner().invoke(command, ["compare", good, bad])
    assert "McNemar p = 0.00195" in text.stdout
    assert CliRunner().invoke(command, ["compare", good, good]).exit_code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["compare", "absent", "absent"], "is not a folder"),
        (["check", "absent", "--expected", "1"], "is not a folder"),
        (["locate", "absent"], "has no config.json"),
        (["parity", "absent"], "has no config.json"),
        (["ab", "absent"], "has no config.json"),
        (["bisect", "--good", "a", "--bad", "b", "--cmd", "true"], "either --repo or --versions"),
        (["bisect", "--good", "b", "--bad", "a", "--cmd", "true", "--versions", "a,b"], "must be among --versions"),
        (["import", "absent", "--tool", "lm-eval", "--level", "L4", "--model", "m", "--out", "o"], "holds no results"),
    ],
)
def test_bad_input_is_one_line_with_its_mend(words, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SeatrialError) as caught:
        CliRunner().invoke(command, words, catch_exceptions=False)
    assert says in caught.value.one_line()
    assert caught.value.mend


@pytest.mark.parametrize(
    "words", [["--tolerance", "inf"], ["--tolerance", "nan"], ["--tolerance=-1"], ["--expected", "nan"]]
)
def test_a_check_that_every_score_or_none_would_pass_is_refused(words):
    done = CliRunner().invoke(command, ["check", "r", "--expected", "1", *words])
    assert (done.exit_code, words[0].partition("=")[0] in done.output) == (2, True), done.output


def test_a_score_that_a_run_does_not_have_cannot_be_checked(written):
    with pytest.raises(UsageError, match="must name one score"):
        CliRunner().invoke(command, ["check", written("r", 5), "--expected", "1"], catch_exceptions=False)


@pytest.mark.parametrize("what", ["parity", "run"])
@pytest.mark.parametrize(
    ("words", "says", "mend"),
    [
        (["--url", "http://127.0.0.1:9", "--tp", "2"], "--tp is for a server that is started here", "--tp, or --url"),
        (
            ["--url", "http://127.0.0.1:9", "--max-model-len", "64"],
            "--max-model-len is for a server",
            "--max-model-len",
        ),
        (
            ["--url", "http://h:9", "--tp", "2", "--max-model-len", "64"],
            "--tp and --max-model-len are for",
            "Leave out",
        ),
        (["--model", "m"], "--model is the name at --url", "--url"),
    ],
)
def test_what_no_running_server_can_be_given_is_refused(what, words, says, mend, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError) as caught:
        CliRunner().invoke(command, [what, ".", *words], catch_exceptions=False)
    assert says in caught.value.one_line()
    assert mend in caught.value.mend


def test_one_process_is_not_taken_for_the_ranks_of_the_target(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "seatrial.toml").write_text(
        '[targets.wide]\nextends = "cpu"\n[targets.wide.engine]\nkind = "interpreter"\n'
        f'interpreter = "{sys.executable}"\n[targets.wide.serve.args]\ntensor-parallel-size = 4\n'
    )
    words = ["parity", ".", "--target", "wide", "--in-process"]
    with pytest.raises(UsageError, match="serves with tensor-parallel size 4") as caught:
        CliRunner().invoke(command, words, catch_exceptions=False)
    assert "--tp 1" in caught.value.mend
    # Said by hand it is taken: the next thing that is wrong is the interpreter, which has no engine.
    done = CliRunner().invoke(command, [*words, "--tp", "1"])
    assert "tensor-parallel size" not in str(done.exception)


@pytest.mark.parametrize("url", ["https://h:1", "ftp://h", "http://", "http://h:99999", "http://[x"])
def test_a_url_that_is_none_is_refused(url):
    with pytest.raises(UsageError, match="URL"):
        address(url, "m")


def test_the_serving_dtype_is_the_configs(tmp_path):
    for document, dtype in (
        ({"dtype": "bfloat16"}, "bfloat16"),
        ({"torch_dtype": "float16"}, "float16"),
        ({"text_config": {"dtype": "bfloat16"}}, "bfloat16"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(document))
        assert reference_dtype(tmp_path) == dtype
    for text in ("{}", "[]", "no"):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(UsageError):
            reference_dtype(tmp_path)


def test_a_run_with_an_unknown_field_is_refused(written, tmp_path):
    folder = written("r", 5)
    file = tmp_path / "r" / "score.json"
    file.write_text(file.read_text().replace("{", '{"extra": 1, ', 1))
    with pytest.raises(FileFormatError, match="extra"):
        CliRunner().invoke(command, ["compare", folder, folder], catch_exceptions=False)


def test_bisect_over_versions_runs_the_command_with_each(tmp_path):
    script = tmp_path / "look.sh"
    script.write_text('case "$1" in 0.3*) exit 1;; *) exit 0;; esac\n')
    words = ["bisect", "--versions", "0.1,0.2,0.3,0.3.1", "--good", "0.1", "--bad", "0.3.1"]
    done = CliRunner().invoke(command, [*words, "--cmd", f"sh {script} {{candidate}}", "--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["facts"]["first_bad"] == "0.3"
