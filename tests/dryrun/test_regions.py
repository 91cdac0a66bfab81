"""Counting the elements that strided regions cover, against counting them one by one."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.dryrun.raw import RawRegion
from seatrial.dryrun.regions import union


def elements(region: RawRegion) -> set[int]:
    return {
        region.offset + sum(i * s for i, s in zip(index, region.strides, strict=True))
        for index in product(*(range(n) for n in region.sizes))
    }


def region(offset, sizes, strides):
    return RawRegion(offset, tuple(sizes), tuple(strides))


@st.composite
def slices(draw):
    """Slices of one three-dimensional dense tensor, as narrow, select and transpose make them."""
    shape = draw(st.tuples(*[st.integers(1, 5)] * 3))
    strides = [shape[1] * shape[2], shape[2], 1]
    found = []
    for _ in range(draw(st.integers(0, 5))):
        starts = [draw(st.integers(0, n - 1)) for n in shape]
        sizes = [draw(st.integers(0, n - a)) for n, a in zip(shape, starts, strict=True)]
        order = draw(st.permutations(range(3)))
        offset = sum(a * s for a, s in zip(starts, strides, strict=True))
        found.append(region(offset, [sizes[i] for i in order], [strides[i] for i in order]))
    return found


@given(slices())
def test_the_count_is_the_number_of_distinct_elements(found):
    assert union(found) == len(set().union(*map(elements, found)))


@given(
    st.lists(
        st.builds(
            region,
            st.integers(0, 9),
            st.lists(st.integers(0, 3), min_size=2, max_size=2),
            st.lists(st.integers(0, 7), min_size=2, max_size=2),
        ),
        max_size=4,
    )
)
def test_odd_strides_and_expanded_views_are_counted_too(found):
    assert union(found) == len(set().union(*map(elements, found)))


@pytest.mark.parametrize(
    ("found", "count"),
    [
        ([], 0),
        ([region(0, [], [])], 1),
        ([region(0, [4, 8], [8, 1]), region(32, [4, 8], [8, 1])], 64),
        ([region(0, [4, 8], [8, 1]), region(0, [4, 8], [8, 1])], 32),
        ([region(0, [7168, 128], [2048, 1]), region(128, [7168, 128], [2048, 1])], 7168 * 256),
        ([region(0, [0, 8], [8, 1])], 0),
    ],
)
def test_slices_of_real_loaders_are_counted_exactly(found, count):
    assert union(found) == count


def test_a_layout_too_ragged_to_count_is_not_guessed():
    ragged = [region(0, [200_000, 2], [5, 2]), region(1, [200_000, 2], [7, 3])]
    assert union(ragged) is None
