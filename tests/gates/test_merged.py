"""A JSON argument is laid over the one that would count without it, by vLLM's own rules."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.core.errors import UsageError
from seatrial.gates.merged import merged

NAME = "additional-config"


@pytest.mark.parametrize(
    ("args", "extra", "value", "rest"),
    [
        ({}, (), {}, ()),
        ({NAME: '{"a": 1}', "x": 1}, ("--y", "2"), {"a": 1}, ("--y", "2")),
        ({"additional_config": '{"a": 1}'}, ("--y",), {"a": 1}, ("--y",)),
        # The user's word comes later and counts alone.
        ({NAME: '{"a": 1}'}, ("--z", "--additional_config", '{"b": 2}', "--y"), {"b": 2}, ("--z", "--y")),
        ({NAME: '{"a": 1}'}, ('--additional-config={"b": {"c": 3}}',), {"b": {"c": 3}}, ()),
        # Dotted words count alone, together.
        (
            {NAME: '{"a": 1}', f"{NAME}.d": 4},
            (f"--{NAME}.b.c", "true", f"--{NAME}.b.e=word", f"--{NAME}.f+=1,2"),
            {"d": 4, "b": {"c": True, "e": "word"}, "f": ["1", "2"]},
            (),
        ),
        ({NAME: '{"key": false}'}, (), {}, ()),
    ],
)
def test_what_counted_before_counts_still(args, extra, value, rest):
    made = merged(NAME, {"key": True}, args, extra)
    assert made.args[0] == "--additional-config"
    assert json.loads(made.args[1]) == {**value, "key": True}
    assert made.extra == rest
    assert set(made.drop) == {key for key in args if key != "x"}


@pytest.mark.parametrize("extra", [("--additional-config",), ("--additional-config", "1"), ("--additional-config={",)])
def test_what_is_no_object_is_refused(extra):
    with pytest.raises(UsageError, match="additional-config"):
        merged(NAME, {"key": True}, {}, extra)


@given(st.lists(st.sampled_from(["--a", "1", "--additional-config.x", "--additional-config.x.y=2", "{}", "--=", "-x"])))
def test_other_words_stay_in_their_order_whatever_comes(words):
    try:
        made = merged(NAME, {"key": True}, {}, words)
    except UsageError:
        return
    assert not any(word.startswith("--additional") for word in made.extra)
    left = iter(words)
    assert all(word in left for word in made.extra)
    assert json.loads(made.args[1])["key"] is True
