"""The words of the reports, in English and Chinese."""

from __future__ import annotations

from typing import Literal

from seatrial.measure.compare.statistics import ALPHA
from seatrial.measure.compare.verdict import Judged

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
WORDS: dict[str, dict[Language, str]] = {
    "title": {"en": "Benchmark report", "zh": "性能对比报告"},
    "verdict": {"en": "Verdict", "zh": "结论"},
    "reason": {"en": "Reason", "zh": "理由"},
    "setup": {"en": "Setup", "zh": "配置"},
    "same": {"en": "fields are the same on both sides", "zh": "项配置两侧相同"},
    "field": {"en": "Field", "zh": "字段"},
    "kind": {"en": "Kind", "zh": "类别"},
    "why": {"en": "Why", "zh": "说明"},
    "forbidden": {"en": "forbidden", "zh": "不可比"},
    "allowed": {"en": "allowed", "zh": "允许"},
    "figures": {"en": "Figures", "zh": "指标"},
    "figure": {"en": "Figure", "zh": "指标"},
    "run": {"en": "Run", "zh": "轮次"},
    "runs": {"en": "Runs", "zh": "各轮结果"},
    "change": {"en": "Change", "zh": "变化"},
    "interval": {"en": "95 % interval", "zh": "95% 区间"},
    "winner": {"en": "Better", "zh": "更优"},
    "tie": {"en": "tie (within 1 %)", "zh": "持平（1% 以内）"},
    "noise": {"en": "not beyond the noise", "zh": "未超出波动"},
    "after": {
        "en": "not claimed: comes after a figure that shows no difference",
        "zh": "不下结论：排在前面的指标未显示差异",
    },
    "detectable": {"en": "Least detectable", "zh": "最小可检出"},
    "concurrency": {"en": "Concurrency", "zh": "并发"},
    "rate": {"en": "Rate (req/s)", "zh": "请求速率 (req/s)"},
    "trend": {"en": "Trend", "zh": "趋势"},
    "history": {"en": "historical baseline, not measured here", "zh": "历史基线，非本次实测"},
    "source": {"en": "source", "zh": "来源"},
    "not_set": {"en": "not set", "zh": "未设置"},
    "load": {"en": "Load", "zh": "负载"},
    "better": {"en": "better", "zh": "变好"},
    "worse": {"en": "worse", "zh": "变差"},
    "unknown": {"en": "unknown", "zh": "未知"},
    "doubts": {"en": "Why no percentage may be quoted", "zh": "不得引用百分比的原因"},
    "evidence": {"en": "Evidence", "zh": "证据"},
    "partial": {"en": "partial", "zh": "不完整"},
    "no_percentages": {
        "en": "The runs are not comparable or not fit for a claim: no percentage, winner or chart is given.",
        "zh": "各轮不可比或不满足正式结论条件：不给出百分比、优胜方或图表。",
    },
    "request_throughput": {"en": "Request throughput (req/s)", "zh": "请求吞吐量 (req/s)"},
    "output_throughput": {"en": "Output throughput (tok/s)", "zh": "输出吞吐量 (tok/s)"},
    "total_throughput": {"en": "Total throughput (tok/s)", "zh": "总吞吐量 (tok/s)"},
    "ttft_ms": {"en": "TTFT (ms)", "zh": "首 token 延迟 TTFT (ms)"},
    "tpot_ms": {"en": "TPOT (ms)", "zh": "每 token 延迟 TPOT (ms)"},
    "itl_ms": {"en": "ITL (ms)", "zh": "token 间隔 ITL (ms)"},
    "e2e_ms": {"en": "End to end (ms)", "zh": "端到端延迟 (ms)"},
    "server_clock": {"en": "On the server's own clock (means)", "zh": "服务端自身计时（均值）"},
    "queue_ms": {"en": "Queue (ms)", "zh": "排队 (ms)"},
    "cached": {"en": "Prompts from the prefix cache", "zh": "前缀缓存命中"},
    "pass": {"en": "pass", "zh": "通过"},
    "fail": {"en": "fail", "zh": "不通过"},
    "inconclusive": {"en": "inconclusive", "zh": "无定论"},
    "smoke-only": {"en": "smoke only", "zh": "仅冒烟"},
    "master": {"en": "Master report", "zh": "总报告"},
    "sla": {"en": "Service level", "zh": "服务等级 (SLA)"},
}


def word(name: str, language: Language) -> str:
    """The word in that language."""
    return WORDS[name][language]


def reason_of(judged: Judged, language: Language) -> str:
    """Why it was judged so. In Chinese where the figures say it; what a run or a tool told stays in its own words."""
    found = judged.figures.get(judged.judged_by)
    if language == "en" or found is None or found.p is None:
        return judged.reason
    seen = f"{figure_word(judged.judged_by, language)} {found.change:+.1%} (p = {found.p:.3f})"
    if judged.answer in ("pass", "fail") and found.p < ALPHA:
        return f"{word('better' if judged.answer == 'pass' else 'worse', language)}：{seen}"
    if judged.judged_by in judged.tied:
        return f"{word('tie', language)}：{seen}"
    if judged.answer == "inconclusive" and found.p >= ALPHA and found.detectable is not None:
        return f"{word('noise', language)}：{seen}；{word('detectable', language)} {found.detectable:.1%}"
    return judged.reason


def figure_word(name: str, language: Language) -> str:
    """`ttft_ms.p99` as a heading."""
    head, _, tail = name.partition(".")
    return f"{word(head, language)} {tail}".strip()
