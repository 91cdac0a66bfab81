"""The gate's requests: a text, an image, a video, an audio where the model takes them, a second text.

In: a server that lists its model. Out: `Asked` for each request, with the exact body sent and received.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from seatrial.core.record import Record

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
Medium = Literal["image", "video", "audio"]


class Question(Record):
    """One request to send; `body` is plain data."""

    name: Literal["text", "image", "video", "audio", "second"]
    path: str
    body: dict[str, Any]


def questions(model: str, *, chat: bool, media: Sequence[Medium]) -> list[Question]:
    """What the gate asks: chat where the checkpoint has a template, else plain completions.

    The first request is as users send it. The second also asks for log-probabilities, so that NaN shows: an engine
    with broken weights answers the first with 200 and refuses the second.
    """
    asked = [text("text", model, "Say hello to the crew in one short sentence.", chat=chat, tokens=16)]
    asked.extend(with_media(name, model) for name in media)
    asked.append(text("second", model, "Count from one to ten.", chat=chat, tokens=24))
    return asked


def text(name: Literal["text", "second"], model: str, prompt: str, *, chat: bool, tokens: int) -> Question:
    """Greedy; the second with the log-probabilities of the sampled tokens."""
    body: dict[str, Any] = {"model": model, "temperature": 0, "max_tokens": tokens}
    if name == "second":
        body["logprobs"] = True if chat else 0
    if chat:
        return Question(name=name, path=CHAT, body={**body, "messages": [{"role": "user", "content": prompt}]})
    return Question(name=name, path=COMPLETIONS, body={**body, "prompt": prompt})


def with_media(name: Medium, model: str) -> Question:
    """A text and a medium made on the spot, in the OpenAI form."""
    from seatrial.gates.media import data_url, frames, png, wav

    part: dict[str, Any]
    if name == "image":
        words = "What is in this picture?"
        part = {"type": "image_url", "image_url": {"url": data_url(png(), "image/png")}}
    elif name == "video":
        words = "What happens in this video?"
        part = {"type": "video_url", "video_url": {"url": frames()}}
    else:
        words = "What do you hear?"
        part = {"type": "input_audio", "input_audio": {"data": base64.b64encode(wav()).decode(), "format": "wav"}}
    body = {
        "model": model,
        "temperature": 0,
        "max_tokens": 16,
        "messages": [{"role": "user", "content": [{"type": "text", "text": words}, part]}],
        "logprobs": True,
    }
    return Question(name=name, path=CHAT, body=body)


def has_chat_template(checkpoint: Path) -> bool:
    """Is there a chat template among the checkpoint's files? Bounded reads; broken files count as none."""
    if (checkpoint / "chat_template.jinja").is_file() or (checkpoint / "chat_template.json").is_file():
        return True
    file = checkpoint / "tokenizer_config.json"
    try:
        if not file.is_file() or file.stat().st_size > 64 << 20:
            return False
        document = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and bool(document.get("chat_template"))
