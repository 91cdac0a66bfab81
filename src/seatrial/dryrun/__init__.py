"""The dry run: a checkpoint's names, shapes and dtypes through the engine's own loader; no weights, no device.

`dry()` is the door. In: a folder (config.json and the like), header tensors, a probe session. Out: a `StepResult` whose
facts are a `DryAccount`. Refuses (UsageError): impossible layouts, ranks that do not exist, no tensors at all.
"""

from __future__ import annotations

from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.listing import FILE_NAME as LISTING
from seatrial.dryrun.rules import findings, page, rules
from seatrial.dryrun.run import dry, dry_names
from seatrial.dryrun.served import ServedAs, served_as
from seatrial.dryrun.tensor import HeaderTensor

__all__ = [
    "LISTING", "DryAccount", "HeaderTensor", "ServedAs", "dry", "dry_names", "findings", "page", "rules", "served_as",
]  # fmt: skip
