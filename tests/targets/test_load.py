"""Targets: built-in files, the user's overrides, and errors that name file, key and allowed values."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from seatrial.cli.targets import command
from seatrial.core.errors import FileFormatError, UsageError
from seatrial.core.quantity import Source
from seatrial.targets import find_overrides, load_target, target_names


@pytest.fixture
def override(tmp_path):
    def write(text: str):
        file = tmp_path / "seatrial.toml"
        file.write_text(text)
        return file

    return write


@pytest.mark.parametrize("name", target_names(None))
def test_every_built_in_target_is_complete_and_its_numbers_say_where_they_come_from(name):
    target = load_target(name).target
    assert target.description
    for quantity in (target.devices.count, target.limits.ready_s, target.limits.probe_s, *target.hardware.values()):
        assert quantity.source is not Source.UNKNOWN or quantity.note
        assert quantity.note


def test_an_override_changes_one_value_and_says_that_it_declared_it(override):
    file = override("[targets.cpu.limits]\nready_s = 99\n[targets.cpu.serve.args]\nmax-num-seqs = 2\n")
    located = load_target("cpu", file)
    ready = located.target.limits.ready_s
    assert (ready.value, ready.unit, ready.source, ready.note) == (99, "s", Source.DECLARED, str(file))
    assert located.target.serve.args["max-num-seqs"] == 2
    assert located.target.serve.args["enforce-eager"] is True
    assert located.sources == ("built-in cpu.toml", str(file))


def test_a_new_target_extends_a_built_in_one(override):
    file = override(
        '[targets.box]\nextends = "cpu"\ndescription = "my box"\n'
        '[targets.box.engine]\nkind = "interpreter"\ninterpreter = "/opt/py/bin/python"\n'
    )
    target = load_target("box", file).target
    assert (target.name, target.platform, target.engine.interpreter) == ("box", "cpu", "/opt/py/bin/python")
    assert "box" in target_names(file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[targets.cpu]\nplatfrom = 'cpu'\n", ["seatrial.toml", "platfrom"]),
        ("[targets.cpu]\nplatform = 'tpu'\n", ["seatrial.toml", "platform", "tpu"]),
        ("[targets.cpu.serve]\nport = 70000\n", ["serve.port", "65535"]),
        ("[targets.cpu.serve]\nport = 'x'\n", ["$.serve.port"]),
        ("[targets.cpu.serve.args]\ntensor_parallel_size = 2\n", ["serve.args", "'tensor-parallel-size'"]),
        ("[targets.cpu.serve.args]\n'--max-model-len' = 8\n", ["serve.args", "write 'max-model-len'"]),
        ("[targets.cpu.serve.args]\nmax-model-len = '128k'\n", ["max-model-len", "whole number", "128k"]),
        ("[targets.cpu.serve.args]\ntensor-parallel-size = 0\n", ["tensor-parallel-size", "at least 1"]),
        ("[targets.cpu.serve.args]\nmax-num-seqs = true\n", ["max-num-seqs", "whole number"]),
        ("[targets.cpu.engine]\nkind = 'interpreter'\n", ["engine.interpreter"]),
        ("[targets.cpu.engine]\ninterpreter = '/opt/py/bin/python'\n", ["engine.interpreter", "kind"]),
        ("targets = 3\n", ["seatrial.toml", "targets"]),
        ("[target.cpu]\n", ["unknown key 'target'"]),
        ("[targets.a]\nextends = 'b'\n[targets.b]\nextends = 'a'\n", ["loop"]),
        ("this is not toml", ["seatrial.toml", "TOML"]),
        ("schema_version = 9\n", ["schema_version"]),
    ],
)
def test_a_faulty_file_is_named_with_its_key(override, text, words):
    file = override(text)
    with pytest.raises(FileFormatError) as caught:
        load_target("a" if "targets.a" in text else "cpu", file)
    for word in words:
        assert word in caught.value.one_line()


def test_an_unknown_target_lists_the_known_ones():
    with pytest.raises(UsageError) as caught:
        load_target("cpux")
    assert "cpu" in caught.value.one_line()


def test_the_nearest_override_above_counts(tmp_path):
    (tmp_path / "seatrial.toml").write_text("")
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert find_overrides(inner) == tmp_path / "seatrial.toml"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[targets.cpu.limits]\nready_s = -1\n", "ready_s"),
        ("[targets.cpu.limits]\nprobe_s = 0\n", "probe_s"),
        ("[targets.cpu.limits]\nstuck_s = nan\n", "stuck_s"),
        ("[targets.cpu.limits]\nrequest_s = inf\n", "request_s"),
        ("[targets.cpu.limits]\nstop_s = -0.5\n", "stop_s"),
        ("[targets.cpu.devices]\ncount = 0\n", "count"),
        ("[targets.cpu.devices]\ncount = 1.5\n", "count"),
        ('[targets.cpu.launch.env]\nA = "a\\u0000b"\n', "launch.env"),
        ('[targets.cpu.launch.env]\n"A=B" = "x"\n', "launch.env"),
        ('[targets.cpu.launch.env]\n"" = "x"\n', "launch.env"),
        ("[targets.cpu.limits]\nready_s = " + "[" * 20000 + "\n", "TOML"),
    ],
)
def test_a_number_or_variable_that_cannot_be_is_refused_by_name(override, text, says):
    with pytest.raises(FileFormatError, match=says):
        load_target("cpu", override(text))


@pytest.mark.parametrize("name", ["x" * 5000, "a\x00b", "../builtin/cpu", "../hardware/cpu"])
def test_a_name_that_is_no_name_is_an_unknown_target(name):
    with pytest.raises(UsageError, match="unknown target"):
        load_target(name)


def test_one_faulty_target_is_named_and_the_others_are_still_listed(tmp_path, monkeypatch):
    (tmp_path / "seatrial.toml").write_text('[targets.mine]\nextends = "gone"\n[targets.fine]\nextends = "cpu"\n')
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(command, ["list"])
    assert shown.exit_code == 2
    assert "fine" in shown.stdout
    assert "ascend-a2" in shown.stdout
    assert "mine" in shown.stderr
    assert "gone" in shown.stderr


def test_an_override_that_is_a_folder_is_an_error_and_not_passed_over(tmp_path):
    (tmp_path / "seatrial.toml").mkdir()
    with pytest.raises(FileFormatError, match="is not a file"):
        find_overrides(tmp_path)
