"""Which files the linter looks at; what it leaves out is named, with the reason."""

from __future__ import annotations

import json
import os

import pytest
from linted import DOTTED, FIXED, run

from seatrial.adapter.lint import RULES, lint


def test_links_out_of_the_folder_are_not_followed(plugin, tmp_path):
    outside = tmp_path / "outside.py"
    outside.write_text(DOTTED)
    (plugin / "vllm_kunlun" / "link.py").symlink_to(outside)
    assert [p.path for p in lint(plugin, RULES).report.problems] == ["vllm_kunlun/ops.py"]
    assert [(s.path, s.reason) for s in lint(plugin, RULES).report.skipped] == [
        ("vllm_kunlun/link.py", f"a symlink to {outside}")
    ]


def test_a_folder_that_is_a_link_is_named_and_not_entered(plugin, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "more.py").write_text(DOTTED)
    (plugin / "vllm_kunlun" / "kernels").symlink_to(elsewhere)
    (plugin / "vllm_kunlun" / "round").symlink_to(plugin)
    report = lint(plugin, RULES).report
    assert [p.path for p in report.problems] == ["vllm_kunlun/ops.py"]
    assert {s.path for s in report.skipped} == {"vllm_kunlun/kernels", "vllm_kunlun/round"}
    done = run(plugin)
    assert f"not looked at: vllm_kunlun/kernels: a symlink to {elsewhere}" in done.stderr
    told = json.loads(run(plugin, "--json").stdout)["skipped"]
    assert {s["path"] for s in told} == {"vllm_kunlun/kernels", "vllm_kunlun/round"}
    sarif = json.loads(run(plugin, "--format", "sarif").stdout)
    notes = [n["message"]["text"] for n in sarif["runs"][0]["invocations"][0]["toolExecutionNotifications"]]
    assert any(n.startswith("not looked at: vllm_kunlun/kernels") for n in notes)


@pytest.mark.parametrize(("name", "reason"), [("build", "named build hold no source"), (".hidden", "a hidden folder")])
def test_folders_that_are_left_out_by_name_are_named(plugin, name, reason):
    (plugin / name).mkdir()
    (plugin / name / "x.py").write_text(DOTTED)
    (plugin / "vllm_kunlun" / "__pycache__").mkdir()
    (left,) = lint(plugin, RULES).report.skipped
    assert left.path == name
    assert reason in left.reason


def test_what_is_no_regular_file_is_named_and_not_opened(plugin):
    os.mkfifo(plugin / "vllm_kunlun" / "pipe.py")
    (plugin / "vllm_kunlun" / "ops.py").write_text(FIXED)
    report = lint(plugin, RULES).report
    assert report.problems == ()
    assert [(s.path, s.reason) for s in report.skipped] == [("vllm_kunlun/pipe.py", "no regular file")]


def test_many_left_out_are_counted_in_text_and_named_in_json(plugin):
    for n in range(20):
        (plugin / f".d{n}").mkdir()
    done = run(plugin)
    assert done.stderr.count("not looked at:") == 13
    assert "not looked at: 8 more (--json names them)" in done.stderr
    assert len(json.loads(run(plugin, "--json").stdout)["skipped"]) == 20
