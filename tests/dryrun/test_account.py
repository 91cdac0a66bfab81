"""The account's logic on raw answers made by hand: no engine."""

from __future__ import annotations

import pytest
from headers import FakeRank, answer, changed, request

from seatrial.core.record import replace
from seatrial.core.verdict import Verdict
from seatrial.dryrun import HeaderTensor, findings
from seatrial.dryrun.build import AccountBuilder
from seatrial.dryrun.names import PrefixNames
from seatrial.dryrun.raw import RawConfig, RawDrop, RawFailure, RawImage, SourcePlace
from seatrial.dryrun.run import choose_ranks, judge, summary

GATE, UP = "layers.0.mlp.gate_proj.weight", "layers.0.mlp.up_proj.weight"
GATE1, UP1 = "layers.1.mlp.gate_proj.weight", "layers.1.mlp.up_proj.weight"
FUSED, FUSED1 = "layers.0.mlp.gate_up_proj.weight", "layers.1.mlp.gate_up_proj.weight"
PLACE = SourcePlace(file="vllm/m.py", line=7, function="load_weights", source="continue")


def tensors(*names: str, shape: tuple[int, ...] = (8, 4), dtype: str = "BF16") -> list[HeaderTensor]:
    return [HeaderTensor(name=n, dtype=dtype, shape=shape) for n in names]


def fused_rank(parts: dict[int, tuple[int, int]], layers: int = 2) -> FakeRank:
    """Layers with a fused [16, 4] parameter; `parts`: tensor -> (layer, half) it fills whole."""
    rank = FakeRank()
    for layer in range(layers):
        rank.parameter(f"layers.{layer}.mlp.gate_up_proj.weight", (16, 4))
    for tensor, (layer, half) in parts.items():
        rank.move(tensor, layer, rank.region(half * 32, (8, 4)), rank.region(0, (8, 4)))
    return rank


def account_of(given, *ranks, **options):
    return AccountBuilder(request(given, **options), answer(*ranks)).account()


def judged(account):
    found = findings(account)
    return judge(account, found), found


def test_fused_parameters_are_filled_by_their_shards_and_the_bytes_add_up():
    given = tensors(GATE, UP, GATE1, UP1)
    account = account_of(given, fused_rank({0: (0, 0), 1: (0, 1), 2: (1, 0), 3: (1, 1)}).raw())
    outcome, found = judged(account)
    assert outcome.verdict is Verdict.PASS
    assert found == ()
    assert {(line.kind, line.state, line.shards) for line in account.tensors} == {
        ("layers.*.mlp.gate_proj.weight", "fused", ("gate_proj",)),
        ("layers.*.mlp.up_proj.weight", "fused", ("up_proj",)),
    }
    assert account.sums.bytes_in == account.sums.bytes_placed == 4 * 64
    assert summary(account, found) == "4 tensors → 2 parameters: all accounted for (TP 1, rank shapes 1)"


def test_a_missing_shard_is_named_from_the_peer_layers():
    given = tensors(GATE, UP, GATE1)
    account = account_of(given, fused_rank({0: (0, 0), 1: (0, 1), 2: (1, 0)}).raw())
    outcome, _ = judged(account)
    assert outcome.verdict is Verdict.FAIL
    (trouble,) = account.parameter_troubles
    assert (trouble.name, trouble.state, trouble.filled_elements) == (FUSED1, "partly filled", 32)
    assert trouble.likely == (UP1,)
    assert UP1 in outcome.reason


def test_a_wholly_missing_parameter_is_named_with_the_tensors_it_expects():
    given = tensors(GATE, UP)
    account = account_of(given, fused_rank({0: (0, 0), 1: (0, 1)}).raw())
    (trouble,) = account.parameter_troubles
    assert (trouble.state, trouble.likely) == ("missing", (GATE1, UP1))


