"""Logs without any failure whose content is the failure: wrong text, scores that differ.

In: the plain lines of a small log. Out: an `Impression` or None. Used only when nothing in the log failed: then two
scores far apart, or an answer that repeats itself, is what the log was kept for.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from typing import NamedTuple

TOOLS = re.compile(
    r"\b(ais_?bench|evalscope|lm[_-]eval|lighteval|opencompass|helm-run|vlmevalkit|openai.?evals|"
    r"simple_evals|vllm bench|sglang\.bench_serving|guidellm|aisbench)\b|^\[(eval)\]",
    re.I,
)
SCORE = re.compile(
    r"\b(?:accuracy|acc|score|gsm8k|ceval|c-eval|mmlu\w{0,6}|mmmu|aime\w{0,4}|gpqa\w{0,10}|math_?500|"
    r"exact_match|pass@1|humaneval|diff|tpot|"
    r"eager|full ?graph|aclgraph|npu|gpu|hf|transformers|baseline|reference|tp ?\d{1,2}|rerank|logits?|cosine)\b",
    re.I,
)
METRIC = re.compile(
    r"\b(?:accuracy|acc|score|gsm8k|mmlu\w{0,6}|mmmu|ceval|exact_match|pass@1|diff|tpot|cosine|overall)\b", re.I
)
SETTING = re.compile(
    r"min_tokens|ignore_eos|apply_chat_template|few.?shot|num_fewshot|max_out_len|extract\w{0,8}|postprocess|official|"
    r"n-shot|unparsed|finish_reason\W{1,4}length|truncat\w{1,6}|max_(?:new_)?tokens|max_gen_toks|temperature",
    re.I,
)
# What is compared when the engine is in question: back ends, precisions, releases. Without any of them two scores of
# one tool differ because it measures differently.
BACKENDS = re.compile(
    r"\b(?:eager|graph|aclgraph|npu|gpu|cuda|cpu|hf|transformers|baseline|reference|golden|tp ?\d{1,2}|fp8|bf16|"
    r"w\da\d|int[48]|awq|gptq|mtp|v?\d\.\d{1,2}(?:\.\d{1,2}|rc\d)|before|after|previous|vllm|sglang|xllm)\b",
    re.I,
)
NUMBER = re.compile(r"(?<![\w.:-])(\d{1,3}\.\d{1,6})(?![\w.:])")
TEXT = re.compile(
    r"[\"'](?:text|content)[\"'] ?: ?[\"']([^\"]{1,2000})[\"']|"
    r"(?:[Oo]utput|[Gg]enerated text|[Rr]esponse|[Aa]nswer)\w{0,8} ?[:=]>? ?(.{1,2000})"
)
FAR = 0.05
MAX_LINES = 200
# Scripts that one ordinary answer does not mix: two are a translation, three within a few words are noise.
SCRIPTS = tuple(
    re.compile(f"[{span}]")
    for span in (
        "A-Za-z\u00c0-\u024f", "\u0400-\u04ff", "\u0590-\u05ff", "\u0600-\u06ff", "\u0900-\u0dff",
        "\u0e00-\u0e7f", "\u3040-\u30ff\u4e00-\u9fff", "\uac00-\ud7af",
    )
)  # fmt: skip
MIXED = 3
# Prose of this length compresses to 0.5 to 0.7 of its size, a loop without a fixed period to 0.25 and below.
LOOP_CHARS = 200
LOOP_RATIO = 0.3


class Impression(NamedTuple):
    """`line` is the index of the line that shows it."""

    category: str
    line: int
    why: str


def repeats(text: str) -> bool:
    """Whether a text is one short piece over and over."""
    text = text.replace("\\n", "\n").strip()[:400]
    if len(text) < 5:
        return False
    for width in range(1, min(40, len(text) // 3) + 1):
        unit = text[:width]
        if (unit * (len(text) // width + 1)).startswith(text) and len(text) >= max(3 * width - 1, 5):
            return True
    return False


def loops(text: str) -> bool:
    """Whether a text says the same few words over and over, in no fixed order."""
    data = text.strip()[:2000].encode("utf-8", "replace")
    return len(data) >= LOOP_CHARS and len(zlib.compress(data, 9)) < LOOP_RATIO * len(data) and b"{" not in data


def mixes_scripts(text: str) -> bool:
    """Whether a short text is made of several alphabets."""
    return sum(1 for script in SCRIPTS if script.search(text[:400])) >= MIXED


def look(lines: Sequence[str]) -> Impression | None:
    """What the content says, or None."""
    if len(lines) > MAX_LINES:
        return None
    tools: set[str] = set()
    numbers: list[tuple[int, float]] = []
    setting = -1
    for index, line in enumerate(lines):
        for match in TEXT.finditer(line):
            answer = match[1] or match[2] or ""
            if repeats(answer) or loops(answer):
                return Impression("accuracy-garbled", index, "An answer repeats itself.")
            if mixes_scripts(answer):
                return Impression("accuracy-garbled", index, "An answer is a jumble of several scripts.")
        tools.update((m[1] or m[2]).lower().replace("_", "") for m in TOOLS.finditer(line))
        if setting < 0 and SETTING.search(line) and not line.lstrip().startswith("--"):
            setting = index
        if SCORE.search(line) or TOOLS.search(line):
            numbers.extend((index, float(n)) for n in NUMBER.findall(line))
    if not any(METRIC.search(line) for line in lines):
        return None
    if len(tools) >= 2 and (numbers or setting >= 0):
        return Impression("evaluation-config", numbers[0][0] if numbers else setting, "Two tools measure differently.")
    if tools and setting >= 0 and numbers:
        return Impression("evaluation-config", setting, "The measuring tool's settings are in question.")
    values = [v for _, v in numbers]
    if len(values) >= 2 and max(values) - min(values) > FAR * max(abs(v) for v in values):
        if tools and not any(BACKENDS.search(lines[index]) for index in {i for i, _ in numbers}):
            return Impression("evaluation-config", numbers[0][0], "One tool measures the same server in two ways.")
        return Impression("accuracy-garbled", numbers[-1][0], "Scores of the same thing are far apart.")
    return None
