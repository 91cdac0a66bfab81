"""Gates: does it serve? A check that passes only on answered requests; this is the door.

`gate` runs one stage (dummy or real weights) and gives a `StepResult` whose facts are `GateFacts`.
`gate_plan` gives the exact command without starting it.
"""

from seatrial.gates.facts import GateFacts, Milestone, Phase, RequestFacts, Resolved
from seatrial.gates.first_error import LogError, first_error
from seatrial.gates.plan import gate_plan, takes_media
from seatrial.gates.runner import gate

__all__ = [
    "GateFacts",
    "LogError",
    "Milestone",
    "Phase",
    "RequestFacts",
    "Resolved",
    "first_error",
    "gate",
    "gate_plan",
    "takes_media",
]
