"""Rows of parameters by tensor: fused, sharded, transposed, split and scattered ones."""

from __future__ import annotations

from headers import FakeRank, answer, request

from seatrial.dryrun import HeaderTensor
from seatrial.dryrun.places import MOST, Place, places
from seatrial.dryrun.readings import Readings


def told(tensors, *ranks, tp=1):
    listed = [HeaderTensor(name=n, dtype="BF16", shape=s) for n, s in tensors.items()]
    return places(Readings(request(listed, tp=tp), answer(*ranks)))


def test_the_parts_of_a_fused_projection_are_told_rank_by_rank():
    ranks = []
    for number in range(2):
        made = FakeRank(number)
        made.parameter("gate_up.weight", (8, 4))
        half = made.region(number * 16, (4, 4))
        made.move(0, 0, made.region(0, (4, 4)), half)
        made.move(1, 0, made.region(16, (4, 4)), half)
        ranks.append(made.raw())
    found = told({"gate": (8, 4), "up": (8, 4)}, *ranks, tp=2)
    assert found["gate"] == (Place(0, "gate_up.weight", 0, 0, 4), Place(1, "gate_up.weight", 0, 4, 4))
    assert found["up"] == (Place(0, "gate_up.weight", 4, 0, 4), Place(1, "gate_up.weight", 4, 4, 4))


def test_a_share_of_the_columns_leaves_the_rows_whole():
    made = FakeRank()
    made.parameter("o.weight", (8, 2))
    made.move(0, 0, made.region(0, (8, 2)), made.region(2, (8, 2), (4, 1)))
    assert told({"o": (8, 4)}, made.raw()) == {"o": (Place(0, "o.weight", 0, 0, 8),)}


def test_a_tensor_that_the_loader_splits_has_several_stretches():
    made = FakeRank()
    made.parameter("gate_up.weight", (4, 4))
    made.move(0, 0, made.region(0, (2, 4)), made.region(0, (2, 4)))
    made.move(0, 0, made.region(8, (2, 4)), made.region(16, (2, 4)))
    found = told({"gate_up": (8, 4)}, made.raw())
    assert found["gate_up"] == (Place(0, "gate_up.weight", 0, 0, 2), Place(0, "gate_up.weight", 2, 4, 2))


def test_a_transposed_tensor_says_which_of_its_dimensions_the_rows_are():
    made = FakeRank()
    made.parameter("fc.weight", (6, 4))
    made.move(0, 0, made.region(0, (6, 4)), made.region(0, (6, 4), (1, 6)))
    assert told({"fc": (4, 6)}, made.raw())["fc"] == (Place(0, "fc.weight", 0, 0, 6, 1),)


def test_what_was_made_of_a_tensor_on_the_way_has_rows_of_unknown_origin():
    made = FakeRank()
    made.parameter("w.weight", (6, 4))
    made.move(0, 0, made.region(0, (6, 4)), made.region(0, (2, 3, 4)))
    assert told({"w": (6, 4)}, made.raw())["w"] == (Place(0, "w.weight", 0, -1, 6),)


def test_norms_stacked_experts_and_scattered_tensors_have_no_rows():
    made = FakeRank()
    made.parameter("norm.weight", (4,))
    made.parameter("w13", (2, 4, 4))
    made.parameter("odd.weight", (MOST + 1, 4))
    made.move(0, 0, made.region(0, (4,)), made.region(0, (4,)))
    made.move(1, 1, made.region(16, (4, 4)), made.region(0, (4, 4)))
    for row in range(MOST + 1):
        made.move(2, 2, made.region(4 * row, (1, 4)), made.region(4 * (MOST - row), (1, 4)))
    found = told({"norm": (4,), "expert": (4, 4), "odd": (MOST + 1, 4)}, made.raw())
    assert [found[n] for n in ("norm", "expert", "odd")] == [
        (Place(0, "norm.weight"),),
        (Place(0, "w13"),),
        (Place(0, "odd.weight"),),
    ]


def test_a_tensor_that_went_nowhere_is_not_listed():
    made = FakeRank()
    made.parameter("norm.weight", (4,))
    assert told({"mtp": (4,)}, made.raw()) == {}
