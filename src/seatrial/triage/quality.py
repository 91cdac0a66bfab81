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
# A measure's uncertainty, and what may differ, is no second score.
UNCERTAIN = re.compile(r"(?:±|\b(?:tolerance|threshold|atol|rtol)\b)[ |:=]{0,4}\d{1,3}\.\d{1,6}", re.I)
DATASET = re.compile(
    r"\b(gsm8k|ceval|c-eval|cmmlu|mmlu\w{0,6}|mmmu\w{0,5}|aime\w{0,4}|gpqa\w{0,10}|math_?500|humaneval\w{0,5}|mbpp|"
    r"bbh|drop|arc_\w{4,10}|hellaswag|winogrande|truthfulqa\w{0,5}|ifeval|livecodebench|textvqa|docvqa|ocrbench)\b",
    re.I,
)
TOLERANCE = re.compile(
    r"\b(?:diff|err)\w{0,9}\W{0,3}(\d[\d.]{0,12}(?:e-?\d{1,3})?)\b.{0,40}?\b(?:tolerance|limit|threshold|atol|rtol)"
    r"\W{0,3}(\d[\d.]{0,12}(?:e-?\d{1,3})?)\b",
    re.I,
)
COSINE = re.compile(r"\bcos(?:ine)?[ _]?(?:sim\w{0,8})?\W{1,3}([01]\.\d{1,12})\b", re.I)
# That somebody holds a content for wrong, or sets one thing against another.
DOUBT = re.compile(
    r"wrong|incorrect|garbl|gibberish|nonsens|meaningless|expect|should|instead|lower|drop|degrad|regress|decreas|worse|"
    r"\bbad\b|poor|cosine|similarity|differ|\bdiff\b|inconsisten|mismatch|diverg|repeat|empty|blank|\b(?:nan|inf)\b|corrupt|unparsed|"
    r"\bvs\b|versus|compar|reference|golden|baseline|\bbut\b|\bonly\b|fail|truncat|never|\bno\b|\bnot\b|"
    r"[!?。、]{4,}|([^\s=|+*#.-])\1{7,}|\ufffd",
    re.I,
)
# An answer that is no sentence: the same word or letter twice, runs of marks, two scripts at once.
JUMBLE = re.compile(
    r"\b(\w{1,12})[ ,.]{1,3}\1\b|([\u4e00-\u9fff])\2|[,.;:。、,!?/(]{2,}|[\u4e00-\u9fff]\W{0,3}\b[a-z]{1,4}\b|"
    r"\b[a-z]{1,4}\W{0,3}[\u4e00-\u9fff]|<[|/｜]|\\u[0-9a-f]{4}",
    re.I,
)
ASKED = re.compile(r"\bcurl\b|\s-d ['\"]|[\"']role[\"'] ?: ?[\"'](?:user|system)")
RULE = re.compile(r"[-+=| :]+|.{0,20}\b(?:[Dd]ataset|[Tt]asks?|[Mm]etric|[Mm]odel)\b[A-Za-z| \t_-]{3,200}")
FAR, NEAR = 0.05, 0.01
ALIKE = 0.999
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


class Scored(NamedTuple):
    """One figure: the line it stands on, of which data set (empty: the line names none)."""

    line: int
    value: float
    of: frozenset[str]


def scores(lines: Sequence[str]) -> list[Scored]:
    """The figures that may be scores. A line that names several data sets tells nothing of one."""
    found: list[Scored] = []
    of: frozenset[str] = frozenset()
    for index, line in enumerate(lines):
        of = _of(line, of)
        if TOLERANCE.search(line) or COSINE.search(line):
            continue
        if len(of) < 2 and (SCORE.search(line) or TOOLS.search(line)):
            found.extend(Scored(index, float(n), of) for n in NUMBER.findall(UNCERTAIN.sub("", line)))
    named = {s.of for s in found if s.of}
    if len(named) == 1:
        only = named.pop()
        found = [s._replace(of=only) for s in found]
    return found


def _of(line: str, before: frozenset[str]) -> frozenset[str]:
    """What a line's figures are of: the data sets that it names, a table's row by its first cell."""
    datasets = frozenset(name.lower() for name in DATASET.findall(line))
    if datasets or line.count("|") < 3:
        return datasets
    first = line.strip().strip("|").split("|")[0].strip(" -").lower()
    if not first:
        return before
    return frozenset() if BACKENDS.search(first) else frozenset((first,))


