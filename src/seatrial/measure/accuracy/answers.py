"""Greedy answers with log-probabilities for every position, from a server or from the engine in its interpreter.

In: prompts. Out: `Answered` per prompt, the same from both ways. Refuses (EngineError): a server that does not hand out
token ids or log-probabilities; a probe that does not answer.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from seatrial.core.errors import EngineError
from seatrial.core.record import Record
from seatrial.engine.border import ProbeSession
from seatrial.gates.client import Client
from seatrial.gates.media import data_url, png
from seatrial.gates.requests import CHAT, COMPLETIONS

TOP = 20  # the most a server gives without being told otherwise


class Asked(Record):
    """One prompt; `image` says whether the picture of `gates.media` goes with it.

    `chat`: the picture and the text are a message of the user, which the checkpoint's chat template renders.
    """

    text: str
    image: bool = False
    chat: bool = False


class Answered(Record):
    """`top[i]` are the engine's best candidates (token id to log-probability) for position i of `prompt_ids + tokens`.

    None where the engine says nothing (the first token). Positions below `len(prompt_ids)` were computed in prefill.
    """

    asked: Asked
    prompt_ids: tuple[int, ...]
    tokens: tuple[int, ...]
    top: tuple[dict[int, float] | None, ...]


class Engine(Record):
    """How the engine is run without a server. `dtype` is its own word for it (`auto`, `float32`, …)."""

    checkpoint: str
    dtype: str = "auto"
    tp: int = 1
    max_model_len: int | None = None
    args: dict[str, Any] = msgspec.field(default_factory=dict)
    patch: str = ""


class InProcess(Record):
    """What the probe answered; `modules` and `watched` (prompt_ids, tokens) are filled when a capture was asked for."""

    answers: tuple[Answered, ...]
    modules: tuple[dict[str, Any], ...]
    watched: dict[str, list[int]]
    dtype: str
    engine: str
    load_s: float
    ask_s: float


def in_process(
    session: ProbeSession,
    engine: Engine,
    asked: Sequence[Asked],
    *,
    max_tokens: int,
    capture: Path | None = None,
    keep: bool = False,
    timeout_s: float = 600.0,
    say: Any = None,
) -> InProcess:
    """The engine in the probe's process; raises EngineError with the probe's own words if it does not answer."""
    request = {
        "checkpoint": engine.checkpoint,
        "dtype": engine.dtype,
        "tp": engine.tp,
        "max_model_len": engine.max_model_len,
        "args": engine.args,
        "prompts": [plain(a) for a in asked],
        "max_tokens": max_tokens,
        "top": TOP,
        "patch": engine.patch,
        "capture": str(capture) if capture is not None else "",
        "keep": keep,
    }
    reply = session.call("accuracy_engine", request, timeout_s=timeout_s, progress=say)
    if reply.status != "answered":
        raise EngineError(f"the engine did not answer: {reply.trouble()}", mend=f"Its log is {reply.log}.")
    answer = reply.answer
    if len(answer["answers"]) != len(asked):
        raise EngineError(
            f"the engine answered {len(answer['answers'])} of {len(asked)} prompts", mend=f"Its log is {reply.log}."
        )
    answered = tuple(
        Answered(
            asked=a,
            prompt_ids=tuple(row["prompt_ids"]),
            tokens=tuple(row["tokens"]),
            top=tuple(_numbered(t) for t in (*row["prompt_top"], *row["top"])),
        )
        for a, row in zip(asked, answer["answers"], strict=True)
    )
    return InProcess(
        answers=answered,
        modules=tuple(answer["modules"]),
        watched=answer["watched"],
        dtype=answer["dtype"],
        engine=answer["engine"],
        load_s=answer["load_s"],
        ask_s=answer["ask_s"],
    )


def plain(asked: Asked) -> dict[str, Any]:
    """A prompt as the probes take it."""
    image = base64.b64encode(png()).decode() if asked.image else ""
    return {"text": asked.text, "image": image, "chat": asked.chat}


def served(client: Client, asked: Sequence[Asked], *, max_tokens: int) -> tuple[Answered, ...]:
    """Ask a running server, one prompt at a time: as completions, a picture in a chat message."""
    return tuple(_served(client, a, max_tokens) for a in asked)


def _served(client: Client, asked: Asked, max_tokens: int) -> Answered:
    body: dict[str, Any] = {
        "max_tokens": max_tokens,
        "temperature": 0,
        "ignore_eos": True,
        "prompt_logprobs": TOP,
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
    }
    if asked.image:
        picture = {"type": "image_url", "image_url": {"url": data_url(png(), "image/png")}}
        content = [picture, {"type": "text", "text": asked.text}]
        body |= {"messages": [{"role": "user", "content": content}], "logprobs": True, "top_logprobs": TOP}
        reply = client.post(CHAT, body)
    else:
        reply = client.post(COMPLETIONS, body | {"prompt": asked.text, "logprobs": TOP})
    if reply.how != "answered" or reply.status == 404:
        raise EngineError(
            f"the server did not answer: {reply.trouble()}",
            mend="Is it up? Check --url, and --model (the name that /v1/models lists).",
        )
    if reply.trouble():
        raise EngineError(
            f"the server refused a prompt with log-probabilities: {reply.trouble()}",
            mend="Parity needs logprobs and prompt_logprobs of 20; try --in-process.",
        )
    try:
        document = reply.json()
        choice = document["choices"][0]
        # The chat endpoint says what it knows of the prompt once, the other one for each choice.
        prompt = document if asked.image else choice
        prompt_ids = tuple(int(t) for t in prompt["prompt_token_ids"])
        tokens = tuple(int(t) for t in choice["token_ids"])
        before = [_numbered(row) for row in prompt["prompt_logprobs"]]
        if asked.image:
            said = [{t["token"]: t["logprob"] for t in c["top_logprobs"]} for c in choice["logprobs"]["content"]]
        else:
            said = choice["logprobs"]["top_logprobs"]
        after = [_numbered(row) for row in said]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as exc:
        raise EngineError(
            f"the server's answer lacks token ids or log-probabilities ({type(exc).__name__}: {exc})",
            mend="Parity needs a server of vLLM 0.10 or later, or --in-process.",
        ) from exc
    if len(before) != len(prompt_ids) or len(after) != len(tokens):
        # Every position behind the one left out would be held against its neighbour.
        have, wanted = len(before) + len(after), len(prompt_ids) + len(tokens)
        raise EngineError(
            f"the server gives log-probabilities of {have} of {wanted} tokens",
            mend="Parity needs them of every token: try --in-process.",
        )
    return Answered(asked=asked, prompt_ids=prompt_ids, tokens=tokens, top=(*before, *after))


def _numbered(row: Any) -> dict[int, float] | None:
    """`{"token_id:5": -0.1}` and `{"5": {"logprob": -0.1}}` and `{"5": -0.1}` alike."""
    if row is None:
        return None
    found = {}
    for key, value in row.items():
        number = float(value["logprob"] if isinstance(value, dict) else value)
        found[int(str(key).removeprefix("token_id:"))] = number
    return found
