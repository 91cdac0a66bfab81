"""Times as text come out exact, whatever their length, sign and number of decimals."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from seatrial.measure.profile.readers.decimals import FLOAT_LIMIT, from_floats, parse

plain = st.builds(
    lambda sign, whole, fraction: f"{sign}{whole}" + (f".{fraction}" if fraction else ""),
    st.sampled_from(["", "", "-"]),
    st.integers(0, 9 * 10**15),
    st.text("0123456789", max_size=5),
)


def exact(text, places=3):
    return int((Decimal(text) * 10**places).to_integral_value(rounding=ROUND_HALF_UP))


@example(["9000000000000000.0005", "-9000000000000000.0005"], "")
@given(st.lists(plain, min_size=1, max_size=40), st.sampled_from(["", "\t", '"', " "]))
def test_every_decimal_is_parsed_to_the_nearest_nanosecond(texts, around):
    found = parse("\n".join(around + t + around for t in texts).encode())
    assert found.good.all()
    assert found.value.tolist() == [exact(t) for t in texts]


@given(st.lists(st.text(max_size=12).filter(lambda t: "\n" not in t), min_size=1, max_size=20))
def test_no_text_is_ever_guessed_at(texts):
    found = parse("\n".join(texts).encode())
    assert len(found.value) == len(texts)
    for text, value, good in zip(texts, found.value.tolist(), found.good.tolist(), strict=True):
        if good:
            cleaned = text.replace("\t", "").replace(" ", "").replace('"', "").replace("\r", "")
            assert abs(Decimal(value) / 1000 - Decimal(cleaned)) <= Decimal("0.0005")


def test_the_absolute_microseconds_that_no_float_holds_are_exact():
    assert parse(b"1763600000000050.501\n1763600000000050.502\t").value.tolist() == [
        1763600000000050501,
        1763600000000050502,
    ]


def test_too_many_digits_or_an_infinity_are_marked_not_wrapped():
    found = parse(b"99999999999999999999\n1e400\ninf\nnan\n1e3")
    assert found.good.tolist() == [False, False, False, False, True]
    assert found.value.tolist()[-1] == 1_000_000


@given(st.lists(st.integers(0, int(FLOAT_LIMIT) * 1000 - 1), min_size=1, max_size=50))
def test_floats_below_the_limit_give_every_nanosecond_back(values):
    floats = np.array([float(f"{v // 1000}.{v % 1000:03d}") for v in values])
    assert from_floats(floats).tolist() == values