def test_an_uneven_write_over_the_same_elements_is_an_overlap():
    given = tensors(GATE, UP, GATE1)
    account = account_of(given, fused_rank({0: (0, 0), 1: (0, 1), 2: (0, 1)}, layers=1).raw())
    (overlap,) = account.overlaps
    assert overlap.tensors == (UP, GATE1)
    assert judged(account)[0].verdict is Verdict.FAIL


def test_a_tensor_larger_than_what_is_read_does_not_pass():
    given = tensors("a.weight", shape=(16, 4))
    rank = FakeRank()
    rank.move(0, rank.parameter("a.weight", (8, 4)), rank.region(0, (8, 4)), rank.region(0, (8, 4)))
    account = account_of(given, rank.raw())
    outcome, found = judged(account)
    assert outcome.verdict is Verdict.FAIL
    assert found[0].code == "D005"
    assert account.sums.bytes_unexplained == 64


def test_ranks_together_read_the_whole_tensor():
    given = tensors("a.weight", shape=(8, 8))
    ranks = []
    for number in range(2):
        rank = FakeRank(number)
        source = rank.region(4 * number, (8, 4), (8, 1))
        rank.move(0, rank.parameter("a.weight", (8, 4)), rank.region(0, (8, 4)), source)
        ranks.append(rank.raw())
    account = account_of(given, *ranks, tp=2)
    assert judged(account)[0].verdict is Verdict.PASS
    assert account.sums.bytes_placed == 128
    alone = account_of(given, ranks[0], tp=2)
    assert alone.sums.bytes_placed == 64
    assert alone.sums.bytes_unexplained == 64
    assert [t.state for t in alone.tensor_troubles] == ["partly read"]


@pytest.mark.parametrize(("halves", "verdict"), [((0,), Verdict.FAIL), ((0, 1), Verdict.PASS)])
def test_what_is_left_out_of_a_permuted_copy_is_left_out_of_the_tensor(halves, verdict):
    given = tensors("a.weight", shape=(16, 4))
    ranks = []
    for number, half in enumerate(halves):
        rank = FakeRank(number)
        taken = rank.region(half * 32, (8, 4))
        whole = rank.region(0, (16, 4))
        rank.move(0, rank.parameter("a.weight", (8, 4)), rank.region(0, (8, 4)), whole, image=True)
        ranks.append(rank.raw(images=[RawImage(tensor=0, pool=7, regions=(taken,))]))
    account = account_of(given, *ranks, tp=len(halves))
    outcome, found = judged(account)
    assert outcome.verdict is verdict
    assert [f.code for f in found] == ([] if verdict is Verdict.PASS else ["D005"])
    assert account.sums.bytes_placed == 64 * len(halves)


def test_parts_that_went_through_copies_and_parts_that_did_not_add_up():
    given = tensors("a.weight", shape=(16, 4))
    rank = FakeRank()
    home = rank.parameter("a.weight", (16, 4))
    rank.move(0, home, rank.region(0, (8, 4)), rank.region(0, (8, 4)))
    rank.move(0, home, rank.region(32, (8, 4)), rank.region(0, (16, 4)), image=True)
    image = RawImage(tensor=0, pool=7, regions=(rank.region(0, (8, 4)),))
    assert judged(account_of(given, rank.raw(images=[image])))[0].verdict is Verdict.PASS


@pytest.mark.parametrize(("second", "unlike"), [(1, ()), (2, (1,))])
def test_the_ranks_between_take_their_part_of_a_permuted_copy(second, unlike):
    given = tensors("a.weight", shape=(16, 4))

    def rank(number: int, how: str, start: int):
        made = FakeRank(number, how)
        home = made.parameter("a.weight", (4, 4))
        made.move(0, home, made.region(0, (4, 4)), made.region(0, (16, 4)), image=True)
        image = RawImage(tensor=0, pool=7, regions=(made.region(start * 16, (4, 4)),))
        return made.raw(images=[image], fed=[0] if how == "sample" else "all")

    ranks = [rank(0, "full", 0), rank(1, "sample", second), rank(2, "sample", 2), rank(3, "full", 3)]
    builder = AccountBuilder(request(given, tp=4, sample=(1, 2)), answer(*ranks))
    assert builder.account().sums.bytes_placed == 128
    assert builder.spread.unlike == unlike


