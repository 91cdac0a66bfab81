"""Words of the records in what is delivered: none of them is a template, a command, a mention or a cut-off figure."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
from checkouts import git
from delivery_runs import make_run, recorded

from seatrial.core.verdict import Verdict
from seatrial.delivery import check_delivery
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.figures import numbers_of, unfounded
from seatrial.delivery.listing import cell_of
from seatrial.delivery.render import block, brief, code, figure, inline

PAGE = "docs/source/tutorials/models/Qwen3-tiny.md"
HOSTILE = (
    "{{ ''.__class__ }} {% raw %} {# x #} <script>alert(1)</script> &lt;b&gt; @octocat $x$ ~~y~~ https://evil.example"
)


def hostile_run(workspace):
    what = recorded()
    row = next(r for r in what["steps"]["features"]["facts"]["rows"] if r["status"] == "unsupported")
    row["reason"] = HOSTILE
    return make_run(workspace, what)


@pytest.mark.parametrize("shape", ["sphinx", "mkdocs"])
def test_no_text_of_the_records_is_a_template_that_the_builder_of_the_documents_would_run(
    shape, workspace, repo, hand_over
):
    """MyST and the macros of MkDocs both hand what stands in double braces to Jinja2."""
    folder = repo(shape)
    hand_over(hostile_run(workspace), folder)
    page = (folder / PAGE).read_text()
    row = next(line for line in page.splitlines() if "octocat" in line)
    for opening in ("{{", "{%", "{#", "<", "@octocat", "://", " $x", "&lt;b"):
        assert opening not in row, row
    report = check_delivery(folder, workspace)
    assert report.verdict is Verdict.PASS, report.findings


def test_a_command_with_braces_is_the_same_after_the_macros_of_mkdocs(workspace, repo, hand_over):
    jinja2 = pytest.importorskip("jinja2")
    what = recorded()
    argv = what["steps"]["real"]["facts"]["command"]["argv"]
    argv += ["--chat-template", "{% for m in messages %}{{ m.content }}{# end #}{% endfor %}"]
    folder = repo("mkdocs")
    hand_over(make_run(workspace, what), folder)
    page = (folder / PAGE).read_text()
    built = jinja2.Template(page).render(vllm_ascend_version="v1")
    assert shlex.quote(argv[-1]) in built
    assert "vllm-ascend:v1" in built
    report = check_delivery(folder, workspace)
    assert report.verdict is Verdict.PASS, report.findings


@pytest.mark.parametrize("name", ["My Model", "a; touch $(id)", "it's", "a```;touch x```", "a\n```\ntouch x"])
def test_the_name_of_the_checkpoint_s_folder_is_one_word_of_the_shell(name, workspace, repo, hand_over, tmp_path):
    """The runbook's block is run as it stands: the folder is set, and nothing else happens."""
    import subprocess

    run = make_run(workspace, checkpoint=f"/models/{name}")
    result = hand_over(run, repo("generic"), "generic", languages=("zh", "en"))
    for file in ("runbook.en.md", "runbook.zh.md"):
        text = (Path(result.bundle) / file).read_text()
        start = text.index("export MODEL_PATH=")
        line = text[start : text.index("\nexport ", start + 1)]
        here = tmp_path / file
        here.mkdir()
        said = subprocess.run(
            ["bash", "-c", f'{line}\nprintf %s "$MODEL_PATH"'], capture_output=True, text=True, check=True, cwd=here
        )
        assert said.stdout.startswith("/path/to/")
        if "```" not in name:
            assert said.stdout == f"/path/to/{name}"
        assert not said.stderr
        assert list(here.iterdir()) == []
        fences = [row for row in text.splitlines() if row.startswith("```")]
        assert len(fences) % 2 == 0


def test_a_serve_flag_whose_value_has_blanks_is_no_fault_of_the_page(workspace, repo, hand_over):
    what = recorded()
    what["steps"]["real"]["facts"]["command"]["argv"] += ["--override-generation-config", '{"temperature": 0.5}']
    folder = repo("sphinx")
    hand_over(make_run(workspace, what), folder)
    report = check_delivery(folder, workspace)
    assert report.verdict is Verdict.PASS, report.findings
    page = folder / PAGE
    page.write_text(page.read_text().replace('{"temperature": 0.5}', '{"temperature": 0.7}'))
    git(folder, "commit", "-qa", "--amend", "--no-edit")
    assert "Y129" in {f.code for f in check_delivery(folder, workspace).findings}


