"""What the engine answered, looked at: a 200 with nonsense in it is a finding.

In: an answer of a chat or completion request. Out: an `Answer` and findings G101…G106. Refuses nothing.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from seatrial.core.finding import Finding, Severity
from seatrial.core.record import Record

Stage = Literal["dummy", "real"]
REPEATED = 8  # tokens; one token this often and nothing else is no sentence in any language
CLAMPED = -9998.0  # vLLM writes -9999.0 where a log-probability is minus infinity


class Answer(Record):
    """The parts of an answer that are judged. `logprobs` of the sampled tokens; None if they were not delivered."""

    text: str
    finish_reason: str
    completion_tokens: int | None
    tokens: tuple[str, ...] | None
    logprobs: tuple[float | None, ...] | None


def read_answer(document: Any) -> Answer | None:
    """The first choice of an OpenAI-compatible answer; None if the document is none."""
    try:
        choice = document["choices"][0]
        message = choice.get("message")
        # A reasoning parser moves everything into `reasoning` when the answer is cut short inside the thoughts.
        parts = [message.get("content"), message.get("reasoning")] if message is not None else [choice.get("text")]
        text = next((p for p in parts if isinstance(p, str) and p), "")
        usage = document.get("usage") or {}
        count = usage.get("completion_tokens")
        tokens, logprobs = _tokens(choice.get("logprobs"))
        return Answer(
            text=text,
            finish_reason=str(choice.get("finish_reason")),
            completion_tokens=count if isinstance(count, int) else None,
            tokens=tokens,
            logprobs=logprobs,
        )
    except (KeyError, IndexError, TypeError, AttributeError):
        return None


def look(answer: Answer, stage: Stage, place: str, *, asked: bool = False) -> list[Finding]:
    """Findings about one answer. Dummy weights may talk nonsense: there only warnings.

    `asked`: the request wanted log-probabilities.
    """
    hard = Severity.ERROR if stage == "real" else Severity.WARNING
    found = []
    if not answer.text.strip():
        told = "unknown" if answer.completion_tokens is None else str(answer.completion_tokens)
        message = f"the text is empty ({told} tokens, finish reason {answer.finish_reason})"
        found.append(_finding("G101", hard, place, message, "Compare the weights: seatrial run … --stages dry."))
    pieces = answer.tokens if answer.tokens is not None else tuple(answer.text)
    if len(pieces) >= REPEATED and len(set(pieces)) == 1:
        message = f"the answer is {pieces[0]!r} {len(pieces)} times over"
        found.append(_finding("G102", Severity.WARNING, place, message, "Compare with a reference run of the model."))
    if "\ufffd" in answer.text.rstrip("\ufffd"):
        # At the very end it only means that the answer was cut inside a character.
        message = "the text has bytes that do not decode (U+FFFD)"
        found.append(
            _finding("G103", Severity.WARNING, place, message, "Check the tokenizer's files against its source.")
        )
    if asked and not answer.logprobs and (answer.logprobs is None or answer.text.strip()):
        message = "log-probabilities were asked for and none came: whether they are numbers was not seen"
        found.append(_finding("G106", Severity.WARNING, place, message, "Ask the server for them by hand."))
    if answer.logprobs is not None:
        broken = [p for p in answer.logprobs if p is None or math.isnan(p) or math.isinf(p)]
        if broken:
            message = f"{len(broken)} of {len(answer.logprobs)} log-probabilities are not numbers"
            found.append(_finding("G104", hard, place, message, "Look for overflow: try another dtype or eager mode."))
        elif any(p is not None and p <= CLAMPED for p in answer.logprobs):
            message = "the sampled token's log-probability is minus infinity"
            found.append(_finding("G105", hard, place, message, "Look for overflow: try another dtype or eager mode."))
    return found


def _tokens(logprobs: Any) -> tuple[tuple[str, ...] | None, tuple[float | None, ...] | None]:
    """Tokens and log-probabilities from the chat form (`content`) or the completion form (`token_logprobs`)."""
    if not isinstance(logprobs, dict):
        return None, None
    content = logprobs.get("content")
    if isinstance(content, list):
        rows = [row for row in content if isinstance(row, dict)]
        return tuple(str(r.get("token")) for r in rows), tuple(_number(r.get("logprob")) for r in rows)
    if isinstance(logprobs.get("token_logprobs"), list):
        names = logprobs.get("tokens")
        tokens = tuple(str(n) for n in names) if isinstance(names, list) else None
        return tokens, tuple(_number(p) for p in logprobs["token_logprobs"])
    return None, None


def _number(value: Any) -> float | None:
    # JSON's integers have no end, and a float has one.
    known = isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1e300)
    return float(value) if known else None


def _finding(code: str, severity: Severity, place: str, message: str, next_step: str) -> Finding:
    return Finding(code=code, severity=severity, place=place, message=message, next_step=next_step)
