"""Stubs: the data, what stands in for a module, and that a gap is never taken for a fault of the model."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from seatrial.core.errors import FileFormatError
from seatrial.dryrun.account import DryAccount, Failure, Sums
from seatrial.dryrun.raw import RawFailure, RawPlatform, RawStubs
from seatrial.dryrun.rules import findings
from seatrial.dryrun.run import judge
from seatrial.engine.border import PROBES
from seatrial.platforms import PLATFORMS
from seatrial.platforms.stubs import load_stubs
from seatrial.targets import load_target


@pytest.fixture
def probe():
    spec = importlib.util.spec_from_file_location("dry_stubs_under_test", PROBES / "dry_stubs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def device(probe):
    """A stubbed package `dev` with a submodule, made as an import would make it."""
    modules = {
        "dev": {"calls": ["matmul"], "same": ["cast"], "types": ["Group", "Group.Options"], "values": {"VERSION": "1"}},
        "dev.rt": {"values": {"count": {"returns": 8}}},
    }
    finder = probe.Finder(modules)
    module = finder.create_module(finder.find_spec("dev"))
    finder.exec_module(module)
    yield module
    for name in modules:
        sys.modules.pop(name, None)


def test_a_stub_has_what_is_listed_and_nothing_else(device, probe):
    assert device.VERSION == "1"
    assert device.rt.count() == 8
    assert isinstance(device.Group.Options(), object)
    assert device.cast("tensor", 29) == "tensor"
    with pytest.raises(AttributeError, match=r"dev\.softmax is not in seatrial's stub"):
        device.softmax  # noqa: B018 - the reading is the test
    assert list(probe.LACKS) == ["dev.softmax"]


def test_a_stubs_version_is_what_its_data_gives_and_otherwise_there_is_none(probe, monkeypatch):
    from importlib import metadata

    monkeypatch.setattr(sys, "meta_path", [probe.Finder({"dev": {"version": "2.5.0"}, "bare": {}}), *sys.meta_path])
    assert metadata.version("dev") == "2.5.0"
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version("bare")
    assert all(d.metadata["Name"] != "dev" for d in metadata.distributions())


def test_an_operation_that_computes_refuses_to_be_called(device):
    with pytest.raises(RuntimeError, match=r"dev\.matmul\.out was called on seatrial's stub"):
        device.matmul.out(1, 2)


def asks(module, name, file):
    """A function of `file` asks through a helper of another file whether the module has it."""
    names = {"module": module, "name": name}
    exec(compile("def has(module, name):\n    return hasattr(module, name)", "helpers.py", "exec"), names)
    exec(compile("def ask():\n    assert not has(module, name)", file, "exec"), names)
    names["ask"]()


def raised(file, text, kind=RuntimeError):
    """An exception of `file`."""
    with pytest.raises(kind) as caught:
        exec(compile("raise kind(text)", file, "exec"), {"kind": kind, "text": text})
    return caught.value


def test_a_last_part_that_any_message_may_have_is_no_gap_of_the_stubs(device, probe, monkeypatch):
    monkeypatch.setitem(sys.modules, "dev", device)
    for name in ("config", "weight", "shape"):
        asks(device, name, "plugin.py")
    for text in ("the config of layer 3 is wrong", "weight has shape [4], not [8]"):
        assert probe.lacking(raised("engine/loader.py", text)) == ""
    assert probe.lacking(RuntimeError("the config is wrong")) == "", "it was never raised"
    # In full it is one wherever it is said, and so it is where an import failed on it.
    assert probe.lacking(raised("engine/loader.py", "no dev.config here")) == "dev.config"
    assert probe.lacking(raised("engine/loader.py", "no dev.configuration, dev.rt.config or xdev.config here")) == ""
    with pytest.raises(ImportError) as caught:
        exec(compile("from dev import softmax", "engine/loader.py", "exec"), {})
    assert probe.lacking(caught.value) == "dev.softmax"


def test_a_gap_is_told_from_a_fault_even_when_the_plugin_words_it(device, probe):
    needed = "a newer runtime is needed. Missing symbols: float4_e2m1."
    assert probe.lacking(raised("plugin.py", needed)) == ""
    asks(device, "float4_e2m1", "plugin.py")
    assert probe.lacking(raised("plugin.py", needed)) == "dev.float4_e2m1"
    assert probe.lacking(raised("plugin.py", "shapes [4] and [8] differ")) == ""
    with pytest.raises(AttributeError) as caught:
        device.norm  # noqa: B018
    wrapped = ValueError("cannot build")
    wrapped.__cause__ = caught.value
    assert probe.lacking(wrapped) == "dev.norm"


PLUGIN = """
try:
    {line}
except ImportError:
    pass


def build():
    return kernel