def test_some_ranks_alone_prove_nothing_of_the_others():
    given = tensors("a.weight", shape=(8, 8))
    rank = FakeRank(0)
    rank.move(0, rank.parameter("a.weight", (4, 8)), rank.region(0, (4, 8)), rank.region(0, (4, 8)))
    asked = replace(request(given, tp=2), ranks=[0])
    outcome, found = judged(AccountBuilder(asked, answer(rank.raw())).account())
    assert (outcome.verdict, found) == (Verdict.INCONCLUSIVE, ())
    assert "the others were not loaded" in outcome.reason


@pytest.mark.parametrize(("rule", "state"), [(PLACE, "dropped"), (None, "unexplained")])
def test_a_passed_over_tensor_is_dropped_only_with_the_engines_own_rule(rule, state):
    given = [*tensors("a.weight"), *tensors("a.inv_freq", shape=(3,))]
    rank = FakeRank()
    rank.move(0, rank.parameter("a.weight", (8, 4)), rank.region(0, (8, 4)), rank.region(0, (8, 4)))
    account = account_of(given, rank.raw(drops=[RawDrop(kind=1, tensor=1, rule=rule, detail="if inv_freq in name:")]))
    line = next(line for line in account.tensors if line.kind == "a.inv_freq")
    assert (line.state, line.rule) == (state, rule)
    assert judged(account)[0].verdict is (Verdict.PASS if rule else Verdict.FAIL)
    assert account.sums.bytes_dropped == (6 if rule else 0)


@pytest.mark.parametrize("lost", [False, True])
def test_an_expert_of_another_rank_does_not_speak_for_a_layer_that_nobody_builds_nor_for_a_lost_expert(lost):
    local = [f"layers.0.experts.{n}.weight" for n in range(4)]
    draft = [f"layers.1.experts.{n}.weight" for n in range(4)]
    given = tensors(*local, *draft, *(["layers.0.experts.9.weight"] if lost else []))
    ranks = []
    for number in range(2):
        rank = FakeRank(number)
        home = rank.parameter("layers.0.experts.w", (2, 8, 4))
        for place in range(2):
            rank.move(2 * number + place, home, rank.region(32 * place, (8, 4)), rank.region(0, (8, 4)))
        drops = [
            RawDrop(kind=0, tensor=2, rule=None, sibling=True),
            RawDrop(kind=0, tensor=4, rule=PLACE, sibling=False),
        ]
        ranks.append(rank.raw(drops=[] if number else drops))
    account = account_of(given, *ranks, tp=2)
    assert account.sums.bytes_dropped == 4 * 64
    assert [t.name for t in account.tensor_troubles] == (["layers.0.experts.9.weight"] if lost else [])
    assert judged(account)[0].verdict is (Verdict.FAIL if lost else Verdict.PASS)


def test_tied_padded_and_designed_parameters_are_in_order():
    given = tensors("embed.weight")
    rank = FakeRank()
    embed = rank.parameter("embed.weight", (10, 4))
    rank.parameter("lm_head.weight", (10, 4), storage_id=embed, storages=[embed])
    rank.parameter("attn.k_scale", (), storages=[], design="KV-cache scale")
    rank.move(0, embed, rank.region(0, (8, 4)), rank.region(0, (8, 4)))
    rank.move(-1, embed, rank.region(32, (2, 4)), -1)
    account = account_of(given, rank.raw())
    assert {(p.kind, p.state) for p in account.parameters} == {
        ("embed.weight", "filled"),
        ("lm_head.weight", "tied"),
        ("attn.k_scale", "initialised by design"),
    }
    assert judged(account)[0].verdict is Verdict.PASS


