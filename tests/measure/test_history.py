"""Cards: kept, found, flagged, promoted only on evidence, and drafted from Markdown."""

from __future__ import annotations

import json
import threading

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from seatrial.cli.history import command
from seatrial.core.errors import FileFormatError, UsageError
from seatrial.core.record import replace
from seatrial.evidence import open_workspace, verify_run
from seatrial.measure.history import Card, Cards, promoted, read_dossier
from seatrial.measure.loop.events import Goal
from seatrial.workflow.loop import start_loop


def card(title="Fuse the norm", **changes):
    base = {
        "schema_version": 1,
        "id": "",
        "title": title,
        "framework": "xllm",
        "model_family": "qwen3.5",
        "scenario": "TP4 decode",
        "intent": "one kernel instead of three",
        "outcome": "kept",
        "touched_paths": ("ops/attention/fused_norm.py",),
        "symbols": ("fused_rms_norm",),
        "related_prs": ("#1537",),
    }
    return Card(**{**base, **changes})


@pytest.fixture
def cards(tmp_path):
    return Cards(tmp_path / "history")


@pytest.mark.parametrize(
    "query",
    ["fuse norm", "fused_rms_norm", "ops/attention/fused_norm.py", "fused_norm.py", "#1537", "qwen3.5", "FUSED_RMS"],
)
def test_a_card_is_found_by_words_path_symbol_model_and_number(cards, query):
    kept = cards.add(card())
    cards.add(
        card("Another thing", intent="batching", touched_paths=(), symbols=(), related_prs=(), model_family="glm")
    )
    assert [f.card.id for f in cards.search(query)] == [kept.id]


@pytest.mark.parametrize("query", ["算子", "融合", "回退", "算子 norm", "优化 decode"])
def test_a_card_is_found_by_words_within_a_run_of_chinese_characters(cards, query):
    cards.add(card("Another thing", risks="没有"))
    kept = cards.add(card("融合算子优化", risks="回退风险小"))
    assert [f.card.id for f in cards.search(query)] == [kept.id]
    assert cards.search("量化") == []


def test_the_title_ranks_before_the_body_and_every_word_must_fit(cards):
    body = cards.add(card("Something else", risks="graph replay"))
    title = cards.add(card("Graph replay refresh"))
    assert [f.card.id for f in cards.search("graph replay")] == [title.id, body.id]
    assert cards.search("graph nothing") == []


@pytest.mark.parametrize("query", ['"', "'; DROP TABLE cards", "a OR b", "NEAR(", "*", "-x", "col:", "\\", "()"])
def test_nothing_typed_is_query_syntax(cards, query):
    cards.add(card())
    cards.search(query)


@given(st.text(max_size=30))
def test_any_text_can_be_searched_for(tmp_path_factory, query):
    place = Cards(tmp_path_factory.mktemp("h"))
    place.add(card())
    place.search(query)


def test_a_damaged_or_deleted_index_costs_nothing(cards):
    kept = cards.add(card())
    cards.search("norm")
    cards.index.write_bytes(b"no database")
    assert [f.card.id for f in cards.search("norm")] == [kept.id]
    cards.index.unlink(missing_ok=True)
    assert [f.card.id for f in cards.search("norm")] == [kept.id]


def test_the_index_follows_the_files(cards):
    kept = cards.add(card())
    cards.search("norm")
    (cards.folder / f"{kept.id}.json").unlink()
    assert cards.search("norm") == []


def test_filters_by_framework_family_and_path(cards):
    kept = cards.add(card())
    assert [f.card.id for f in cards.search("", framework="XLLM", family="QWEN", path="ops/")] == [kept.id]
    assert cards.search("", framework="vllm") == []
    assert cards.search("", path="csrc/") == []


def test_what_was_taken_back_or_is_contradicted_says_so(cards):
    first = cards.add(card())
    cards.add(card("Take the fused norm back", outcome="rolled-back", reverts=(first.id,)))
    found = cards.get(first.id)
    assert [f.kind for f in found.flags] == ["reverted"]
    assert [f.kind for f in cards.search("back")[0].flags] == ["rolled-back", "contradicted"]
    other = cards.add(card("Fuse it again", outcome="failed"))
    assert "contradicted" in [f.kind for f in cards.get(other.id).flags]
    elsewhere = cards.add(card("Fuse on glm", outcome="failed", model_family="glm"))
    assert cards.get(elsewhere.id).flags == ()
    lost = cards.add(card("Odd", outcome="open", reverts=("no-such-card",), symbols=(), touched_paths=()))
    assert [f.kind for f in cards.get(lost.id).flags] == ["gone"]


def test_a_second_card_of_an_id_and_a_bad_file_are_refused(cards):
    kept = cards.add(card())
    assert cards.add(kept) == kept
    with pytest.raises(UsageError, match="another card"):
        cards.add(replace(kept, risks="new"))
    with pytest.raises(UsageError, match="title"):
        cards.add(card(" "))
    (cards.folder / "odd.json").write_text("{")
    with pytest.raises(FileFormatError, match=r"odd\.json"):
        cards.every()


