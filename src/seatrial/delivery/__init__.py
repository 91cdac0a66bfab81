"""Delivery: what a run proved, written for the repository that receives it, and the linter of what was written.

`deliver` refuses or writes and commits; `check_delivery` lints a checkout or a bundle; `verify_bundle` re-derives every
verdict of a run from its raw evidence.
"""

from seatrial.delivery.check import check_delivery
from seatrial.delivery.deliver import Result, deliver
from seatrial.delivery.order import Delivered, Order, Plan

__all__ = ["Delivered", "Order", "Plan", "Result", "check_delivery", "deliver"]
