"""The dry run's listing in the report: tensor by tensor, in few groups, whatever is in the file."""

from __future__ import annotations

import base64
import gzip
import json

import pytest
from chromium import PROGRAM, Chromium
from hypothesis import given, settings
from hypothesis import strategies as st
from report_runs import make_run, recorded

from seatrial.core.record import from_plain
from seatrial.core.step import Attachment, StepResult
from seatrial.report import write_report
from seatrial.report.blocks import Notice, Tree
from seatrial.report.gather import gather
from seatrial.report.sections.dry_listing import _numbered, tree_of

EXPERTS, LAYERS = 16, 6
FRAMES = "new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))"
BOX = "document.querySelector('[data-tree]')"


def rows():
    """A small mixture of experts: two layers' worth of a pattern, one dropped tensor, one nowhere."""
    for layer in range(LAYERS):
        place = f"model.layers.{layer}.mlp.experts.w2_weight"
        for expert in range(EXPERTS):
            yield {
                "name": f"model.layers.{layer}.mlp.experts.{expert}.down_proj.weight",
                "dtype": "F8_E4M3",
                "shape": [64, 32],
                "state": "fused",
                "into": {"0-3": [{"parameter": place, "shard": f"experts.{expert}.down_proj"}]},
            }
        yield {"name": f"model.layers.{layer}.norm.weight", "dtype": "BF16", "shape": [64], "state": "loaded"}
    yield {
        "name": "model.layers.6.eh_proj.weight",
        "dtype": "BF16",
        "shape": [64],
        "state": "dropped",
        "reason": "no such layer",
        "at": "vllm/models/deepseek.py:1",
    }
    yield {"name": "model.oddity", "dtype": "BF16", "shape": [1], "state": "unexplained"}


def listing(found=None, head=None):
    found = list(rows()) if found is None else found
    first = {"schema_version": 1, "tensors": len(found), "tp": 4, "pp": 1} if head is None else head
    return gzip.compress(b"\n".join(json.dumps(line).encode() for line in [first, *found]) + b"\n")


@pytest.fixture
def run_with(tmp_path):
    def make(content, name="run"):
        kept = recorded("good")["dry"]
        file = tmp_path / f"{name}-listing"
        file.write_bytes(content)
        run = make_run(tmp_path / name, {}, finish=False)
        keys = ("outcome", "summary", "findings", "commands", "timeline", "facts")
        result = from_plain(StepResult, {"step": "dry", **{k: kept[k] for k in keys}}, where="dry")
        attached = StepResult(
            **{n: getattr(result, n) for n in result.__struct_fields__ if n != "attachments"},
            attachments=(Attachment(name="dry-tensors.jsonl.gz", path=str(file)),),
        )
        run.store(attached, inputs="i", started_at="t", duration_s=1.0)
        return run

    return make


def tree(run):
    found = gather(run)
    (block,) = tree_of(found.steps["dry"], found)
    return block


def test_a_hundred_tensors_are_a_few_groups_and_none_is_lost(run_with):
    block = tree(run_with(listing()))
    assert isinstance(block, Tree)
    assert block.count == LAYERS * (EXPERTS + 1) + 2
    assert [g.pattern for g in block.groups] == [
        "model.layers.*.mlp.experts.*.down_proj.weight",
        "model.layers.*.norm.weight",
        "model.layers.*.eh_proj.weight",
        "model.oddity",
    ]
    experts = block.groups[0]
    assert experts.places == ("ranks 0-3: model.layers.{0}.mlp.experts.w2_weight (experts.{1}.down_proj)",)
    assert sum(run[-1] - run[-2] + 1 for run in experts.runs) == LAYERS * EXPERTS
    assert block.groups[2].why == "no such layer; vllm/models/deepseek.py:1"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no gzip at all", "no gzip file"),
        (listing()[:-9], "cut off"),
        (listing(head={"schema_version": 9}), "does not read"),
        (listing(head={"schema_version": 1, "tensors": 3}), "says that it has 3"),
        (listing([{"name": 4}]), "Expected `str`"),
        (gzip.compress(b""), "truncated"),
    ],
    # Compressed bytes hold the time they were made: in a test's name, workers would not agree on it.
    ids=["no gzip", "cut off", "other version", "other number", "other type", "empty"],
)
def test_a_listing_that_cannot_be_read_is_said_and_the_report_is_made(run_with, content, said):
    run = run_with(content)
    block = tree(run)
    assert isinstance(block, Notice)
    assert said in block.text
    page = write_report(run).read_text()
    assert "not shown" in page
    assert "data-tree" not in page


