"""Load on a running service: the workload, the generator, the figures, and what outside tools wrote."""

from seatrial.measure.load.dataset import Plan, make_plan
from seatrial.measure.load.generator import LoadRun, Service, drive
from seatrial.measure.load.metrics import Metrics, Spread, measure
from seatrial.measure.load.sla import judge_sla
from seatrial.measure.load.workload import Workload, read_workload

__all__ = [
    "LoadRun",
    "Metrics",
    "Plan",
    "Service",
    "Spread",
    "Workload",
    "drive",
    "judge_sla",
    "make_plan",
    "measure",
    "read_workload",
]