def test_a_scale_that_may_be_absent_everywhere_may_not_be_absent_once():
    given = tensors("layers.0.k_scale", shape=())
    rank = FakeRank()
    first = rank.parameter("layers.0.k_scale", (), design="KV-cache scale")
    rank.parameter("layers.1.k_scale", (), design="KV-cache scale", storages=[])
    rank.move(0, first, rank.region(0, ()), rank.region(0, ()))
    account = account_of(given, rank.raw())
    assert [(t.name, t.likely) for t in account.parameter_troubles] == [("layers.1.k_scale", ("layers.1.k_scale",))]


def test_an_exception_is_a_finding_with_tensor_shapes_and_line():
    given = tensors("a.weight", "b.weight")
    rank = FakeRank()
    rank.parameter("a.weight", (8, 4), storages=[])
    rank.move(1, rank.parameter("b.weight", (8, 4)), rank.region(0, (8, 4)), rank.region(0, (8, 4)))
    failure = RawFailure(
        stage="load",
        type="builtins.AssertionError",
        message="shapes differ",
        at=PLACE,
        frames=[PLACE],
        tensor=0,
        parameter="a.weight",
        parameter_shape=[8, 4],
    )
    outcome, found = judged(account_of(given, rank.raw(errors=[failure])))
    assert outcome.verdict is Verdict.FAIL
    text = next(f.message for f in found if f.code == "D004")
    for part in ("a.weight", "[8, 4]", "AssertionError", "vllm/m.py:7"):
        assert part in text


@pytest.mark.parametrize(
    ("dtype", "code", "verdict"),
    [("F8_E4M3", "D008", Verdict.FAIL), ("I8", "D008", Verdict.FAIL), ("F16", "D009", Verdict.INCONCLUSIVE)],
)
def test_one_odd_dtype_among_peers_does_not_pass(dtype, code, verdict):
    given = changed(tensors(GATE, UP, GATE1, UP1), UP1, dtype=dtype)
    account = account_of(given, fused_rank({0: (0, 0), 1: (0, 1), 2: (1, 0), 3: (1, 1)}).raw())
    outcome, found = judged(account)
    assert outcome.verdict is verdict
    assert [(f.code, f.place) for f in found] == [(code, UP1)]


def test_a_checkpoint_wholly_in_another_float_dtype_passes():
    given = tensors(GATE, UP, GATE1, UP1, dtype="F32")
    account = account_of(given, fused_rank({0: (0, 0), 1: (0, 1), 2: (1, 0), 3: (1, 1)}).raw())
    assert judged(account)[0].verdict is Verdict.PASS
    assert account.casts[0].count == account.casts[0].of == 2


def test_a_crashed_rank_fails_and_says_by_what():
    from seatrial.dryrun.raw import RawRank

    given = tensors("a.weight")
    outcome, found = judged(account_of(given, RawRank(rank=0, how="full", crashed=-11)))
    assert outcome.verdict is Verdict.FAIL
    assert "SIGSEGV" in found[0].message


def test_many_ranks_of_a_large_checkpoint_are_represented_by_first_and_last():
    assert choose_ranks(100, tp=8, pp=1, ep=False, ranks=None) == (list(range(8)), [])
    assert choose_ranks(100_000, tp=8, pp=2, ep=False, ranks=None) == (
        [0, 7, 8, 15],
        [1, 2, 3, 4, 5, 6, 9, 10, 11, 12, 13, 14],
    )
    assert choose_ranks(100_000, tp=8, pp=1, ep=False, ranks=[3]) == ([3], [])


def test_the_rules_page_is_whole_and_codes_are_unique():
    from seatrial.dryrun import page, rules

    text = page()
    for code in rules():
        assert f"## {code}: " in text


def test_a_lone_tensor_of_another_float_dtype_is_unsure():
    given = [*tensors("embed.weight", dtype="F16"), *tensors(*"abcd")]
    rank = FakeRank()
    for index, tensor in enumerate(given):
        rank.move(index, rank.parameter(tensor.name, (8, 4)), rank.region(0, (8, 4)), rank.region(0, (8, 4)))
    outcome, found = judged(account_of(given, rank.raw()))
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert [(f.code, f.place) for f in found] == [("D009", "embed.weight")]


