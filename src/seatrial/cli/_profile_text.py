"""Numbers, lines and tables of a profile on a terminal."""

from __future__ import annotations

from seatrial.cli.common import out


def ms(ns: float) -> str:
    """Milliseconds with three decimals."""
    return f"{ns / 1e6:,.3f}"


def us(ns: float) -> str:
    return f"{ns / 1e3:,.1f}"


def percent(part: float) -> str:
    return f"{100 * part:.1f} %"


def line(text: str, style: str = "") -> None:
    out().print(text, style=style, markup=False, soft_wrap=True)


def table(title: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """A title and aligned columns, the last two to the left; nothing without rows."""
    if not rows:
        return
    widths = [max(len(head[i]), *(len(r[i]) for r in rows)) for i in range(len(head))]
    line(f"    {title}", "bold")

    def cells(row: tuple[str, ...]) -> str:
        return "  ".join(
            c.rjust(w) if i < len(row) - 2 else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        )

    line("    " + cells(head).rstrip(), "dim")
    for row in rows:
        line("    " + cells(row).rstrip())