def agrees(lines: Sequence[str]) -> bool:
    """Whether what is compared in these lines is the same: then nothing of it is the failure."""
    said: list[bool] = []
    if len(lines) > MAX_LINES:
        return False
    for line in lines:
        pairs = [pair for pair in TOLERANCE.findall(line) if all(text.count(".") < 2 for text in pair)]
        said += [float(diff) <= float(most) for diff, most in pairs]
        said += [float(cosine) >= ALIKE for cosine in COSINE.findall(line)]
    said += [_spread(same) <= NEAR for same in alike(scores(lines)) if len(same) > 1]
    return bool(said) and all(said)


def bare(lines: Sequence[str]) -> bool:
    """Whether these are an evaluation's own scores, and nothing doubts them or sets them against others."""
    told = [line for line in lines if line.strip()]
    return (
        0 < len(told) <= MAX_LINES
        and len(_tools(told)) < 2
        and all(RULE.fullmatch(line) or line.count("|") > 2 or TOOLS.search(line) or _score(line) for line in told)
        and not any(DOUBT.search(line) for line in told)
        and all(_spread(same) <= NEAR for same in alike(scores(told)) if len(same) > 1)
    )


def _tools(lines: Sequence[str]) -> set[str]:
    return {(m[1] or m[2]).lower().replace("_", "") for line in lines for m in TOOLS.finditer(line)}


def fluent(lines: Sequence[str]) -> bool:
    """Whether the only content is one answer that reads like a sentence, and nothing doubts it."""
    if len(lines) > MAX_LINES:
        return False
    answers = [m[1] or m[2] or "" for line in lines if not ASKED.search(line) for m in TEXT.finditer(line)]
    if len(answers) != 1 or len(answers[0].split()) < 3 or JUMBLE.search(answers[0]):
        return False
    words = answers[0].lower().split()
    if len(set(words)) < 0.8 * len(words):
        return False
    return not any(DOUBT.search(line.replace(answers[0], "")) for line in lines) and not scores(lines)


def _score(line: str) -> bool:
    return bool(SCORE.search(line)) and not BACKENDS.search(line) and not re.search("[\"'“”]", line)


def alike(found: Sequence[Scored]) -> list[list[Scored]]:
    """The figures by what they are of, in the order of the lines."""
    groups: dict[frozenset[str], list[Scored]] = {}
    for score in found:
        groups.setdefault(score.of, []).append(score)
    return list(groups.values())


def _spread(same: Sequence[Scored]) -> float:
    """How far these figures are apart, of the largest; lines of as many figures each are compared place by place."""
    lines: dict[int, list[float]] = {}
    for score in same:
        lines.setdefault(score.line, []).append(score.value)
    rows = list(lines.values())
    vectors = len(rows) > 1 and len(rows[0]) > 1 and len({len(row) for row in rows}) == 1
    columns = list(zip(*rows, strict=True)) if vectors else [tuple(score.value for score in same)]
    most = max(abs(score.value) for score in same)
    return max(max(column) - min(column) for column in columns) / most if most else 0.0


def look(lines: Sequence[str]) -> Impression | None:
    """What the content says, or None."""
    if len(lines) > MAX_LINES:
        return None
    setting = -1
    for index, line in enumerate(lines):
        for match in TEXT.finditer(line):
            answer = match[1] or match[2] or ""
            if repeats(answer) or loops(answer):
                return Impression("accuracy-garbled", index, "An answer repeats itself.")
            if mixes_scripts(answer):
                return Impression("accuracy-garbled", index, "An answer is a jumble of several scripts.")
        if setting < 0 and SETTING.search(line) and not line.lstrip().startswith("--"):
            setting = index
    if not any(METRIC.search(line) for line in lines):
        return None
    numbers, tools = scores(lines), _tools(lines)
    if len(tools) >= 2 and (numbers or setting >= 0):
        return Impression(
            "evaluation-config", numbers[0].line if numbers else setting, "Two tools measure differently."
        )
    if tools and setting >= 0 and numbers:
        return Impression("evaluation-config", setting, "The measuring tool's settings are in question.")
    for same in alike(numbers):
        if len(same) < 2 or _spread(same) <= FAR:
            continue
        if tools and not any(BACKENDS.search(lines[s.line]) for s in same):
            return Impression("evaluation-config", same[0].line, "One tool measures the same server in two ways.")
        return Impression("accuracy-garbled", same[-1].line, "Scores of the same thing are far apart.")
    return None
