"""A plan as one self-contained page: the verdict, four charts, and a table beside each.

In: the plan and what was computed with it. Out: HTML of the report's own style. No script, nothing fetched.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from seatrial import __version__
from seatrial.core.quantity import measured
from seatrial.core.record import Record
from seatrial.estimate.curves import Curves
from seatrial.estimate.plan import Plan
from seatrial.estimate.roofline import Speed
from seatrial.report.html import TEMPLATES, asset, environment, hashed
from seatrial.report.plots import short
from seatrial.report.sections.plan import charts

if TYPE_CHECKING:
    from jinja2 import Template


class PlanPage(Record):
    """What the page shows. `peak` (operations per second) and `bandwidth` (bytes per second) are the device's roof."""

    plan: Plan
    device: str
    speed: Speed | None = None
    curves: Curves | None = None
    peak: float | None = None
    bandwidth: float | None = None
    unknown: tuple[str, ...] = ()


def plan_html(page: PlanPage) -> str:
    """The whole page."""
    style = asset("report.css") + asset("plan.css")
    drawn = charts(page.plan, page.speed, page.curves, page.peak, page.bandwidth)
    return _template().render(
        page=page,
        plan=page.plan,
        charts=drawn,
        name=page.plan.checkpoint.rstrip("/").rsplit("/", 1)[-1],
        style=style,
        policy=f"default-src 'none'; style-src {hashed(style)}; base-uri 'none'; form-action 'none'",
        version=__version__,
    )  # fmt: skip


@cache
def _template() -> Template:
    made = environment(TEMPLATES)
    made.filters.update(short=short, measured=measured)
    return made.get_template("plan.html.j2")