def test_promotion_needs_evidence_a_validation_and_an_outcome():
    with pytest.raises(UsageError, match="no evidence"):
        promoted(card(validation="v"), ())
    with pytest.raises(UsageError, match="validation"):
        promoted(card(), ("run",))
    with pytest.raises(UsageError, match="open"):
        promoted(card(validation="v", outcome="open"), ("run",))
    assert promoted(card(validation="v"), ("run",)).state == "promoted"


def test_the_commands_add_search_and_promote_only_on_runs_that_are_here(tmp_path):
    place = ["--workspace", str(tmp_path)]
    run = CliRunner()
    fields = ["--title", "Fuse", "--intent", "i", "--outcome", "kept", "--family", "q", "--scenario", "s"]
    added = run.invoke(command, ["add", *fields, "--validation", "warm, no profiler", *place, "--json"])
    assert added.exit_code == 0, added.output
    name = json.loads(added.stdout)["id"]
    assert name in run.invoke(command, ["search", "fuse", *place]).output
    assert run.invoke(command, ["search", "absent", *place]).exit_code == 1
    refused = run.invoke(command, ["promote", name, "--evidence", "nowhere", *place])
    assert isinstance(refused.exception, UsageError)
    workspace = open_workspace(tmp_path, write=True)
    evidence = start_loop(workspace, Goal(goal="g", model="m", framework="f"), "cpu", None, ())
    done = run.invoke(command, ["promote", name, "--evidence", evidence, *place])
    assert done.exit_code == 0, done.output
    assert '"promoted"' in run.invoke(command, ["show", name, *place, "--json"]).output


def test_two_promotions_at_once_keep_the_evidence_of_both(tmp_path, monkeypatch):
    workspace = open_workspace(tmp_path, write=True)
    goal = Goal(goal="g", model="m", framework="f")
    mine, other = (start_loop(workspace, goal, "cpu", None, ()) for _ in range(2))
    cards = Cards(workspace.root / "history")
    kept = cards.add(card(validation="v"))

    def meanwhile(folder):
        cards.change(kept.id, lambda now: promoted(now, (other,)))
        return verify_run(folder)

    monkeypatch.setattr("seatrial.evidence.verify_run", meanwhile)
    words = ["promote", kept.id, "--evidence", mine, "--workspace", str(tmp_path)]
    done = CliRunner().invoke(command, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert set(cards.get(kept.id).card.evidence) == {mine, other}


def test_a_card_is_changed_by_one_at_a_time(cards):
    kept = cards.add(card(validation="v"))
    entered = threading.Event()

    def second(now):
        entered.set()
        return promoted(now, ("second",))

    waiting = threading.Thread(target=cards.change, args=(kept.id, second))

    def first(now):
        waiting.start()
        assert not entered.wait(0.3)
        return promoted(now, ("first",))

    cards.change(kept.id, first)
    waiting.join()
    assert cards.get(kept.id).card.evidence == ("first", "second")


def test_a_promoted_card_is_no_other_card_when_its_dossier_is_imported_again(cards):
    kept = cards.add(card(validation="v"))
    better = cards.change(kept.id, lambda now: promoted(now, ("run",)))
    assert cards.add(card(validation="v")) == better
    assert cards.get(kept.id).card.state == "promoted"
    with pytest.raises(UsageError, match="another card"):
        cards.add(replace(kept, risks="new"))


DOSSIER = """# Qwen3.5 MTP

| date | PR | what |
|---|---|---|
| 2026-03-01 | #1537 | fused gate kernel `gdn_gating` in `xllm/core/kernels/npu/gdn.cpp`, merged |
| 2026-03-09 | #1628 | revert of #1537: precision |

## Case 2: piecewise graph

- optimization_intent: fewer launches
- scenario: TP4, 20k/1k
- validation: warmed up, no profiler
- risks: stale parameters
no improvement was seen.

## Notes

Only words.
"""


def test_a_dossier_gives_draft_cards_and_names_what_gave_none():
    found = read_dossier(DOSSIER, source="qwen.md", framework="xllm", family="qwen3.5")
    assert [c.outcome for c in found.cards] == ["kept", "rolled-back", "failed"]
    first, second, third = found.cards
    assert first.touched_paths == ("xllm/core/kernels/npu/gdn.cpp",)
    assert first.symbols == ("gdn_gating",)
    assert first.date == "2026-03-01"
    assert second.related_prs == ("#1628", "#1537")
    assert third.intent == "fewer launches"
    assert third.validation == "warmed up, no profiler"
    assert {c.state for c in found.cards} == {"draft"}
    assert len(found.dropped) == 1
    assert "Notes" in found.dropped[0]


@given(st.text(max_size=200))
def test_any_text_imports_or_is_dropped(text):
    read_dossier(text, source="x.md", framework="f", family="q")