"""


@pytest.mark.parametrize(
    ("line", "absent"),
    [
        ("from built.left_empty import kernel", "built.left_empty"),
        ("from built.left_empty import other as kernel", "built.left_empty"),
        ("import no_such_package.kernel as kernel", "no_such_package.kernel"),
        ("from built.never_there import kernel", ""),
        ("from built.full import kernel", ""),
        ("from built.left_empty import other", ""),
    ],
)
def test_what_this_environment_lacks_is_told_from_a_fault_even_if_the_plugin_swallows_the_import(
    probe, tmp_path, monkeypatch, line, absent
):
    (tmp_path / "built" / "left_empty").mkdir(parents=True)
    (tmp_path / "built" / "__init__.py").write_text("")
    (tmp_path / "built" / "full.py").write_text("")
    (tmp_path / "swallowing_plugin.py").write_text(PLUGIN.format(line=line))
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("swallowing_plugin", "built", "built.left_empty", "built.full"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    plugin = importlib.import_module("swallowing_plugin")
    with pytest.raises(NameError) as caught:
        plugin.build()
    # Without stubs the environment is the device's own, and what it lacks is the model's business.
    assert probe.missing_module(caught.value) == ""
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, probe.Finder({})])
    assert probe.missing_module(caught.value) == absent


@pytest.mark.parametrize("platform", sorted(PLATFORMS))
def test_every_platform_with_a_plugin_has_readable_stubs(platform):
    stubs = load_stubs(platform, ())
    if not PLATFORMS.get(platform).plugin:
        assert stubs is None
        return
    assert stubs.distribution == PLATFORMS.get(platform).distribution
    assert stubs.proven
    for name in stubs.modules:
        parent = name.rpartition(".")[0]
        known = ("torch", "vllm", stubs.plugin)
        assert not parent or parent in known or parent in stubs.modules, f"{name} has no parent"


@pytest.mark.parametrize(("target", "chip"), [("ascend-a2", "A2"), ("ascend-a3", "A3")])
def test_a_target_names_its_chip(target, chip):
    stubs = load_stubs("ascend", (target,))
    assert stubs.modules["vllm_ascend._build_info"].values == {"__device_type__": chip}


def test_a_target_that_extends_one_under_another_name_keeps_its_chip(tmp_path):
    file = tmp_path / "seatrial.toml"
    file.write_text(
        '[targets.lab]\nextends = "ascend-a3"\n[targets.rack]\nextends = "lab"\n[targets.ascend-a2.devices]\n'
    )
    for name, chip in (("lab", "A3"), ("rack", "A3"), ("ascend-a2", "A2")):
        target = load_target(name, file).target
        stubs = load_stubs(target.platform, target.lineage)
        assert stubs.modules["vllm_ascend._build_info"].values == {"__device_type__": chip}
    assert load_target("rack", file).target.lineage == ("rack", "lab", "ascend-a3", "ascend-a2")


def test_a_lineage_that_a_file_gives_itself_is_refused(tmp_path):
    file = tmp_path / "seatrial.toml"
    file.write_text('[targets.lab]\nextends = "cpu"\nlineage = ["ascend-a3"]\n')
    with pytest.raises(FileFormatError, match="lineage"):
        load_target("lab", file)


def test_where_the_devices_own_package_is_installed_nothing_is_stubbed(probe, monkeypatch):
    before = list(sys.meta_path)
    probe.install({"plugin": "p", "device_package": "json", "modules": {"absent_module": {}}, "env": {"X": "1"}}, "")
    assert sys.meta_path == before
    assert "nothing is stubbed" in probe.NOTES[0]


def test_a_faulty_data_file_is_named(tmp_path, monkeypatch):
    import seatrial.platforms.stubs as module

    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "stubs.toml").write_text('schema_version = 1\nplugin = "p"\nmoduls = {}\n')
    monkeypatch.setattr(module, "__file__", str(tmp_path / "stubs.py"))
    with pytest.raises(FileFormatError, match="platform 'x'"):
        load_stubs("x", ())


def account(*raws, platform="vllm_ascend.platform.NPUPlatform", proven=True):
    sums = Sums(
        tensors=1,
        bytes_in=2,
        bytes_placed=0,
        bytes_elsewhere=0,
        bytes_dropped=0,
        bytes_unexplained=2,
        parameters=0,
    )
    return DryAccount(
        schema_version=1,
        tp=1,
        pp=1,
        ep=False,
        names_only=False,
        sums=sums,
        failures=tuple(Failure(ranks=(0,), tensor="", tensor_shape=(), raw=raw) for raw in raws),
        platform=RawPlatform(device_type="npu", class_=platform),
        stubs=RawStubs(plugin_version="9.9", proven=proven),
    )


def failure(stub, absent=""):
    return RawFailure(
        stage="build",
        type="builtins.AttributeError",
        message="no softmax",
        at=None,
        frames=[],
        stub=stub,
        absent=absent,
    )


def test_a_gap_leaves_the_run_inconclusive_and_a_real_refusal_fails_it():
    gap = account(failure("dev.softmax"))
    assert [f.code for f in findings(gap)] == ["D020"]
    assert judge(gap, findings(gap)).verdict.value == "inconclusive"
    gap = account(failure("", absent="vllm.vllm_flash_attn"))
    assert [f.code for f in findings(gap)] == ["D028"]
    assert judge(gap, findings(gap)).verdict.value == "inconclusive"
    real = account(failure(""))
    assert [f.code for f in findings(real)] == ["D010"]
    assert judge(real, findings(real)).verdict.value == "fail"


def test_an_unproven_plugin_and_a_plugin_that_was_not_used_are_told():
    assert [f.code for f in findings(account(proven=False))] == ["D021"]
    assert [f.code for f in findings(account(platform="vllm.platforms.cpu.CpuPlatform"))] == ["D022"]
