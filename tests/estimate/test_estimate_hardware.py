"""Every number of every device has a source; what nobody states is unknown."""

from __future__ import annotations

import pytest

from seatrial.core.errors import FileFormatError, UsageError
from seatrial.core.quantity import Source
from seatrial.targets.hardware import hardware_names, load_hardware


@pytest.mark.parametrize("name", hardware_names())
def test_every_number_has_a_source_and_every_unknown_a_reason(name):
    device = load_hardware(name)
    single = (device.memory, device.memory_bandwidth, device.link_bandwidth, device.devices_per_card)
    for quantity in (*single, *device.peak.values()):
        assert quantity.note
        assert (quantity.value is None) == (quantity.source is Source.UNKNOWN)
    assert device.counted


def test_the_devices_of_the_issue_are_there():
    wanted = {
        "ascend-910b1",
        "ascend-910b4",
        "atlas-800t-a3",
        "ascend-310p",
        "kunlun-p800",
        "nvidia-h20",
        "nvidia-b200",
        "cpu",
    }
    assert wanted <= set(hardware_names())


def test_an_a3_device_is_a_die():
    device = load_hardware("atlas-800t-a3")
    assert device.devices_per_card.value == 2
    assert device.memory.value == 64 * 1024**3


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UsageError) as error:
        load_hardware("h900")
    assert "nvidia-h20" in error.value.one_line()


def test_a_number_without_a_source_is_refused(tmp_path):
    text = (load_file := tmp_path / "mine.toml").with_name("x.toml")
    good = 'memory = { value = 1, unit = "bytes" }\n'
    load_file.write_text('schema_version = 1\ndescription = "d"\nplatform = "cuda"\ncounted = "c"\n' + good)
    with pytest.raises(FileFormatError, match=r"memory: has no source"):
        load_hardware(str(load_file))
    assert not text.exists()


def test_a_mistyped_key_or_dtype_is_refused(tmp_path):
    from pathlib import Path

    import seatrial.targets.hardware as module

    source = (Path(module.FOLDER) / "nvidia-h20.toml").read_text()
    file = tmp_path / "mine.toml"
    file.write_text(source.replace("bf16 =", "bf61 ="))
    with pytest.raises(FileFormatError, match="bf61"):
        load_hardware(str(file))
    file.write_text(source.replace("memory_bandwidth", "memory_bandwith"))
    with pytest.raises(FileFormatError, match="memory_band"):
        load_hardware(str(file))
