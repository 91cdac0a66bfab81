"""The reports of one or more loads as files by name: per load and master, in English and Chinese, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Sequence

from seatrial.core.errors import UsageError
from seatrial.measure.compare.page import page
from seatrial.measure.compare.report import Loaded, master, report
from seatrial.measure.compare.words import LANGUAGES


def report_files(loads: Sequence[Loaded]) -> dict[str, str]:
    """`report-LOAD-LANGUAGE` and `master-LANGUAGE`, each `.md` and `.html`, and the charts.

    Raises UsageError for loads that are not of the same two sides, or twice the same load.
    """
    if len({(one.judged.label_a, one.judged.label_b) for one in loads}) != 1:
        raise UsageError("the runs do not compare the same two sides", mend="Name runs with the same --a and --b.")
    names = [_name(one) for one in loads]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise UsageError(f"two runs are at the load {twice}", mend="Name one run a concurrency or rate.")
    files: dict[str, str] = {}
    for language in LANGUAGES:
        whole = master(loads, language)
        text = whole.pop("report.md")
        # A chart's words are in the language of its report.
        charts = {name.replace(".svg", f"-{language}.svg"): svg for name, svg in whole.items()}
        for name in whole:
            text = text.replace(f"({name})", f"({name.replace('.svg', f'-{language}.svg')})")
        files |= charts
        files[f"master-{language}.md"] = text
        files[f"master-{language}.html"] = page(text, charts, language)
        for one, name in zip(loads, names, strict=True):
            told = report(one, language)
            files[f"report-{name}-{language}.md"] = told
            files[f"report-{name}-{language}.html"] = page(told, {}, language)
    return files


def _name(one: Loaded) -> str:
    metrics = one.a[0].metrics
    return f"c{metrics.concurrency}" if metrics.concurrency else f"r{metrics.rate or 0:g}"
