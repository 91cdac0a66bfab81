"""The listing of single tensors: each once, where it went on which ranks, equal bytes for equal accounts."""

from __future__ import annotations

import gzip
import json

from headers import FakeRank, answer, request

from seatrial.dryrun import HeaderTensor
from seatrial.dryrun.build import AccountBuilder
from seatrial.dryrun.listing import rows, spans, write_listing
from seatrial.dryrun.raw import RawDrop, SourcePlace

GATE, UP, NORM, MTP = "layers.0.mlp.gate_proj.weight", "layers.0.mlp.up_proj.weight", "norm.weight", "mtp.weight"
PLACE = SourcePlace(file="vllm/m.py", line=7, function="load_weights", source="continue")


def tensors():
    shapes = {GATE: (8, 4), UP: (8, 4), NORM: (4,), MTP: (4,)}
    return [HeaderTensor(name=name, dtype="BF16", shape=shape) for name, shape in shapes.items()]


def rank(number, *, how="full", norm=True):
    """Gate and up are halved over two ranks; the norm is whole."""
    made = FakeRank(number, how)
    made.parameter("layers.0.mlp.gate_up_proj.weight", (8, 4))
    half = made.region(number * 16, (4, 4))
    made.move(0, 0, made.region(0, (4, 4)), half)
    made.move(1, 0, made.region(16, (4, 4)), half)
    if norm:
        made.parameter("norm.weight", (4,))
        made.move(2, 1, made.region(0, (4,)), made.region(0, (4,)))
    return made.raw(drops=[RawDrop(kind=3, tensor=3, rule=PLACE)] if number == 0 else [])


def builder(*ranks):
    return AccountBuilder(request(tensors(), tp=2), answer(*ranks))


def test_every_tensor_has_one_row_that_says_where_it_went_on_which_ranks():
    found = {row.name: row for row in rows(builder(rank(0), rank(1, norm=False)))}
    assert list(found) == [GATE, UP, NORM, MTP]
    assert {k: [(p.parameter, p.shard) for p in v] for k, v in found[UP].into.items()} == {
        "0-1": [("layers.0.mlp.gate_up_proj.weight", "up_proj")]
    }
    assert {k: [(p.parameter, p.shard) for p in v] for k, v in found[NORM].into.items()} == {"0": [("norm.weight", "")]}
    assert (found[MTP].state, found[MTP].at, found[MTP].into) == ("dropped", "vllm/m.py:7", {})


def test_ranks_that_were_not_loaded_are_named_with_those_that_stand_for_them():
    quarters = []
    for number in (0, 3):
        made = FakeRank(number)
        made.parameter("norm.weight", (1,))
        made.move(2, 0, made.region(0, (1,)), made.region(number, (1,)))
        quarters.append(made.raw())
    for number in (1, 2):
        made = FakeRank(number, "sample")
        made.parameter("norm.weight", (1,))
        made.move(2, 0, made.region(0, (1,)), made.region(number, (1,)))
        quarters.append(made.raw(fed=[2]))
    made = AccountBuilder(request(tensors(), tp=4, sample=(1, 2)), answer(*quarters))
    assert not made.spread.unlike
    assert [list(row.into) for row in rows(made)] == [[], [], ["0-3"], []]


def test_the_file_is_the_same_for_the_same_account_and_begins_with_its_count(tmp_path):
    one, two = tmp_path / "one.gz", tmp_path / "two.gz"
    for file in (one, two):
        write_listing(builder(rank(0), rank(1)), file)
    assert one.read_bytes() == two.read_bytes()
    lines = [json.loads(line) for line in gzip.decompress(one.read_bytes()).splitlines()]
    assert lines[0] == {"schema_version": 1, "tensors": 4, "tp": 2, "pp": 1}
    assert [line["name"] for line in lines[1:]] == [GATE, UP, NORM, MTP]


def test_ranks_are_written_as_spans():
    assert spans([0, 1, 2, 3, 8]) == "0-3,8"
    assert spans([5]) == "5"
