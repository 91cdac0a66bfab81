"""From what was seen to the ending of a gate. Pure: facts in, an ending with its reason out."""

from __future__ import annotations

from seatrial.core.finding import Finding, errors
from seatrial.core.record import Record
from seatrial.engine.border import describe_exit
from seatrial.gates.facts import Ending, RequestFacts
from seatrial.gates.first_error import LogError
from seatrial.gates.readiness import Readiness
from seatrial.gates.server import Departure


class Judgement(Record):
    ending: Ending
    reason: str


def judge(
    readiness: Readiness,
    requests: tuple[RequestFacts, ...],
    findings: tuple[Finding, ...],
    *,
    alive: str,
    departure: Departure,
    error: LogError | None,
    deaths: tuple[str, ...] = (),
) -> Judgement:
    """`deaths`: what the engine says of its workers. `alive` is empty when the engine answered after the last request,
    else what happened instead.
    """
    died = f"; worker {', '.join(deaths)}" if deaths else ""
    log = died + f"; the log's first error: {error.text[:300]}" if error is not None else ""
    if readiness.ending is not None:
        return Judgement(ending=readiness.ending, reason=readiness.reason + log)
    bad = next((r for r in requests if r.trouble), None)
    ended = "" if departure.asked or departure.exit_code is None else describe_exit(departure.exit_code)
    if bad is not None or alive:
        refused = bad is not None and bad.status is not None and 400 <= bad.status < 500 and not alive
        what = f"the {bad.name} request failed: {bad.trouble}" if bad is not None else alive
        if refused and "JSON compliant" in what:
            # vLLM checks neither logits nor log-probabilities: a NaN shows when the answer cannot be written as JSON.
            return Judgement(ending="bad-output", reason=f"log-probabilities are not numbers: {what}")
        if refused:
            return Judgement(ending="request-refused", reason=what + log)
        if ended and "ended" not in what:
            what += f"; the server ended {ended}"
        return Judgement(ending="false-ready", reason=f"false-ready: /v1/models named the model, then {what}{log}")
    wrong = errors(findings)
    if wrong:
        return Judgement(ending="bad-output", reason="; ".join(f"{f.place}: {f.message}" for f in wrong))
    if departure.left:
        pids = ", ".join(str(p) for p in departure.left)
        return Judgement(ending="leftovers", reason=f"processes that no signal ends are left: {pids}")
    return Judgement(ending="ready", reason="")
