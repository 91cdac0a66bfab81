"""The gate around a measurement: what each look must show, and that a missing look is a reason of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from seatrial.core.errors import FileFormatError
from seatrial.core.record import replace
from seatrial.measure.load.precheck import Snapshot, foreign, idle_samples, judge_gate, snapshot
from seatrial.platforms.ascend import devices as ascend
from seatrial.platforms.cuda import devices as cuda
from seatrial.platforms.device_tool import DeviceReading, DeviceState, Holder
from seatrial.platforms.kunlun import devices as kunlun
from seatrial.support.doctor.devices import ToolAnswer
from seatrial.targets import load_target

OUTPUTS = Path(__file__).resolve().parents[1] / "support" / "device_outputs"
ASCEND = load_target("ascend-a2").target
NPU = DeviceState(
    index=0, label="NPU 0 chip 0", name="910B3", used_mib=3000, total_mib=65536, health="OK", busy_percent=0
)


def reading(*devices, holders=()):
    return DeviceReading(tool="npu-smi", version="26", devices=devices or (NPU,), holders=holders)


def look(at=0.0, **changes):
    base = {
        "at_s": at,
        "wall": at,
        "busy_s": 0.0,
        "ours_s": 0.0,
        "cores": 2,
        "load_1": 0.1,
        "swap_bytes": 0,
        "reading": reading(),
        "device_trouble": "",
        "has_tool": True,
    }
    return Snapshot(**{**base, **changes})


def gate(before=None, idle=None, load=None, after=None, **more):
    before = before or look()
    idle = idle if idle is not None else (look(1), look(11), look(21), look(31))
    load = load or (look(40), look(50))
    return judge_gate(ASCEND, before, idle, load, after or look(60), **more)


def test_a_quiet_machine_passes():
    found = gate()
    assert found.passed, found.reasons
    assert found.foreign_cpu_load == 0


BAD = {
    "health": ({"before": look(reading=reading(replace(NPU, health="Alarm")))}, "health is 'Alarm'"),
    "memory held": ({"before": look(reading=reading(replace(NPU, used_mib=30000)))}, "46 % of its memory"),
    "memory unseen": ({"before": look(reading=reading(replace(NPU, used_mib=None)))}, "could not be seen"),
    "held": (
        {"before": look(reading=reading(holders=(Holder(index=0, pid=os.getpid(), name="vllm", memory_mib=1),)))},
        "held by process",
    ),
    "ghost": (
        {"before": look(reading=reading(holders=(Holder(index=0, pid=2**22 + 7, name="?", memory_mib=1),)))},
        "contaminated",
    ),
    "no reading before": ({"before": look(reading=None, device_trouble="npu-smi gave no answer")}, "gave no answer"),
    "busy in idle": ({"idle": (look(1), look(2, reading=reading(replace(NPU, busy_percent=40))))}, "40 % busy"),
    "busy unknown": ({"idle": (look(1), look(2, reading=reading(replace(NPU, busy_percent=None))))}, "does not say"),
    "no reading in idle": ({"idle": (look(1), look(2, reading=None, device_trouble="gone"))}, "in idle: gone"),
    "others in idle": ({"idle": (look(1), look(11, busy_s=12.0, ours_s=2.0))}, "50 % of the cores while"),
    "others under load": ({"load": (look(40), look(50, busy_s=19.0, ours_s=5.0))}, "70 % of the cores under load"),
    "swap": ({"load": (look(40), look(50, swap_bytes=200 << 20))}, "200 MiB were swapped"),
    "other devices after": ({"after": look(60, reading=reading(replace(NPU, name="910B2")))}, "not the same before"),
    "ill afterwards": ({"after": look(60, reading=reading(replace(NPU, health="Alarm")))}, "afterwards"),
    "unseen afterwards": ({"after": look(60, reading=None, device_trouble="x")}, "afterwards"),
    "nobody looked in idle": ({"idle": ()}, "nobody looked while the service idled"),
    "a load too short": ({"load": (look(40), look(40.1, busy_s=0.2))}, "under load were too close"),
    "no device at all": (
        {"before": look(reading=DeviceReading(tool="npu-smi", version="26", devices=(), holders=()))},
        "npu-smi listed no device",
    ),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_what_spoils_a_measurement_is_named(name):
    changes, words = BAD[name]
    found = gate(**changes)
    assert not found.passed
    assert any(words in r for r in found.reasons), found.reasons


def test_missing_looks_are_reasons():
    found = judge_gate(ASCEND, None, (), None, None)
    assert len(found.reasons) == 3
    assert "no [precheck]" in judge_gate(replace(ASCEND, precheck=None), look(), (), None, look()).reasons[0]


def test_only_the_devices_that_are_used_count():
    other = replace(NPU, index=1, label="NPU 1 chip 0", used_mib=60000)
    assert not gate(before=look(reading=reading(NPU, other)), after=look(reading=reading(NPU, other))).passed
    looked = look(reading=reading(NPU, other))
    assert gate(before=looked, after=looked, visible=(0,)).passed


def test_two_looks_too_close_say_nothing():
    assert foreign(look(0), look(0.1, busy_s=1.0)) is None


def test_our_own_work_is_not_foreign():
    first = snapshot("cpu", [os.getpid()])
    total = sum(i * i for i in range(2_000_000))
    last = snapshot("cpu", [os.getpid()])
    assert total
    assert last.ours_s > first.ours_s
    assert last.reading is None
    assert not last.has_tool


def test_the_idle_looks_are_as_many_as_the_target_says(monkeypatch):
    waits = []
    monkeypatch.setattr("seatrial.measure.load.precheck.time.sleep", waits.append)
    found = idle_samples(ASCEND, [], tool=lambda platform: ToolAnswer(reading=reading()))
    assert len(found) == 4
    assert waits == [10.0] * 3


def test_how_busy_a_device_is_is_read_from_each_tool():
    npu = ascend.read(((OUTPUTS / "npu-smi-910b2.txt").read_text(),))
    assert {d.busy_percent for d in npu.devices} == {0}
    xpu = kunlun.read(((OUTPUTS / "xpu-smi-p800-held.txt").read_text(),))
    assert {d.busy_percent for d in xpu.devices} == {0}
    gpu = "index, uuid, name, driver_version, memory.used [MiB], memory.total [MiB], utilization.gpu [%]\n"
    apps = "gpu_uuid, pid, process_name, used_gpu_memory [MiB]\n"
    assert cuda.read((gpu + "0, GPU-1, H, 5, 1 MiB, 9 MiB, 37 %\n", apps)).devices[0].busy_percent == 37
    assert cuda.read((gpu + "0, GPU-1, H, 5, 1 MiB, 9 MiB, [N/A]\n", apps)).devices[0].busy_percent is None


@pytest.mark.parametrize("value", ["-1", '"x"', "{ value = -5, unit = '%' }"])
def test_a_bad_threshold_in_the_target_file_is_named(tmp_path, value):
    file = tmp_path / "seatrial.toml"
    file.write_text(f"[targets.x]\nextends = 'cpu'\n[targets.x.precheck]\nforeign_cpu_percent = {value}\n")
    with pytest.raises(FileFormatError, match="precheck"):
        load_target("x", file)
