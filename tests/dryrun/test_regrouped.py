"""A loader that views a tensor in a shape whose rows are not its own: seen in the shapes alone, and named."""

from __future__ import annotations

import importlib.util
from itertools import pairwise
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.dryrun.account import DryAccount, Regrouped, Sums
from seatrial.dryrun.rules import findings, kinds
from seatrial.dryrun.run import judge
from seatrial.engine.border import PROBES

SIZES = st.lists(st.integers(1, 6), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def regroups():
    spec = importlib.util.spec_from_file_location("dry_watch_under_test", PROBES / "dry_watch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.regroups


@given(SIZES, st.data())
def test_merging_and_splitting_neighbours_is_never_a_regrouping(regroups, shape, data):
    cuts = sorted(data.draw(st.sets(st.integers(1, len(shape)), max_size=3)) | {0, len(shape)})
    merged = [prod(shape[a:b]) for a, b in pairwise(cuts)]
    assert not regroups(shape, merged)
    assert not regroups(merged, shape)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((16, 8, 512, 4), (4, 512, 128)),  # MXFP4 blocks, transposed
        ((512, 4), (4, 512)),
        ((3, 8), (4, 6)),
    ],
)
def test_a_shape_that_tears_rows_apart_is_one(regroups, old, new):
    assert regroups(old, new)
    assert regroups(new, old)


@pytest.mark.parametrize("new", [(4, 512, 128), (2048, 128), (4, 512, 2, 64), (1, 4, 512, 128, 1)])
def test_dimensions_of_one_and_further_splits_are_none(regroups, new):
    assert not regroups((4, 512, 128), new)


def test_the_tensors_are_named_with_both_shapes_and_it_is_no_pass():
    seen = Regrouped(kind="l.*.blocks", names=("l.0.blocks", "l.1.blocks"), shape=(16, 8, 512, 4), viewed=(4, 512, 128))
    sums = Sums(
        tensors=2, bytes_in=4, bytes_placed=4, bytes_elsewhere=0, bytes_dropped=0, bytes_unexplained=0, parameters=2,
        exact=True,
    )  # fmt: skip
    account = DryAccount(schema_version=1, tp=1, pp=1, ep=False, names_only=False, sums=sums, regrouped=(seen,))
    (found,) = [f for f in findings(account) if f.code == "D031"]
    assert found.place == "l.0.blocks"
    assert "views [16, 8, 512, 4] as [4, 512, 128]" in found.message
    assert "l.1.blocks" in found.message
    assert "unsure" in kinds(findings(account))
    assert judge(account, findings(account)).verdict.value == "inconclusive"
