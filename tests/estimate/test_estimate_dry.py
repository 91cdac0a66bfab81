"""`--dry`: the engine's own parameters take the place of the formulas, for the layout they were built for only."""

from __future__ import annotations

import pytest

from seatrial.cli._plan_dry import dry_weights
from seatrial.core.errors import FileFormatError, SeatrialError, UsageError
from seatrial.core.quantity import Quantity, Source
from seatrial.core.record import to_json
from seatrial.dryrun.account import DryAccount, RankWeights, Sums
from seatrial.dryrun.raw import RawConfig, RawDry, RawEngine, RawParameter, RawPlatform, RawRank
from seatrial.dryrun.weights import SIZES, rank_weights
from seatrial.estimate import Layout, Serving, engine_rules, make_plan

SUMS = Sums(
    tensors=0, bytes_in=0, bytes_placed=0, bytes_elsewhere=0, bytes_dropped=0, bytes_unexplained=0, parameters=0
)
CONFIG = RawConfig(architecture="LlamaForCausalLM", dtype="bfloat16", quantization="", quantization_class="")
ENGINE = RawEngine(vllm="0.32.0", torch="2.13", transformers="5", adapter="0.32", adapter_proven=True)


def parameter(name, shape, dtype="bfloat16", *, storage=0, is_parameter=True):
    return RawParameter(
        name=name, shape=shape, strides=[1] * len(shape), offset=0, dtype=dtype, parameter=is_parameter,
        persistent=True, storage_id=storage, storages=[], born="", device="meta", owner=0, quant=0,
    )  # fmt: skip


def account(file, *ranks, tp=1, pp=1, ep=False, config=CONFIG):
    made = DryAccount(
        schema_version=1, tp=tp, pp=pp, ep=ep, names_only=False, sums=SUMS, config=config, engine=ENGINE,
        weights=tuple(RankWeights(rank=n, parameters=1, bytes=b) for n, b in ranks),
    )  # fmt: skip
    file.write_bytes(to_json(made))
    return str(file)


def test_a_tied_head_counts_once_and_a_buffer_not_at_all():
    rank = RawRank(
        rank=3, how="full", built=True,
        parameters=[
            parameter("embed", [100, 8], storage=1), parameter("head", [100, 8], storage=1),
            parameter("scale", [4], "float32", storage=2),
            parameter("cos", [50], "float32", storage=3, is_parameter=False),
        ],
    )  # fmt: skip
    unbuilt = RawRank(rank=4, how="full")
    place = RawPlatform(device_type="cpu", class_="")
    raw = RawDry(engine=ENGINE, platform=place, import_s=0, ranks=[rank, unbuilt], total_s=0)
    assert rank_weights(raw) == (RankWeights(rank=3, parameters=2, bytes=1616),)
    odd = RawRank(rank=0, how="full", built=True, parameters=[parameter("x", [4], "int7")])
    raw = RawDry(engine=ENGINE, platform=place, import_s=0, ranks=[odd], total_s=0)
    assert rank_weights(raw)[0].bytes is None


def test_every_dtype_a_checkpoint_can_have_has_a_size():
    from seatrial.dryrun.dtypes import TORCH_DTYPES

    assert set(TORCH_DTYPES.values()) <= set(SIZES)


def test_the_plan_takes_the_largest_rank_of_each_stage_and_says_where_from(make, tmp_path):
    model, layout = make(), Layout(tp=2, pp=2)
    file = account(tmp_path / "dry.json", (0, 1000), (1, 1200), (2, 900), (3, 900), tp=2, pp=2)
    device = Quantity(value=1 << 30, unit="bytes", source=Source.DECLARED, note="a test")
    found = dry_weights(file, model, layout)
    plan = make_plan(model, layout, Serving(), engine_rules("cuda"), device, exact=found)
    assert [s.total() for s in plan.weights.stages] == [1200, 900]
    weights = next(b for b in plan.memory.buckets if b.name == "weights")
    assert weights.amount.value == 1200
    assert any(
        n.startswith("exact weights: the parameters that vLLM 0.32.0 built for 4 of 4 ranks") for n in plan.notes
    )


@pytest.mark.parametrize(
    ("ranks", "changes", "layout", "words"),
    [
        (((0, 10),), {}, Layout(tp=2), r"made with TP 1, .* for TP 2"),
        (((0, 10),), {"tp": 2, "ep": True}, Layout(tp=2), "EP on"),
        (((0, 10),), {"pp": 2}, Layout(pp=2), "no rank of stage 1"),
        ((), {}, Layout(), "no bytes per rank"),
        (((0, None),), {}, Layout(), "unknown size"),
        (((0, 10),), {"ep": True}, Layout(dp=2, ep=True), "over 2 replicas"),
    ],
)
def test_an_account_that_does_not_answer_for_the_plan_is_refused_with_the_numbers(
    make, tmp_path, ranks, changes, layout, words
):
    file = account(tmp_path / "dry.json", *ranks, **changes)
    with pytest.raises(UsageError, match=words):
        dry_weights(file, make(), layout)


def test_another_models_account_is_refused(make, tmp_path):
    other = RawConfig(architecture="XForCausalLM", dtype="", quantization="", quantization_class="")
    file = account(tmp_path / "dry.json", (0, 10), config=other)
    with pytest.raises(UsageError, match="XForCausalLM"):
        dry_weights(file, make(), Layout())


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"schema_version": 1, "tp": "x"}'])
def test_a_file_that_is_no_account_is_a_fault_of_the_file(make, tmp_path, text):
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(FileFormatError):
        dry_weights(str(file), make(), Layout())


def test_a_run_that_is_not_there_is_named(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SeatrialError):
        dry_weights("no-such-run", make(), Layout())


@pytest.mark.engine
def test_the_dry_run_and_the_formulas_agree_on_a_tiny_checkpoint(tmp_path):
    import json
    import subprocess
    import sys

    def run(*words):
        return subprocess.run(
            [sys.executable, "-m", "seatrial", *words], capture_output=True, text=True, timeout=1500, cwd=tmp_path
        )

    assert run("tiny", "qwen3", "t").returncode == 0
    (tmp_path / "dry.json").write_text(run("dry", "t", "--tp", "2", "--json").stdout)
    plain = json.loads(run("plan", "t", "--memory", "4", "--tp", "2", "--json").stdout)
    exact = json.loads(run("plan", "t", "--memory", "4", "--tp", "2", "--dry", "dry.json", "--json").stdout)
    [given] = exact["plan"]["weights"]["stages"]
    assert given["parts"] == {"all": sum(plain["plan"]["weights"]["stages"][0]["parts"].values())}
