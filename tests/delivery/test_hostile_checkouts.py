"""Text from checkpoints, logs and foreign repositories: edits insert lines and nothing else, values stay values."""

from __future__ import annotations

import ast
import contextlib
import re

import pytest
from checkouts import MATRIX, NAV, NIGHTLY, REGISTER, TITLES
from hypothesis import given
from hypothesis import strategies as st

from seatrial.core.errors import FileFormatError
from seatrial.delivery.accuracy_yaml import dumped, loaded, nightly_models, nightly_place
from seatrial.delivery.figures import Numbers, unfounded
from seatrial.delivery.kunlun import registrations
from seatrial.delivery.listing import in_nav, in_titles, in_toctree
from seatrial.delivery.render import block, code, inline
from seatrial.delivery.serve import flags_of
from seatrial.delivery.yaml_dialect import dialect_of

LINES = st.lists(
    st.sampled_from([":::{toctree}", ":::", "A.md", "  B.md", "", ":maxdepth: 1", "```{toctree}", "```", "x"])
)
NAVS = st.lists(
    st.sampled_from(
        ["nav:", "  - Model Tutorials:", "      - tutorials/models/A.md", "      - T: b/B.md", "  - Z:", "", "x"]
    )
)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,20}", fullmatch=True)


def is_insertion(before: str, after: str) -> bool:
    """`after` is `before` with whole lines put in."""
    rest = iter(after.split("\n"))
    return all(any(line == other for other in rest) for line in before.split("\n"))


@pytest.mark.parametrize(("edit", "lines"), [(in_toctree, LINES), (in_nav, NAVS)])
def test_an_index_gains_one_line_or_stays_and_asking_again_changes_nothing(edit, lines):
    @given(lines, NAMES)
    def check(text_lines, name):
        before = "\n".join(text_lines)
        edited = edit(before, name)
        if edited.text is None:
            assert edited.reason
            return
        assert is_insertion(before, edited.text)
        assert len(edited.text.split("\n")) - len(text_lines or [""]) in (0, 1)
        assert edit(edited.text, name).text == edited.text

    check()


@given(st.text(max_size=300), NAMES)
def test_any_text_as_titles_or_test_code_is_an_edit_or_a_reason_and_never_a_crash(text, name):
    edited = in_titles(text, name)
    if edited.text is not None and edited.text != text:
        ast.parse(edited.text)
    with contextlib.suppress(FileFormatError):
        assert dialect_of(text, "t").kind in ("flat", "serve")


def test_titles_nav_and_registrations_of_the_fixtures_are_read_as_they_are():
    assert ast.parse(in_titles(TITLES, "New").text or "")
    assert "      - tutorials/models/New.md" in (in_nav(NAV, "New").text or "")
    assert [r.architecture for r in registrations(REGISTER)] == ["OldForCausalLM", "OlderForCausalLM"]
    assert nightly_models(NIGHTLY) == {"Old", "Older", "Two"}
    assert nightly_place(NIGHTLY, "a2", 2) is not None
    assert nightly_place(NIGHTLY, "a2", 16) is None
    assert MATRIX.count("| Old |") == 2


@given(st.text(max_size=200))
def test_a_value_in_a_line_opens_no_cell_tag_link_fence_or_line(text):
    shown = inline(text)
    assert "\n" not in shown
    assert "\r" not in shown
    assert not re.search(r"(?<!\\)[`|\[\]*]|(?<![\\&])#|[<>{}@$~]", shown)
    span = code(text)
    assert "\n" not in span
    assert span.count("`") in (0, 2)
    assert not re.search(r"(?<!\\)\|", span)
    assert not re.search(r"^\s*(```|~~~)", block(text), re.M)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z_]{1,10}", fullmatch=True),
        st.one_of(st.text(max_size=30), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
        max_size=6,
    )
)
def test_written_yaml_reads_back_as_the_same_values(document):
    printable = {
        k: v for k, v in document.items() if not isinstance(v, str) or all(c.isprintable() and c.isascii() for c in v)
    }
    found = loaded(dumped(printable), "x") if printable else {}
    assert dict(found) == printable


@given(st.lists(st.text(min_size=1, max_size=12)))
def test_flags_lose_no_word_that_names_one(words):
    names = [w.partition("=")[0] for w in words if w.startswith("--")]
    assert [f for f, _ in flags_of(words)] == names


@given(st.floats(min_value=0.001, max_value=1e9), st.integers(0, 4))
def test_a_recorded_number_is_found_however_it_is_rounded_and_one_far_from_all_is_not(value, decimals):
    shown = f"{value:.{decimals}f}"
    if decimals or float(shown) == value:
        assert unfounded(f"after {shown} s", Numbers([("real.ready_s", value)])) == []
    assert unfounded("after 77.31 s", Numbers([("real.ready_s", 123456.789)]))


@given(st.text(max_size=400))
def test_looking_up_figures_takes_any_text(text):
    for found in unfounded(text, Numbers([("x", 1.0)])):
        assert found.figure


def test_the_digits_of_a_hash_are_no_figures():
    hashed = "ref 3f8a91c0d2e4b5f60718293a4b5c6d7e at 9707c96f7b0d59b211a20 after 12 starts, build c0ffee17"
    numbers = Numbers((), [hashed])
    assert unfounded(hashed, numbers) == []
    assert len(numbers) == 3  # 12, and the constants: HTTP's 200, the share of a tie
    # A score with many digits is no hash.
    assert [f.figure for f in unfounded("| task | value |\n|---|---|\n| sums | 0.041666666666666664 |", numbers)]