@pytest.mark.parametrize("length", range(150, 260, 3))
def test_a_reason_that_is_cut_ends_with_no_piece_of_a_figure(length, workspace):
    what = recorded()
    reason = ("the log says that it asked for 131072 tokens, had 54321 of them and 12.345 GiB; " * 6)[:length]
    row = what["steps"]["features"]["facts"]["rows"][0]
    row["reason"] = reason + " at 98765 tokens in the end " * 8
    run = make_run(workspace, what)
    text = brief(row["reason"])
    assert text.endswith("…")
    assert len(text) <= 201
    page = f"| Feature | Status | Reason or evidence |\n|---|---|---|\n| x | unsupported | {text} |\n"
    assert unfounded(page, numbers_of(EvidenceView(run))) == []


def test_what_is_escaped_reads_as_it_was():
    import html

    for text in (HOSTILE, "a|b", "`x`", "1 < 2 & 3 > 2", "x@y", "a\\b"):
        shown = inline(text)
        plain = html.unescape("".join(c for i, c in enumerate(shown) if c != "\\" or shown[i - 1 : i] == "\\"))
        assert plain == text
    assert code("a`b|c") == "`a'b\\|c`"
    assert "\n```" not in block("x\n```\ny")


def test_the_tutorial_says_that_no_issue_is_recorded_only_where_none_is(workspace, repo, hand_over):
    what = recorded()
    for step in what["steps"].values():
        step["findings"] = []
    folder = repo("sphinx")
    hand_over(make_run(workspace, what), folder)
    assert "No error or warning is recorded in the run." in (folder / PAGE).read_text()
    what["steps"]["real"]["findings"] = [
        {
            "code": "G103",
            "severity": "warning",
            "place": "server.log line 7",
            "message": "the KV cache is 2 GiB",
            "next_step": "",
        }
    ]
    folder = repo("mkdocs")
    hand_over(make_run(workspace, what, name="20261120-232930-Qwen3-tiny-2e2e"), folder)
    page = (folder / PAGE).read_text()
    assert "No error or warning" not in page
    assert "| real | G103 | server.log line 7 | the KV cache is 2 GiB |" in page
    report = check_delivery(folder, workspace)
    assert report.verdict is Verdict.PASS, report.findings


def test_a_bundle_that_is_put_elsewhere_links_to_no_file_that_is_not_there(run, repo, workspace, tmp_path):
    import re

    from seatrial.delivery import Order, deliver

    folder = repo("generic")
    for bundle in (tmp_path / "else" / "where", workspace.root / "deliveries" / "x"):
        order = Order(kind="generic", model=f"m-{bundle.name}", languages=("zh", "en"))
        deliver(run, folder, order, bundle=bundle)
        texts = {f.name: f.read_text() for f in bundle.glob("*.md")}
        links = [link for text in texts.values() for link in re.findall(r"\]\(([^)]+)\)", text)]
        assert all((bundle / link).is_file() for link in links)
        assert bool(links) == (bundle.name == "x")
        assert "artifacts/" in texts["analysis.en.md"]
        git(folder, "checkout", "-q", "main")


def test_a_small_figure_is_not_rounded_to_nothing():
    assert figure(0.0042) == "0.00420"
    assert figure(0.04567) == "0.0457"
    assert figure(0.0) == "0.00"
    assert figure(12.345) == "12.35"
    assert figure(12345.6) == "12,345.60"


def test_a_model_nobody_could_read_is_called_neither_dense_nor_a_model_of_text(workspace, repo, hand_over):
    what = recorded()
    what["steps"]["inspect"]["facts"]["feed_forward"] = None
    del what["steps"]["inspect"]["facts"]["multimodal"]
    del what["steps"]["inspect"]["facts"]["quantization"]
    result = hand_over(make_run(workspace, what), repo("generic"), "generic", languages=("zh", "en"))
    english = (Path(result.bundle) / "analysis.en.md").read_text()
    chinese = (Path(result.bundle) / "analysis.zh.md").read_text()
    for name in ("Feed-forward", "Multimodal", "Quantisation"):
        assert f"| {name} | unknown |" in english
    for name in ("前馈网络", "多模态", "量化方式"):
        assert f"| {name} | 未知 |" in chinese


def test_the_name_of_an_architecture_is_a_constant_in_the_plugin_s_registration(workspace):
    import ast

    from checkouts import REGISTER

    from seatrial.delivery import Order
    from seatrial.delivery.kunlun import registration, registrations

    what = recorded()
    name = 'X", print("pwned"), "\\'
    path = 'vllm_kunlun.models.x:"X"'
    what["steps"]["support"]["facts"]["served_by"] |= {"architecture": name, "class_path": path}
    view = EvidenceView(make_run(workspace, what))
    done = registration(REGISTER, view, Order(kind="kunlun", model="x"))
    ast.parse(done.text)
    last = registrations(done.text)[-1]
    assert (last.architecture, last.target) == (name, path)


def test_a_hardware_name_with_a_bar_stays_in_its_cell():
    view, order = SimpleNamespace(platform="ascend"), SimpleNamespace(kind="ascend", hardware="A2|A3")
    assert cell_of("Supported hardware", None, view, order) == r"A2\|A3"