def test_scales_in_float32_do_not_hide_a_lone_tensor_of_another_dtype():
    given = [*tensors("embed.weight", dtype="F16"), *tensors(*"abcd"), *tensors(*"efghijkl", dtype="F32")]
    rank = FakeRank()
    for index, tensor in enumerate(given):
        dtype = "float32" if tensor.dtype == "F32" else "bfloat16"
        rank.move(index, rank.parameter(tensor.name, (8, 4), dtype), rank.region(0, (8, 4)), rank.region(0, (8, 4)))
    config = RawConfig(architecture="M", dtype="bfloat16", quantization="fp8", quantization_class="Fp8Config")
    raw = replace(answer(rank.raw()), config=config)
    account = AccountBuilder(request(given), raw).account()
    assert [(f.code, f.place) for f in judged(account)[1]] == [("D009", "embed.weight")]


def test_a_drifted_prefix_is_proposed_by_vote_and_applied_to_names():
    from seatrial.dryrun.mends import mapper_code, propose, renamed

    given = tensors(*(f"old.layers.{i}.norm.weight" for i in range(4)))
    rank = FakeRank()
    for i in range(4):
        rank.parameter(f"new.tower.layers.{i}.norm.weight", (8, 4), storages=[])
    failures = [
        RawFailure(stage="load", type="builtins.KeyError", message="x", at=PLACE, frames=[], tensor=i) for i in range(4)
    ]
    mends = propose(account_of(given, rank.raw(errors=failures)))
    assert [(m.kind, m.old, m.new, m.tensors) for m in mends] == [("prefix", "old.", "new.tower.", 4)]
    assert renamed(["old.a", "b.old.c"], mends) == ["new.tower.a", "b.old.c"]
    assert "'old.': 'new.tower.'" in mapper_code(mends)


@pytest.mark.parametrize(("layers", "verdict"), [(1, Verdict.FAIL), (2, Verdict.PASS)])
def test_an_overlap_that_every_layer_has_alike_is_the_engines_own(layers, verdict):
    given = tensors(*(f"layers.{i}.{p}.shape" for i in range(layers) for p in ("gate", "up")), shape=(2,))
    rank = FakeRank()
    for i in range(layers):
        fused = rank.parameter(f"layers.{i}.gate_up.shape", (2,))
        for j in (2 * i, 2 * i + 1):
            rank.move(j, fused, rank.region(0, (2,)), rank.region(0, (2,)))
    assert judged(account_of(given, rank.raw()))[0].verdict is verdict


def test_sampled_ranks_must_lie_where_the_first_and_the_last_say():
    given = tensors("a.weight", shape=(16, 4))

    def rank(number: int, how: str, start: int):
        made = FakeRank(number, how)
        at = made.parameter("a.weight", (4, 4))
        made.move(0, at, made.region(0, (4, 4)), made.region(start * 16, (4, 4)))
        return made.raw(fed=[0] if how == "sample" else "all")

    def builder(second: int):
        ranks = [rank(0, "full", 0), rank(1, "sample", second), rank(2, "sample", 2), rank(3, "full", 3)]
        return AccountBuilder(request(given, tp=4, sample=(1, 2)), answer(*ranks))

    good = builder(1)
    assert good.spread.unlike == ()
    assert good.account().sums.bytes_placed == 16 * 4 * 2
    assert builder(2).spread.unlike == (1,)


def test_a_parameter_without_peers_is_named_as_its_neighbours_are_in_the_checkpoint():
    near = PrefixNames()
    assert near.likely("model.layers.0.norm.weight") == "model.layers.0.norm.weight"
    near.learn("model.layers.0.mlp.down.weight", "midlayer.mlp.down.weight")
    near.learn("model.embed.weight", "embed.weight")
    assert near.likely("model.layers.0.norm.weight") == "midlayer.norm.weight"
    assert near.likely("model.layers.0.mlp.up.weight") == "midlayer.mlp.up.weight"
    assert near.likely("model.norm.weight") == "norm.weight"
    assert near.likely("lm_head.weight") == "lm_head.weight"