@settings(deadline=None, max_examples=200)
@given(
    name=st.lists(st.sampled_from(["layers", "3", "0", "17", "w2_weight", "{0}", "x1"]), min_size=1).map(".".join),
    numbers=st.lists(st.integers(0, 20), max_size=3).map(tuple),
)
def test_numbers_put_back_give_the_name_again(name, numbers):
    import re

    for last in (False, True):
        text = _numbered(name, numbers, last=last)
        if "{" not in name:
            assert re.sub(r"\{(\d+)\}", lambda m: str(numbers[int(m[1])]), text) == name


@pytest.mark.browser
@pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed (Debian's package: chromium)")
def test_the_tree_is_searched_unfolded_and_safe_in_a_browser(run_with, tmp_path):
    hostile = {"name": "<img src=x onerror=alert(1)>.w", "dtype": "<b>", "shape": [1], "state": "unexplained"}
    page = write_report(run_with(listing([*rows(), hostile])))
    with Chromium(tmp_path / "profile") as browser:
        browser.screen(1280, 900)
        browser.open(page)
        ask = f"""(async (text) => {{
          const box = {BOX};
          box.scrollIntoView();
          await {FRAMES};
          const list = box.querySelector('.branches');
          const said = new Promise(r => new MutationObserver(r).observe(list, {{childList: true}}));
          box.querySelector('input').value = text;
          box.querySelector('input').dispatchEvent(new Event('input'));
          await said;
          return [box.querySelector('output').textContent, box.innerText];
        }})"""
        said, text = browser.value(f"{ask}('layers.4.mlp.experts.4.')")
        assert said == "1 tensor"
        assert "ranks 0-3: model.layers.4.mlp.experts.w2_weight (experts.4.down_proj)" in text
        said, text = browser.value(f"{ask}('layers.5.mlp.experts.w2_weight')")
        assert said == f"{EXPERTS} tensors"
        assert browser.value(f"{ask}('nothing like this')")[1].endswith("Nothing fits.")
        said, text = browser.value(f"{ask}('unexplained')")
        assert said == "2 tensors, 2 not in order"
        assert "<img src=x onerror=alert(1)>" in text
        assert browser.value(f"{ask}('')")[0].startswith(f"{LAYERS * (EXPERTS + 1) + 3} tensors")
        # By keyboard: what is in trouble comes first, the rest unfolds level by level.
        opened = browser.value(
            f"""(() => {{ const folds = [...{BOX}.querySelectorAll('button.fold')];
            const fold = folds.find(b => b.innerText.includes('model'));
            fold.focus(); fold.click(); return [fold.getAttribute('aria-expanded'), fold.parentNode.innerText]; }})()"""
        )
        assert opened[0] == "true"
        assert opened[1].index("oddity") < opened[1].index("layers")
        assert browser.complaints() == []
        assert base64.b64decode(browser.call("Page.captureScreenshot")["data"]).startswith(b"\x89PNG")


def test_operators_that_the_forward_calls_are_a_table_with_the_missing_first(tmp_path):
    kept = recorded("good")
    place = {"file": "engine/norm.py", "line": 7, "function": "forward", "source": "torch.ops.lib.norm(x)"}
    one = {"why": "registered here", "certain": True, "at": place, "asker": "engine.Norm"}
    kept["dry"]["facts"]["calls"] = {
        "lib::norm": {**one, "state": "present"},
        "lib::gone": {**one, "state": "missing", "why": "not among them", "at": None},
    }
    page = write_report(make_run(tmp_path / "run", {"dry": kept["dry"]})).read_text()
    assert "Operators that the forward calls (2, 1 missing)" in page
    assert page.index("lib::gone") < page.index("lib::norm")
    assert "torch.ops.lib.norm(x)" in page.replace("<wbr>", "")
