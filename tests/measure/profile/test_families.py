"""Every family claims the real names it lists, and not those that look alike."""

from __future__ import annotations

import pytest

from seatrial.measure.profile.families import FAMILIES, OTHER, family_of


@pytest.mark.parametrize(("family", "name"), [(f.name, n) for f in FAMILIES for n in f.examples])
def test_a_real_name_belongs_to_its_family(family, name):
    assert family_of(name) == family


@pytest.mark.parametrize(("family", "name"), [(f.name, n) for f in FAMILIES for n in f.not_these])
def test_a_name_that_looks_alike_belongs_elsewhere(family, name):
    assert family_of(name) != family


def test_family_names_are_unique_and_each_has_several_real_names():
    assert len({f.name for f in FAMILIES}) == len(FAMILIES)
    assert all(len(f.examples) >= 4 for f in FAMILIES)


def test_an_unknown_name_is_other():
    assert family_of("zzz_frobnicate") == OTHER
