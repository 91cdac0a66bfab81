"""What a plugin does with FlashComm1's switch, by sources shaped as its releases were and by its number."""

from __future__ import annotations

import pytest

from seatrial.platforms.ascend.flashcomm import flashcomm

DECLARED = """
variables = {
    "VLLM_ASCEND_ENABLE_FLASHCOMM1": lambda: bool(int(os.getenv("VLLM_ASCEND_ENABLE_FLASHCOMM1", "0"))),
}
"""
USED = "def on():\n    return envs.VLLM_ASCEND_ENABLE_FLASHCOMM1\nflash_comm_v1_enabled = on()\n"
KEYED = """
if config is not None and "enable_flashcomm1" in config:
    on = bool(config["enable_flashcomm1"])
"""
WARNED = """
if "enable_flashcomm1" in config or os.getenv("VLLM_ASCEND_ENABLE_FLASHCOMM1") is not None:
    logger.warning_once("both are deprecated")
"""
SPOKEN = 'MESSAGE = "set VLLM_ASCEND_ENABLE_FLASHCOMM1=1, or enable_flashcomm1"\n# VLLM_ASCEND_ENABLE_FLASHCOMM1\n'
TEMPORARY = """
if config.get("enable_flashcomm1", envs.VLLM_ASCEND_ENABLE_FLASHCOMM1):
    logger.warning("a temporary switch")
    backend = "allgather_reducescatter"
"""


@pytest.mark.parametrize(
    ("files", "variable", "key", "own"),
    [
        ([DECLARED, USED], "reads", "ignores", True),
        ([DECLARED, USED, KEYED], "reads", "reads", True),
        ([WARNED], "warns", "warns", False),
        ([SPOKEN], "ignores", "ignores", False),
        ([TEMPORARY], "reads", "reads", False),
        ([WARNED, KEYED], "warns", "reads", False),
        (["def broken(:", SPOKEN], "ignores", "ignores", False),
    ],
)
def test_the_source_tells_reading_from_warning_from_mere_words(tmp_path, files, variable, key, own):
    for number, text in enumerate(files):
        (tmp_path / f"part{number}.py").write_text(text)
    seen = flashcomm(tmp_path, "0.23.0")
    assert (seen.variable, seen.key, seen.own) == (variable, key, own)
    assert str(tmp_path) in seen.why


@pytest.mark.parametrize(
    ("version", "variable", "key", "own"),
    [
        ("0.9.1", "ignores", "ignores", False),
        ("0.11.0rc0", "ignores", "ignores", False),
        ("0.11.0rc1", "reads", "ignores", True),
        ("0.19.1rc1", "reads", "ignores", True),
        ("0.20.2rc1", "reads", "reads", True),
        ("0.26.0", "reads", "reads", True),
        ("0.27.0rc1", "unknown", "unknown", None),
        ("0.19.1rc2.dev1637+g182b75ea8", "unknown", "unknown", None),
        ("no version", "unknown", "unknown", None),
    ],
)
def test_without_a_source_the_number_tells_as_far_as_it_was_looked_at(tmp_path, version, variable, key, own):
    for package in (None, tmp_path / "gone", tmp_path):
        seen = flashcomm(package, version)
        assert (seen.variable, seen.key, seen.own) == (variable, key, own)
        assert seen.why
