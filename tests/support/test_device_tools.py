"""The readers of npu-smi, xpu-smi and nvidia-smi, on published outputs (sources: device_outputs/README.md)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.core.errors import FileFormatError
from seatrial.platforms.ascend import devices as ascend
from seatrial.platforms.cuda import devices as cuda
from seatrial.platforms.kunlun import devices as kunlun

OUTPUTS = Path(__file__).parent / "device_outputs"


def text(name):
    return (OUTPUTS / name).read_text(encoding="utf-8")


def rows(reading):
    return [(d.index, d.label, d.name, d.used_mib, d.total_mib, d.health) for d in reading.devices]


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [
        (
            "npu-smi-910b2.txt",
            "24.1.0.3",
            [(0, "NPU 0 chip 0", "910B2", 3397, 65536, "OK"), (1, "NPU 1 chip 0", "910B2", 3395, 65536, "OK")],
        ),
        (
            "npu-smi-910c.txt",
            "24.1.rc3.7",
            [(0, "NPU 0 chip 0", "Ascend910", 3397, 65536, "OK"), (1, "NPU 0 chip 1", "Ascend910", 3186, 65536, "OK")],
        ),
        (
            "npu-smi-310p.txt",
            "25.2.0",
            [(0, "NPU 2 chip 0", "310P3", 1417, 44216, "OK"), (1, "NPU 2 chip 1", "310P3", 1516, 43757, "OK")],
        ),
        (
            "npu-smi-950-layout.txt",
            "25.7.rc1.7",
            [
                (0, "NPU 0 chip 0", "Ascend950PR", 8824, 131072, "OK"),
                (1, "NPU 1 chip 0", "Ascend950PR", 10769, 131072, "Alarm"),
            ],
        ),
    ],
)
def test_npu_smi_of_every_layout_gives_each_die_its_memory_and_health(name, version, expected):
    reading = ascend.read((text(name),))
    assert (reading.version, rows(reading)) == (version, expected)


def test_npu_smi_names_who_holds_a_device():
    holder = ascend.read((text("npu-smi-910b3-busy.txt"),)).holders
    assert [(h.index, h.pid, h.name, h.memory_mib, h.container_pid) for h in holder] == [
        (0, 485946, "pytest", 5175, None)
    ]
    assert [(h.index, h.pid) for h in ascend.read((text("npu-smi-950-layout.txt"),)).holders] == [(0, 2066378)]


def test_xpu_smi_reads_device_memory_and_not_the_l3_line():
    reading = kunlun.read((text("xpu-smi-p800-sriov.txt"),))
    assert reading.version == "5.0.21.40"
    assert rows(reading) == [(0, "XPU 0", "P800 OAM", 0, 98304, ""), (1, "XPU 1", "P800 VF", 45604, 49152, "")]
    assert [d.used_mib for d in kunlun.read((text("xpu-smi-p800-held.txt"),)).devices] == [31058, 0]


def test_intels_tool_of_the_same_name_is_refused():
    with pytest.raises(FileFormatError, match="not Kunlun's"):
        kunlun.read(("Intel XPU-SMI v2.0    Driver: 96E18  Level Zero: 1.32.0\n",))


def test_nvidia_smi_keeps_the_tools_indices_and_puts_processes_on_their_gpu():
    reading = cuda.read((text("nvidia-smi-gpu.csv"), text("nvidia-smi-apps.csv")))
    assert [(d.index, d.used_mib, d.total_mib) for d in reading.devices] == [
        (0, 130013, 143771),
        (2, 0, 143771),
        (7, 58071, 143771),
    ]
    assert [(h.index, h.pid, h.name, h.memory_mib) for h in reading.holders] == [
        (0, 1328667, "/usr/local/bin/python3.10", 130004),
        (7, 1758887, "[Not Found]", 58060),
    ]


def test_memory_that_the_tool_does_not_give_is_unknown_and_not_zero():
    apps = text("nvidia-smi-apps.csv").splitlines()[0] + "\n"
    device = cuda.read((text("nvidia-smi-unified-gpu.csv"), apps)).devices[0]
    assert (device.name, device.used_mib, device.total_mib) == ("NVIDIA GB10", None, None)


@pytest.mark.parametrize("tool", [ascend, kunlun, cuda], ids=["npu-smi", "xpu-smi", "nvidia-smi"])
@pytest.mark.parametrize("said", ["", "Unable to determine the device handle for GPU0: Unknown Error\n"])
def test_an_output_that_is_not_the_tools_is_refused(tool, said):
    with pytest.raises(FileFormatError):
        tool.read((said,) * len(tool.COMMANDS))


PIECES = st.sampled_from([*text("npu-smi-910b3-busy.txt").splitlines(), "| 0 | 1 | 2 |", "| x", "|", "| 1 910 | | |"])
LINES = st.lists(st.one_of(PIECES, st.text(max_size=40)), max_size=12).map("\n".join)


@pytest.mark.parametrize("tool", [ascend, kunlun, cuda], ids=["npu-smi", "xpu-smi", "nvidia-smi"])
@given(lines=LINES)
def test_any_text_is_read_or_refused_by_name(tool, lines):
    heads = {
        ascend: text("npu-smi-910b2.txt"),
        kunlun: text("xpu-smi-p800-held.txt"),
        cuda: text("nvidia-smi-gpu.csv"),
    }
    for said in (lines, heads[tool] + lines):
        try:
            tool.read((said,) * len(tool.COMMANDS))
        except FileFormatError as exc:
            assert exc.mend  # noqa: PT017 - either outcome is right
