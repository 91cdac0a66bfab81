"""What a figure in a text is a figure of: its unit, its column, its row or the words before it, as a kind of record.

In: where a figure stands. Out: a `Kind` (which fields of the records may back it, and in which scale), or None where
nothing says. Sentences of our own templates name their field; else the unit counts, which stands at the figure itself,
and then the label that is nearest.
"""

from __future__ import annotations

import re

from seatrial.core.record import Record
from seatrial.delivery.planned import field_of

TIME = r"(_s|seconds|_ms|duration|p99|median)$"
CONTEXT = r"(context|max_model_len|max_position\w*|longest)$"
TOKENS = r"(token|context|max_model_len|max_position|longest|kv_)"
BYTES = r"(bytes|memory|size|growth)"
BINARY = {"KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}
COUNTS = {"k": 1e-3, "M": 1e-6, "B": 1e-9, "T": 1e-12}
# Columns that hold text of the records: a figure there must be quoted with the words around it.
QUOTED = re.compile(r"What was seen|结果摘要|[Rr]eason|原因|现象|Answer begins|响应内容|^ *Cause *$|改动|Change")


class Kind(Record):
    """`field`: pattern of the record's path; `scale`: what a recorded number is multiplied with to be shown."""

    field: str
    scale: float = 1.0


# Words of the templates' own sentences, for figures with the unit of tokens or sequences.
SENTENCES: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (re.compile(r"理论最大值|Declared by the model|declares a context"), r"^inspect\..*context", ""),
    (re.compile(r"容量基线|Capacity baseline|The baseline of"), r"baseline_context$", r"baseline_sequences$"),
    (re.compile(r"最大上下文长度|Longest context"), r"longest$", ""),
    (re.compile(r"最大并发|Most sequences"), "", r"most_sequences$"),
    (re.compile(r"设置的上下文长度|Context of the real-weight gate"), r"max_model_len$", ""),
    (re.compile(r"每条请求输入|^Bench .* prompts"), r"^bench\.workload\.dataset\.(input|output)_tokens$", ""),
)
# A signed share of a comparison; anywhere else a share is one of any field.
COMPARED = re.compile(r"^(Comparison|对比)")
# Right behind the figure.
SHARE = Kind(field=".", scale=100.0)
UNITS: tuple[tuple[re.Pattern[str], Kind], ...] = (
    (re.compile(r"\s*s\b"), Kind(field=TIME)),
    (re.compile(r"\s*ms\b"), Kind(field=TIME, scale=1e3)),
    *((re.compile(rf"\s*{unit}\b"), Kind(field=BYTES, scale=2.0**-power)) for unit, power in BINARY.items()),
    *((re.compile(rf"\s*{unit}\b"), Kind(field="param", scale=scale)) for unit, scale in COUNTS.items()),
    (re.compile(r"\s*(?:input |output )?tokens?\b(?!/s)"), Kind(field=TOKENS)),
    (re.compile(r"\s*(?:requests\b(?!/s)|条请求)"), Kind(field=r"load\.requests$")),
    (re.compile(r"\s*(?:sequences\b|路)"), Kind(field="sequences$")),
    (re.compile(r"\s*(?:layers\b|层)"), Kind(field="layers$")),
    (re.compile(r"\s*(?:devices?\b|卡)"), Kind(field=r"(^|[._])(tp|devices?|count)$")),
    (re.compile(r"\s*%"), SHARE),
)
# In the column's heading, the row's first cell or the words before the figure; the nearest to the figure counts.
LABELS: tuple[tuple[re.Pattern[str], Kind], ...] = (
    (re.compile(r"Layers|层数"), Kind(field="layers$")),
    (re.compile(r"HTTP|Status|状态码"), Kind(field=r"(status|constant\.http)$")),
    (re.compile(r"Took|耗时"), Kind(field=TIME)),
    (re.compile(r"Tokens|token 数"), Kind(field=r"completion_tokens$")),
    (re.compile(r"Context|context|上下文|max-model-len"), Kind(field=CONTEXT)),
    (re.compile(r"Sequences|sequences|并发"), Kind(field="sequences$")),
    (re.compile(r"Questions|题目数"), Kind(field=r"score\.n$")),
    (re.compile(r"\bValue\b|数值"), Kind(field=r"score\.value$")),
    (re.compile(r"Record|记录序号"), Kind(field=r"seq$")),
    (re.compile(r"tensor-parallel|张量并行|\bTP\b"), Kind(field=r"(^|[._])(tp|tensor_parallel\w*)$")),
    (re.compile(r"Parameters|参数量"), Kind(field="param")),
    (re.compile(r"Requests/s|请求吞吐"), Kind(field=r"^bench\.side\.request_throughput$")),
    (re.compile(r"Output tokens/s|输出吞吐"), Kind(field=r"^bench\.side\.output_throughput$")),
    *(
        (re.compile(rf"{name} {p}", re.I), Kind(field=rf"^bench\.side\.{name.lower()}_ms\.{p}$"))
        for name in ("TTFT", "TPOT")
        for p in ("p50", "p99")
    ),
    (re.compile(r"concurrency|并发数"), Kind(field=r"load\.concurrency$")),
    (re.compile(r"\ba rate of|请求速率"), Kind(field=r"load\.rate$")),
    (re.compile(r"warm-up|预热"), Kind(field=r"load\.warmup$")),
    (re.compile(r"\bRuns\b|轮数"), Kind(field=r"^bench\.side\.runs$")),
    (re.compile(r"\bp ="), Kind(field=r"\.p$")),
)


def named(after: str, headings: tuple[str, ...]) -> Kind | None:
    """The field that a sentence of our own templates shows there; None elsewhere."""
    unit = _unit(after)
    if unit == SHARE and any(COMPARED.search(text) for text in headings):
        return Kind(field=r"\.(change|low|high|detectable)$", scale=100.0)
    for words, tokens, sequences in SENTENCES if unit is not None else ():
        field = sequences if unit == Kind(field="sequences$") else tokens if unit == Kind(field=TOKENS) else ""
        if field and any(words.search(text) for text in headings):
            return Kind(field=field)
    return None


def advised(after: str, headings: tuple[str, ...]) -> Kind | None:
    """The row and column of the table of planned memory, with the scale of the figure's unit; None elsewhere."""
    field = field_of(*headings[:2]) if len(headings) > 1 else ""
    power = next((p for unit, p in BINARY.items() if re.match(rf"\s*{unit}\b", after)), 0)
    return Kind(field=field, scale=2.0**-power) if field else None


def _unit(after: str) -> Kind | None:
    return next((kind for pattern, kind in UNITS if pattern.match(after)), None)


def kind_of(before: str, after: str, headings: tuple[str, ...]) -> Kind | None:
    """`before` and `after`: the text of the same cell or sentence; `headings`: column and row, nearest first."""
    unit = _unit(after)
    if unit is not None:
        return unit
    for text in (before, *headings):
        found = [(m.end(), kind) for pattern, kind in LABELS for m in pattern.finditer(text)]
        if found:
            return max(found, key=lambda f: f[0])[1]
    return None
