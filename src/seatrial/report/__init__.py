"""The report of a run: one self-contained HTML file and the same as Markdown, written from its evidence."""

from seatrial.report.write import write_report

__all__ = ["write_report"]
