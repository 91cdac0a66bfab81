"""The linter of deliveries: `check_delivery` is the door.

In: a checkout (with a commit or staged files) or a bundle's folder. Out: a `Report`. Rules are functions from a `Case`
to findings, one file per subject; every code is listed in `delivery/codes.py`.
"""

from seatrial.delivery.check.run import Report, check_delivery

__all__ = ["Report", "check_delivery"]
