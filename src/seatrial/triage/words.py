"""What a failure says, as weighted words: the only thing the second opinion (likeness.py) looks at.

In: the event that the judge holds for the cause, the other events, the context lines, and whether the engine was ready.
Out: a mapping from a word (with a prefix that says where it stood) to a weight. The bench that learns the table calls
the same function, so that what was learned and what is asked are the same thing.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Sequence
from itertools import pairwise

from seatrial.triage.record import Event

WORD = re.compile(r"[A-Za-z_][A-Za-z_0-9]{1,60}|[A-Z]{1,2}\d{4,5}|\d{5,6}|\[Errno \d{1,3}\]|--?[a-z][a-z-]{2,40}")
# The parts of a name: camel case, snake case, digits.
PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
FOLDER = re.compile(r"[A-Za-z_]\w{2,40}")
LOUD = {"ERROR", "FATAL", "CRITICAL", "WARNING"}
# Weights by where a word stands, chosen on incidents that the table had not seen (bench/triage_words.py).
PAIR, CODE, PLACE, OUTER, FAR = 0.4, 0.6, 1.3, 0.65, 0.3
OTHER, CONTEXT, STATE, NEAR, BOTH, PLAIN = 0.65, 0.5, 0.7, 0.6, 0.5, 0.7
# The same word or sign again and again, as broken answers have it; not the rulers that logs draw.
REPEATED = re.compile(r"(?<!\w)(\w{1,12})(?:[ ,.]{1,3}\1){3,}(?!\w)|([^\W_])\2{5,}|([!?,。、的])\3{4,}")
MAX_CHARS = 1500
MAX_EVENTS = 300
FRAMES = 6
NEIGHBOURS = 14  # lines around the failure whose words count, whatever their level
# Whose code raised: an AttributeError in a plugin is another failure than one in transformers.
PACKAGES = {
    "vllm", "vllm_ascend", "vllm_kunlun", "vllm_gaudi", "vllm_omni", "sglang", "xllm", "torch", "torch_npu", "torchair",
    "triton", "transformers", "tokenizers", "huggingface_hub", "modelscope", "safetensors", "compressed_tensors",
    "msmodelslim", "mindie_turbo", "mooncake", "lmcache", "ray", "peft", "xgrammar", "outlines", "flashinfer", "verl",
    "lm_eval", "evalscope", "ais_bench", "opencompass", "pydantic", "fastapi", "starlette", "zmq", "importlib",
    "multiprocessing", "diffusers", "swift", "tbe", "te",
}  # fmt: skip
STATEMENT = re.compile(r"\s{0,40}(assert|raise|import|from|return)\b")
Put = Callable[[str, float], None]


def split(text: str) -> list[str]:
    """The words of a text in lower case, and the parts of compound names behind each."""
    found: list[str] = []
    for word in WORD.findall(text[:MAX_CHARS]):
        found.append(word.lower())
        parts = [p.lower() for p in PART.findall(word)]
        if len(parts) > 1:
            found.extend(p for p in parts if len(p) > 2)
    return found


def describe(
    focus: Event | None, events: Sequence[Event], context: str, plain: Sequence[str], *, ready: bool, requests: int
) -> dict[str, float]:
    """The words of a failure. `focus` is the event that says most about the cause.

    Where there is none, the `plain` lines (without a level) are the failure: an answer that is wrong, a score.
    """
    found: dict[str, float] = {}

    def put(name: str, weight: float) -> None:
        if found.get(name, 0.0) < weight:
            found[name] = weight

    if focus is not None:
        words = split(focus.text)
        for word in words:
            put(f"m:{word}", 1.0)
        for one, two in pairwise(words):
            put(f"n:{one} {two}", PAIR)
        if focus.exception:
            put(f"e:{focus.exception.rpartition('.')[2]}", 1.0)
        _places(focus, put)
    else:
        for line in plain[:MAX_EVENTS]:
            for word in split(line):
                put(f"q:{word}", PLAIN)
            if REPEATED.search(line):
                put("q:<repeated>", PLAIN)
    for event in events[:MAX_EVENTS]:
        if event.level in LOUD or event.exception:
            for word in split(event.text):
                put(f"o:{word}", OTHER)
    for event in _near(focus, events):
        if event.level not in LOUD and not event.exception and event is not focus:
            for word in split(event.text):
                put(f"i:{word}", NEAR)
    for line in context.splitlines()[:MAX_EVENTS]:
        for word in split(line):
            put(f"x:{word}", CONTEXT)
    if ready:
        put("s:ready", STATE)
        if not requests:
            put("s:first-request", STATE)
    return found


def _near(focus: Event | None, events: Sequence[Event]) -> list[Event]:
    """The lines that stand next to the failure; the first ones where nothing failed."""
    if focus is None:
        return list(events[:NEIGHBOURS])
    return heapq.nsmallest(NEIGHBOURS, events, key=lambda event: abs(event.order - focus.order))


def _places(focus: Event, put: Put) -> None:
    """Folders, files and functions of the innermost frames, the raising one at full weight; its source line."""
    raised = focus.exception.rpartition(".")[2] or f"L{focus.level}"
    put(f"k:{raised}|{'f' if focus.frames else 'nof'}", BOTH)
    for depth, frame in enumerate(reversed(focus.frames)):
        weight = PLACE if depth == 0 else OUTER if depth < FRAMES else FAR
        for part in frame.path.split("/")[-5:]:
            for name in FOLDER.findall(part):
                put(f"p:{name.lower()}", weight)
        put(f"f:{frame.function}", weight)
        if depth == 0:
            for word in split(frame.code):
                put(f"c:{word}", CODE)
            parts = frame.path.split("/")
            package = next((part for part in parts if part in PACKAGES), "other")
            for place in (parts[-1].removesuffix(".py"), frame.function, f"pk:{package}", *parts[-2:-1]):
                put(f"k:{raised}|{place}", BOTH)
            if statement := STATEMENT.match(frame.code):
                put(f"k:{raised}|{statement[1]}", BOTH)
