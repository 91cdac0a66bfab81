"""The prompts of L2 and what must hold of each answer. They need a model that follows instructions: a base model
may fail arithmetic and language, which is then a fact about it, to be compared with its own earlier run.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from seatrial.core.record import Record


class Case(Record):
    """`check` gets text and finish reason and says what is wrong, or nothing."""

    name: str
    prompt: str
    check: Callable[[str, str], str]
    max_tokens: int = 64
    stop: str = ""

    def holds(self, text: str, finish_reason: str) -> str:
        """What is wrong with the answer; repetition is wrong everywhere."""
        return self.check(text, finish_reason) or repeated(text)


def repeated(text: str) -> str:
    """One short piece over and over: at least six times in a row, making up most of the text."""
    found = re.search(r"(.{2,40}?)\1{5,}", text, re.DOTALL)
    if found and len(found.group(0)) > len(text) / 2:
        return f"{found.group(1)!r} is repeated {len(found.group(0)) // len(found.group(1))} times"
    return ""


def holding(pattern: str, what: str) -> Callable[[str, str], str]:
    """The pattern must be in the answer."""
    return lambda text, _: "" if re.search(pattern, text, re.IGNORECASE) else f"the answer does not hold {what}"


def mostly(first: str, last: str, what: str) -> Callable[[str, str], str]:
    """At least half of the letters lie in a range of characters."""

    def check(text: str, _: str) -> str:
        letters = [c for c in text if c.isalpha()]
        inside = sum(first <= c <= last for c in letters)
        return "" if letters and inside * 2 >= len(letters) else f"the answer is not in {what}"

    return check


def stopped(text: str, finish_reason: str) -> str:
    """The stop string must not be in the answer; if it would have come, the reason says so."""
    if "five" in text.lower():
        return "the answer runs over its stop string"
    return "" if finish_reason in ("stop", "length") else f"finish reason {finish_reason!r}"


def cut(text: str, finish_reason: str) -> str:
    """Eight tokens are not enough to count to a hundred."""
    return "" if finish_reason == "length" else f"finish reason {finish_reason!r} where the limit of tokens was reached"


L2 = (
    Case(name="arithmetic", prompt="What is 17 + 25? Answer with the number only.", check=holding(r"\b42\b", "42")),
    Case(
        name="multiplication", prompt="What is 12 times 12? Answer with the number only.", check=holding("144", "144")
    ),
    Case(name="fact", prompt="What is the capital of France? Answer in one word.", check=holding("paris", "Paris")),
    Case(name="chinese", prompt="请用中文用一句话介绍北京。", check=mostly("\u4e00", "\u9fff", "Chinese")),
    Case(name="english", prompt="Describe the sea in one English sentence.", check=mostly("A", "z", "English")),
    Case(
        name="stop",
        prompt="Count in words from one to ten, separated by commas.",
        check=stopped,
        stop="five",
    ),
    Case(name="limit", prompt="Count from 1 to 100, separated by commas.", check=cut, max_tokens=8),
    Case(
        name="order",
        prompt="Write the letters a to e in order, separated by spaces.",
        check=holding("a b c d e", "a to e"),
    ),
)
