"""A line chart as SVG: one line a side over concurrency or rate. Plain text out; values are never read back from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from seatrial.core.quantity import measured

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 320, 70, 46, 34, 16
COLOURS = ("#0b63c5", "#c2410c", "#15803d", "#7c3aed", "#a16207")


def line_chart(title: str, x_name: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """`lines`: name to (x, y) points; a point that is not known is simply not among them. Empty text for no points."""
    points = [p for line in lines.values() for p in line]
    if not points:
        return ""
    xs = sorted({x for x, _ in points})
    most = max(y for _, y in points) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        # Steps of the x axis are even: concurrencies are usually powers of two.
        step = xs.index(x) / max(1, len(xs) - 1) if len(xs) > 1 else 0.5
        across = LEFT + step * (WIDTH - LEFT - RIGHT)
        return across, HEIGHT - BOTTOM - y / (most * 1.08) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'role="img" aria-label="{escape(title)}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="18" font-size="14" fill="#111">{escape(title)}</text>',
    ]
    for tick in range(5):
        value = most * 1.08 * tick / 4
        _, y = place(xs[0], value)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#e5e7eb"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#444">{measured(value)}</text>')
    for x in xs:
        across, _ = place(x, 0)
        parts.append(f'<text x="{across:.1f}" y="{HEIGHT - 26}" text-anchor="middle" fill="#444">{x:g}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle" fill="#444">{escape(x_name)}</text>')
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        spots = [place(x, y) for x, y in sorted(line)]
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.extend(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in spots)
        across = WIDTH - RIGHT - 150
        parts.append(f'<rect x="{across}" y="{10 + number * 16}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{across + 15}" y="{19 + number * 16}" fill="#111">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
