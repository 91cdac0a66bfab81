"""Deliveries into the published packages: vllm-ascend 0.23.0.post1's source and vllm-kunlun 0.11.1's wheel."""

from __future__ import annotations

import pytest
from checkouts import checkout, git
from packages import package, unpack

from seatrial.core.verdict import Verdict
from seatrial.delivery import check_delivery

PACKAGES = {
    "ascend": ("vllm-ascend", "0.23.0.post1", False),
    "kunlun": ("vllm-kunlun", "0.11.1", True),
}
WRITTEN = {
    "ascend": {
        "docs/source/tutorials/models/Qwen3-tiny.md": None,
        "docs/source/tutorials/models/index.md": 1,
        "docs/source/user_guide/support_matrix/supported_models.md": 1,
        "tests/e2e/models/configs/Qwen3-tiny.yaml": None,
        "tests/e2e/models/configs/accuracy.txt": 1,
    },
    "kunlun": {"README.md": 1},
}


# Not a matter of the engine, but like it these need the network and half a minute: `make test` runs them.
@pytest.mark.engine
@pytest.mark.parametrize("kind", PACKAGES)
def test_a_published_checkout_takes_the_delivery_lints_clean_and_takes_it_only_once(
    kind, run, scores, hand_over, workspace, tmp_path, tmp_path_factory
):
    name, version, wheel = PACKAGES[kind]
    archive = package(name, version, wheel=wheel, folder=tmp_path_factory.getbasetemp() / "packages")
    if archive is None:
        pytest.skip(f"{name} {version} is neither in SEATRIAL_PACKAGES nor in pip's index")
    folder = checkout(unpack(archive, tmp_path / "unpacked"))
    result = hand_over(run, folder, kind, scores=scores, model_id="org/Qwen3-tiny")
    assert result.state == "committed"
    changed = {
        line.split("\t")[2]: tuple(map(int, line.split("\t")[:2]))
        for line in git(folder, "diff", "--numstat", "main", "HEAD").splitlines()
    }
    assert changed.keys() == WRITTEN[kind].keys()
    for path, lines in WRITTEN[kind].items():
        if lines is not None:
            # An edited file gains its lines and loses none.
            assert changed[path] == (lines, 0), path
    report = check_delivery(folder, workspace)
    assert report.verdict is Verdict.PASS, report.findings
    again = hand_over(run, folder, kind, scores=scores, model_id="org/Qwen3-tiny")
    assert again.state == "unchanged"
    assert git(folder, "status", "--short") == ""
