"""What the report says of a rung, a parity, a locate and a matrix; and that a run of its own kind has its own steps."""

from __future__ import annotations

import pytest

from seatrial.core.record import replace
from seatrial.core.step import StepResult
from seatrial.core.verdict import failed, passed
from seatrial.evidence import Run, open_workspace
from seatrial.gates.agree import Agreement
from seatrial.measure.accuracy.ab import Cell, MatrixFacts, conclude
from seatrial.measure.accuracy.ab_variants import VARIANTS
from seatrial.measure.accuracy.distance import band
from seatrial.measure.accuracy.level import level_step
from seatrial.measure.accuracy.locate import LocateFacts, ModuleRow, Suspect, cause_of_place
from seatrial.measure.accuracy.locate import conclude as concluded
from seatrial.measure.accuracy.parity import Divergence, ParityFacts
from seatrial.measure.accuracy.records import AccuracyScore, DatasetConfig
from seatrial.measure.accuracy.run import RunWriter, tally
from seatrial.measure.accuracy.sampled import Sampled
from seatrial.report.compose import compose
from seatrial.report.gather import gather
from seatrial.report.html import html_of
from seatrial.report.markdown import markdown_of
from seatrial.workflow.accuracy import AccuracyJob, run_accuracy


@pytest.fixture
def page(tmp_path):
    """The Markdown (and, made beside it, the HTML) of a run that kept these steps."""

    def make(*results):
        workspace = open_workspace(tmp_path, write=True)
        job = AccuracyJob(kind="accuracy", what="level", checkpoint="tiny")
        ended = run_accuracy(job, lambda *_: results, workspace=workspace, located=None, python=None)
        document = compose(gather(Run.read(workspace.run_folder(ended.run_id))))
        assert html_of(document)
        return markdown_of(document).replace("\\", "")

    return make


def row(key, relative, **more):
    words = {
        "key": key, "step": 0, "by": "tensors", "engine_key": key, "module": f"model.{key}", "kind": "Linear",
        "width": 8, "relative": relative, "noise": 0.003, "limit": 0.01, "out": relative > 0.01, "excused": False,
        "cosine": 0.9, "ulps": 2.0, "bad": 0, "tokens": (0, 1), "tokens_out": (), "strayed": (), "suspects": (),
    }  # fmt: skip
    return ModuleRow(**{**words, **more})


def located(rows, first, cause="", by=""):
    return concluded(
        LocateFacts(
            checkpoint="c", prompt="p", prompt_tokens=2, serving_dtype="bfloat16", truth_dtype="float32",
            reference="R of transformers 5", rows=tuple(rows), unmatched=(), only_reference=(), first=first,
            cause=cause, cause_by=by,
        )
    )  # fmt: skip


def test_a_run_of_this_kind_shows_its_own_steps_and_none_of_the_main_job(page):
    text = page(StepResult(step="parity", outcome=passed(), summary="", facts={}))
    assert "not run" not in text
    assert "Tensor" not in text
    assert "has not finished" not in text


def test_locate_names_the_class_by_the_suspect_and_by_the_place_without_one(page):
    suspect = Suspect(name="scale", cause="weight load", says="one factor for all", left=0.02)
    bad = row("layers.0.self_attn.o_proj", 0.4, suspects=(suspect,))
    text = page(located([row("embed_tokens", 0.001), bad], bad, "weight load", "suspect"))
    for part in ("root-cause class", "weight load", "a suspect explains the error", "98.0 %", "outside"):
        assert part in text, part
    alone = row("layers.0.self_attn#rope_q", 0.4)
    text = page(located([alone], alone, cause_of_place(alone), "place"))
    assert "by the place alone" in text
    chosen = Sampled(prompt=0, place=3, token="9", best="7", margin=1.25)
    facts = located([row("embed_tokens", 0.001)], None, "sampling", "tokens").facts
    text = page(concluded(replace(facts, sampled=chosen)))
    for part in ("no module parts, but", "token 3 is 9, its best is 7", "1.250 nats below", "by the tokens"):
        assert part in text, part
    text = page(located([alone], alone, cause_of_place(alone), "place"))
    assert "class: position, by its place: no suspect explains it" in text


@pytest.mark.parametrize(
    ("key", "step", "cause"),
    [
        ("layers.0.self_attn#rope_k", 0, "position"),
        ("layers.0.self_attn.o_proj@in", 0, "kernel"),
        ("layers.0.self_attn.o_proj@in", 1, "KV cache"),
        ("layers.0.mlp.down_proj@in", 0, "kernel"),
        ("layers.0.mlp.down_proj", 0, "weight load"),
    ],
)
def test_the_class_of_a_place(key, step, cause):
    assert cause_of_place(row(key, 1.0, step=step)) == cause


def test_a_rung_says_what_it_may_claim_and_why_a_score_may_not_be_quoted(page, tmp_path, prediction, request_config):
    rows = [prediction(str(i), subset="ab"[i % 2], status="correct" if i else "wrong") for i in range(4)]
    score = AccuracyScore(
        run_id="r", model="tiny", task="sums", dataset="sums", metric="accuracy", value=0.75, n=4, level="L3",
        complete=True, tool="seatrial", tool_version="1", request=request_config, limit=4,
    )  # fmt: skip
    with RunWriter(tmp_path / "f", request_config, DatasetConfig(name="sums", source="sums.jsonl", asked=4)) as writer:
        for one in rows:
            writer.add(one)
        writer.finish(tally("r", "L3", rows, scores=(score,)))
    text = page(level_step(tmp_path / "f", server="http://127.0.0.1:1", version="0.32.0"))
    for part in ("0.7500", "may not be quoted", "level L3 is no whole task", "Subsets", "50.0 %", "3 of 4 correct"):
        assert part in text, part


def test_a_temperature_that_the_tool_does_not_state_is_not_shown_as_one(page, tmp_path, prediction, request_config):
    unsaid = replace(request_config, temperature=None, chat_template=None)
    with RunWriter(tmp_path / "f", unsaid, DatasetConfig(name="sums", source="x", asked=1)) as writer:
        writer.add(prediction())
        writer.finish(tally("r", "L4", [prediction()]))
    text = page(level_step(tmp_path / "f", server="unknown", version="unknown"))
    assert text.count("the tool does not say") == 2


def test_parity_and_the_matrix_have_their_tables(page):
    facts = ParityFacts(
        checkpoint="c", how="served", engine="vllm", reference="R", serving_dtype="bfloat16", truth_dtype="float32",
        prompts=1, bands=(band("prefill", [4e-6] * 30, [1e-6] * 30),), sigma=0.01, agreement=0.9, top_overlap=0.8,
        divergences=(Divergence(prompt=0, place=3, engine_token=1, reference_token=2, margin=0.5, near_tie=False),),
        positions=(), other_tokens=(),
    )  # fmt: skip
    text = page(StepResult(step="parity", outcome=failed("far"), summary="far", facts=facts))
    for part in ("Distance in units of the noise", "2.00", "0.500", "wide", "90.0 %"):
        assert part in text, part
    agreement = Agreement(first="base", second="batch", prompts=8, equal=2, divergences=(), worst_logprob=0.7)
    milder = Cell(variant=VARIANTS[0].milder[0], state="breaks", reason="parts", agreement=agreement)
    cell = Cell(
        variant=VARIANTS[0], state="breaks", reason="parts", agreement=agreement, smallest="batch-2", milder=(milder,)
    )
    text = page(conclude(MatrixFacts(checkpoint="c", cells=(cell,))))
    for part in ("smallest that breaks: batch-2", "milder: batch-2", "2 of 8", "kernel"):
        assert part in text, part
