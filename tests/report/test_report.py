"""The report says what the evidence says, all of it, and nothing a checkpoint wrote can be more than text in it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from page import Page
from report_runs import large_names, large_steps, make_run, recorded

from seatrial.core.command import Command
from seatrial.core.errors import WorkspaceError
from seatrial.evidence import Run
from seatrial.report import write_report
from seatrial.report.compose import compose
from seatrial.report.gather import gather
from seatrial.report.html import html_of
from seatrial.report.markdown import markdown_of
from seatrial.report.patterns import join, runs, split
from seatrial.report.provenance import shell

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>'\"&amp;\u202e`|*](javascript:alert(1))"


def page_of(run: Run) -> Page:
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert not page.problems
    return page


def test_a_good_run_shows_its_verdict_seal_and_every_steps_summary(make):
    run = make()
    page = page_of(run)
    assert "Signed off" in page.text
    assert "Not signed off" not in page.text
    for step in run.steps().values():
        assert step.summary in page.text
    for seen in (
        "Qwen3ForCausalLM",
        "A: the engine already runs it",
        "of which the engine 78.5 s",
        "model.layers.*.mlp",
    ):
        assert seen in page.text
    assert page.text.count("engine's time, solid") == len([s for s in run.steps().values() if s.timeline])


def test_every_link_leads_to_a_file_of_the_run_or_a_place_in_the_page(make):
    run = make("broken")
    page = page_of(run)
    assert len(page.ids) == len(set(page.ids))
    seen = set()
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        else:
            assert (run.folder / unquote(link)).is_file()
            seen.add(link)
    refs = [ref for step in run.steps().values() for ref in (step.facts, *step.artifacts)]
    assert {f"artifacts/{ref.file}" for ref in refs} <= seen


def test_a_broken_run_names_the_missing_weight_and_what_was_not_run(make):
    page = page_of(make("broken"))
    assert "Not signed off" in page.text
    assert "model.layers.1.mlp.experts.0.down_proj.weight" in page.text
    assert "not run, because dry failed" in page.text
    assert "There is no module or parameter named 'layers.0.mystery'" in page.text


def test_a_stage_that_was_not_asked_for_and_a_step_that_was_not_reached_are_said(make):
    steps = {k: v for k, v in recorded("good").items() if k not in ("dry", "dummy", "real")}
    page = page_of(make(steps, stages=("dry", "dummy"), finish=False))
    assert "the run was started without this stage (--stages)" in page.text
    assert page.text.count("the run ended before this step was recorded") == 4
    assert "unfinished" in page.text
    assert "Not signed off" in page.text


def test_a_run_that_finished_and_was_resumed_and_interrupted_is_not_signed_off_any_more(make):
    run = make()
    run.append("resumed", {})
    run.append("interrupted", {"reason": "stopped by signal 2"})
    page = page_of(run)
    assert "the run was interrupted: stopped by signal 2" in page.text
    assert "Not signed off" in page.text


def test_damaged_evidence_is_said_and_not_shown(make):
    run = make("good")
    steps = run.steps()
    run.artifact(steps["inspect"].facts).write_text('{"architecture": {"architectures": ["Forged"]}}')
    run.artifact(steps["support"].facts).unlink()
    place = run.artifact(steps["dry"].facts)
    place.unlink()
    place.symlink_to("/etc/hostname")
    run.close()
    lines = (run.folder / "records.jsonl").read_bytes()
    (run.folder / "records.jsonl").write_bytes(lines.replace(b"case A", b"case B"))
    text = page_of(Run.read(run.folder)).text
    assert "was changed since it was recorded; it is not shown" in text
    assert "Forged" not in text
    assert text.count("is missing") >= 2
    assert "The records of this run are damaged" in text


@pytest.mark.parametrize("fault", ["facts changed", "facts gone", "a record changed"])
def test_damaged_evidence_seals_no_page(fault, make):
    from seatrial.report.compare import facets

    run = make("good")
    assert page_of(run).text.count("Signed off") == 1
    place = run.artifact(run.steps()["real"].facts)
    run.close()
    if fault == "facts changed":
        place.write_text("{}")
    elif fault == "facts gone":
        place.unlink()
    else:
        records = run.folder / "records.jsonl"
        records.write_bytes(records.read_bytes().replace(b"case A", b"case B"))
    damaged = Run.read(run.folder)
    page = page_of(damaged)
    assert "Signed off" not in page.text
    assert "the evidence is damaged" in page.text
    row = facets(damaged)
    assert (row.verdict, row.signed_off) == ("fail", False)


def spoil(value):
    """Every string, keys too, becomes hostile."""
    if isinstance(value, dict):
        return {f"{k}{HOSTILE if k in ('z',) else ''}": spoil(v) for k, v in value.items()}
    if isinstance(value, list):
        return [spoil(v) for v in value]
    return f"{value}{HOSTILE}" if isinstance(value, str) else value


def harmless(page: Page) -> None:
    """One script, ours; no handler, no image, no frame; links only to files of the run."""
    own = Path(__file__).parents[2] / "src" / "seatrial" / "report" / "templates" / "report.js"
    code = [text for attributes, text in page.scripts if attributes.get("type") != "application/json"]
    assert code == [own.read_text()]
    for attributes, text in page.scripts:
        if attributes.get("type") == "application/json":
            json.loads(text)
            assert "<" not in text
    assert not {t for t, _ in page.tags} & {"img", "iframe", "object", "embed", "link", "form", "base"}
    for tag, attributes in page.tags:
        assert not [a for a in attributes if a.startswith("on") or a in ("style", "src", "srcset")], (tag, attributes)
        if tag == "a":
            assert re.match(r"#[\w-]+$|artifacts/[\w.%-]+$|records\.jsonl$|manifest\.json$", attributes["href"] or "")


@pytest.mark.parametrize("name", ["good", "broken"])
def test_hostile_text_in_every_place_stays_text(make, name):
    steps = recorded(name)
    for step in steps.values():
        step["facts"] = spoil(step["facts"])
        step["summary"] += HOSTILE
        step["outcome"]["reason"] += HOSTILE
        for finding in step["findings"]:
            finding.update({k: v + HOSTILE for k, v in finding.items() if k != "severity"})
        for command in step["commands"]:
            command["purpose"] += HOSTILE
            command["argv"] = [w + HOSTILE for w in command["argv"]]
        for span in step["timeline"]:
            span["name"] += HOSTILE
    run = make(
        steps, checkpoint=f"/models/{HOSTILE}", versions={HOSTILE: HOSTILE}, target={"name": HOSTILE, HOSTILE: {}}
    )
    page = page_of(run)
    harmless(page)
    assert "\u202e" not in page.text
    assert "\\u202e" in page.text
    assert "<script>alert(1)</script>" in page.text
    markdown_is_harmless((run.folder / "report.md").read_text())


def markdown_is_harmless(text: str) -> None:
    from markdown_it import MarkdownIt

    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    tags = set(re.findall(r"<([a-z0-9]+)", html))
    assert tags <= {
        "h1", "h2", "h3", "h4", "h5", "h6", "p", "ul", "li", "strong", "em", "a", "table", "thead", "tbody", "tr", "th",
        "td", "pre", "code", "blockquote", "hr", "br",
    }  # fmt: skip
    assert all(re.match(r"artifacts/|records|manifest|#", h) for h in re.findall(r'href="([^"]*)"', html))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20) | st.sampled_from([HOSTILE, "a.1.b", "loaded"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@pytest.fixture(scope="module")
def gathered(tmp_path_factory):
    """The two recorded runs as read, to report on changed copies of them without a disk."""
    made = {}
    for name in ("good", "broken"):
        run = make_run(tmp_path_factory.mktemp("runs") / name, recorded(name))
        made[name] = gather(run)
        run.close()
    return made


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_facts_of_any_shape_are_reported_without_an_error(gathered, data):
    """Another version's facts, or a forger's: each known key gets any JSON."""
    run = gathered[data.draw(st.sampled_from(["good", "broken"]))]
    steps = {}
    for step, known in run.steps.items():
        facts = dict(known.facts)
        for key in data.draw(st.lists(st.sampled_from([*facts, "new"]), max_size=3)):
            value = data.draw(JSON)
            keys = ("name", "state", "kind", "at_s", "rule", "count", "shape", "likely")
            rows = [dict.fromkeys(keys, v) for v in value] if isinstance(value, list) else []
            facts[key] = rows if rows and data.draw(st.booleans()) else value
        steps[step] = replace(known, facts=facts)
    document = compose(replace(run, steps=steps))
    harmless(Page(html_of(document)))
    assert markdown_of(document)


def mark(value, found, path=""):
    """Put a new key with a value of its own into every object."""
    if isinstance(value, dict):
        for key, inner in value.items():
            mark(inner, found, f"{path}.{key}")
        name = f"zebra{len(found)}x"
        found[name] = path
        value["later_version"] = name
    elif isinstance(value, list):
        for inner in value[:3]:
            mark(inner, found, path + "[]")


# Shown elsewhere under another roof (the step's own findings), or the same object again (the serving class is also
# among the states, the command among the commands), or said to be in the facts file (a row that has over 12 columns).
ELSEWHERE = (".findings[]", ".served_by", ".command", ".command.env", ".info", ".frames[]", ".at", ".rule")


def test_a_key_no_section_knows_is_shown_wherever_it_stands(make):
    for name in ("good", "broken"):
        steps = recorded(name)
        found: dict[str, str] = {}
        for step, kept in steps.items():
            mark(kept["facts"], found, step)
        text = page_of(make(steps, name=f"marked-{name}")).text
        lost = {path for word, path in found.items() if word not in text and not path.endswith(ELSEWHERE)}
        assert not lost


def test_an_unknown_value_says_why_and_a_quantity_says_where_from(make):
    steps = recorded("good")
    frame = steps["inspect"]["facts"]
    frame["context"] = {"value": None, "unit": "tokens", "source": "unknown", "note": "no field states a length"}
    frame["weights"]["index_total_size"] = None
    run = make(steps)
    page = page_of(run)
    assert "unknown no field states a length" in page.text
    assert "unknown the index does not say" in page.text
    assert "measured: sum over the shards' headers" in page.text
    html = (run.folder / "report.html").read_text()
    assert not re.findall(r'<span class="tone unknown">unknown</span>(?! <small>[^<])', html)
    assert not re.findall(r"<dd>\s*</dd>", html)


def test_secrets_in_commands_are_redacted():
    command = Command(purpose="p", argv=("vllm", "serve", "--api-key", "hunter2"), env={"HF_TOKEN": "hunter2"})
    assert "hunter2" not in shell(command)


def test_the_embedded_account_holds_every_name_of_92000(make):
    names = list(large_names())
    run = make(large_steps(names))
    path = write_report(run)
    page = Page(path.read_text())
    data = next(json.loads(t) for a, t in page.scripts if a.get("id") == "data-tensor-troubles")
    found = []
    for pattern, *_, members in data["groups"]:
        for first in members:
            last = range(first[-2], first[-1] + 1) if first else [None]
            found += [join(pattern, (*first[:-2], n) if n is not None else ()) for n in last]
    assert sorted(found) == sorted(names)
    assert path.stat().st_size < 400_000


@given(st.lists(st.text(alphabet="ab.012*_", min_size=1, max_size=12), max_size=30))
def test_names_fold_into_patterns_and_unfold_to_the_same_names(names):
    folded: dict[tuple[str, int], list[tuple[int, ...]]] = {}
    for name in names:
        pattern, numbers = split(name)
        assert join(pattern, numbers) == name
        folded.setdefault((pattern, len(numbers)), []).append(numbers)
    again = set()
    for (pattern, _), members in folded.items():
        for run in runs(set(members)):
            last = range(run[-2], run[-1] + 1) if run else [None]
            again |= {join(pattern, (*run[:-2], n) if n is not None else ()) for n in last}
    assert again == set(names)


def test_markdown_says_the_same_and_its_tables_have_whole_rows(make):
    run = make("broken")
    page = page_of(run)
    text = (run.folder / "report.md").read_text()
    markdown_is_harmless(text)
    for title in ("Verdict", "What needs attention", "Checkpoint", "Dry run", "Manifest", "Records"):
        assert title in page.text
        assert f"## {title}" in text
    width = None
    for line in text.splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else None
        assert width is None or cells is None or cells == width
        width = cells


def test_a_folder_that_cannot_be_written_is_a_plain_error_and_nothing_is_half_written(make):
    run = make()
    (run.folder / "report.html").mkdir()
    with pytest.raises(WorkspaceError, match="cannot be written"):
        write_report(run)
    assert not list(run.folder.glob("*.tmp"))


def test_the_command_writes_both_files_and_says_where(make, place):
    from seatrial.cli.report import command

    run = make()
    run.close()
    workspace = str(place.parent.parent)
    answer = CliRunner().invoke(command, ["last", "--workspace", workspace])
    assert answer.exit_code == 0, answer.output
    assert Path("".join(answer.output.split())) == run.folder / "report.html"
    answer = CliRunner().invoke(command, [run.run_id[:8], "--workspace", workspace, "--json"])
    assert Path(json.loads(answer.output)["markdown"]).is_file()


def test_the_wheel_ships_the_templates(tmp_path):
    builder = pytest.importorskip("hatchling.builders.wheel")
    import zipfile

    root = Path(__file__).parents[2]
    wheel = next(builder.WheelBuilder(str(root)).build(directory=str(tmp_path), versions=["standard"]))
    names = set(zipfile.ZipFile(wheel).namelist())
    folder = root / "src" / "seatrial" / "report" / "templates"
    assert {f"seatrial/report/templates/{f.name}" for f in folder.iterdir()} <= names


def test_a_gate_of_a_cut_model_and_a_dry_run_of_some_ranks_say_so(make):
    steps = recorded("good")
    steps["real"]["facts"]["layers"] = 2
    steps["dry"]["facts"]["all_ranks"] = False
    steps["dry"]["facts"]["sums"]["bytes_elsewhere"] = 2048
    text = page_of(make(steps)).text
    assert "The model was cut to 2 layers" in text
    assert "only some were asked for" in text
    assert "bytes elsewhere 2.0 KiB" in text
