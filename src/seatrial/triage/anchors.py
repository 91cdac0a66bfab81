"""The literal text a regular expression cannot match without: a cheap test before it, and what liveness looks for.

In: a pattern of the plain kind used here. Out: for each alternative its longest literal run; an empty tuple when one
alternative has none (then the pattern must always be tried).
"""

from __future__ import annotations

MIN_LITERAL = 4
SPECIAL = set(".^$*+?{}[]()|")


def anchors(pattern: str, *, partial: bool = False) -> tuple[str, ...]:
    """One literal per top-level alternative; with `partial`, alternatives without one are left out."""
    found = []
    for alternative in _split(_unwrap(pattern)):
        literal = _longest(alternative)
        if len(literal) < MIN_LITERAL:
            if partial:
                continue
            return ()
        found.append(literal)
    return tuple(found)


def _unwrap(pattern: str) -> str:
    """`(?:a|b)` around the whole pattern is the same as `a|b`."""
    if pattern.startswith("(?:") and pattern.endswith(")") and _closing(pattern, 0) == len(pattern) - 1:
        return pattern[3:-1]
    return pattern


def _closing(pattern: str, at: int) -> int:
    """Index of the bracket that closes the group opened at `at`."""
    level = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            at += 2
            continue
        if char == "[":
            at = _class_end(pattern, at)
            continue
        level += (char == "(") - (char == ")")
        if level == 0:
            return at
        at += 1
    return len(pattern)


def _class_end(pattern: str, at: int) -> int:
    """Index after the `]` of the character class opened at `at`."""
    at += 2 if pattern[at + 1 : at + 2] in {"^", "]"} else 1
    while at < len(pattern) and pattern[at] != "]":
        at += 2 if pattern[at] == "\\" else 1
    return at + 1


def _split(pattern: str) -> list[str]:
    parts, start, at = [], 0, 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            at += 2
        elif char == "[":
            at = _class_end(pattern, at)
        elif char == "(":
            at = _closing(pattern, at) + 1
        elif char == "|":
            parts.append(pattern[start:at])
            at += 1
            start = at
        else:
            at += 1
    return [*parts, pattern[start:]]


def _longest(pattern: str) -> str:
    runs = [""]
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            literal = pattern[at + 1 : at + 2]
            at += 2
            if literal.isalnum():  # \d, \w, \b: not a literal
                runs.append("")
                continue
        elif char in SPECIAL:
            if char == "(":
                at = _closing(pattern, at) + 1
            elif char == "[":
                at = _class_end(pattern, at)
            elif char == "{":
                at = pattern.find("}", at) + 1 or len(pattern)
            else:
                at += 1
            runs.append("")
            continue
        else:
            literal = char
            at += 1
        if pattern[at : at + 1] in {"?", "*", "{"}:
            runs.append("")
            continue
        runs[-1] += literal
    return max(runs, key=len)
