"""Will it fit, how fast can it be, and with which flags: answered before a device is touched.

`make_plan` is the door for memory and capacity (a `Plan`); `read_model` reads what it needs from a checkpoint. Map:
model, layout, engine_rules (what is given) · matrices*, schemes, storage, weights (weights per rank) · kv_layers,
kv_groups (cache) · memory, calibrate, from_log (buckets) · plan, changes (the answer) · compute, roofline, whatif,
measured, recommend (speed and flags).
"""

from seatrial.estimate.engine_rules import EngineRules, engine_rules
from seatrial.estimate.layout import Layout, Serving
from seatrial.estimate.model import Model, read_model
from seatrial.estimate.plan import Plan, make_plan

__all__ = ["EngineRules", "Layout", "Model", "Plan", "Serving", "engine_rules", "make_plan", "read_model"]
