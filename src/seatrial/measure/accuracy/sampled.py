"""Was the answer sampled greedily? A greedy answer takes the engine's own best candidate at every place.

In: greedy answers with the candidates that the engine itself reported. Out: `Sampled` for the first place of each
answer where it took another one. The candidates are those of the logits before anything is done to them (vLLM's
`raw_logprobs`), so this needs no reference: whatever the weights are, between the logits and the token nothing but the
largest may be chosen. What comes between is the sampler: temperature, penalties, biases, bans, another rank's share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from seatrial.checkpoint import documents
from seatrial.checkpoint.files import Folder
from seatrial.core.errors import UsageError
from seatrial.core.record import Record

# Candidates of one row of logits: a float32 log-softmax, printed. Logits that tie are equal in it.
SURE = 1e-3
# Of generation_config.json, what vLLM gives a request that does not say otherwise, and greedy decoding obeys; with the
# value that changes nothing.
LEAKS = {"repetition_penalty": 1.0}


class Sampled(Record):
    """The first place of an answer, from 0, where its token is not its own best. `margin`: how much less likely (nats);
    at least that, where the token is not even among the candidates.
    """

    prompt: int
    place: int
    token: str
    best: str
    margin: float


def off_best(tokens: Sequence[Any], rows: Sequence[Mapping[Any, float] | None], prompt: int = 0) -> Sampled | None:
    """The first token that is not the best of its row; None where all are, or where nothing was reported."""
    for place, (token, row) in enumerate(zip(tokens, rows, strict=False)):
        if not row:
            continue
        best = max(row, key=lambda t: row[t])
        margin = row[best] - row.get(token, min(row.values()))
        if token not in row or margin > SURE:
            return Sampled(prompt=prompt, place=place, token=str(token), best=str(best), margin=min(margin, 1e9))
    return None


def told(found: Sequence[Sampled], answers: int, defaults: Iterable[str] = ()) -> str:
    """In words, with the defaults of the checkpoint that would explain it."""
    first = found[0]
    text = (
        f"{len(found)} of {answers} greedy answers do not take the engine's own best token: token {first.place} of "
        f"prompt {first.prompt} is {first.token}, {first.margin:.3f} nats below {first.best}"
    )
    said = ", ".join(defaults)
    return f"{text}; generation_config.json sets {said}, which a server gives greedy requests too" if said else text


def next_step(defaults: Iterable[str] = ()) -> str:
    if any(defaults):
        return "Serve with --generation-config vllm, or send the neutral value with the request, and ask again."
    return "Look between the logits and the token: the sampler, logits processors, penalties, speculative decoding."


def leaking(checkpoint: Path) -> tuple[str, ...]:
    """`name value` of the checkpoint's sampling defaults that change a greedy answer."""
    try:
        data = documents.read(Folder(checkpoint), "generation_config.json").data
    except UsageError:
        return ()  # the answers are of a server elsewhere: there is no such folder here
    found = []
    for name, neutral in LEAKS.items():
        value = (data or {}).get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value != neutral:
            found.append(f"{name} {value:g}")
    return tuple(found)
