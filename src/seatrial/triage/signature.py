"""A signature: how one kind of line is recognised, what it means, what to do, and the cases that prove it.

The families under `signatures/` declare these; tests, the docs page and the liveness check are made from the same
declarations. A signature looks at one event: its message, its exception class, the frames of its traceback; and, where
a line means nothing alone, at the context lines of the log (the command, the engine's arguments).
"""

from __future__ import annotations

import re
from enum import Enum, IntEnum
from functools import cached_property
from typing import Literal

import msgspec

from seatrial.core.record import Record
from seatrial.triage.anchors import anchors
from seatrial.triage.categories import CATEGORIES
from seatrial.triage.record import Event


class Kind(str, Enum):
    ROOT = "root"
    WRAPPER = "wrapper"
    NOISE = "noise"
    CONSEQUENCE = "consequence"
    EVIDENCE = "evidence"


class Tier(IntEnum):
    """How much a match proves. Tiers decide between matches, and what confidence the answer has."""

    WEAK = 1  # where the exception was raised, nothing about its text
    SHAPE = 2  # exception class, place and message shape agree
    LITERAL = 3  # the text is written for exactly this failure
    EXACT = 4  # a literal that a more general literal would also match


class Signature(Record):
    """`pattern`, `raised`, `frames` and `context` must all match where they are given.

    `pattern` is searched in the line's text (for an exception without a message also in the innermost source line);
    `raised` must match the whole class name without module; `frames` is searched in "path:function" of any frame,
    `innermost` in the last frame's, `code` in the last frame's source line (to tell an explicit `raise` or `assert`
    from a failure inside an operator); `context` in the log's context lines; `unless` must not be found in the text,
    `not_in` not in the innermost frame (wording that many parts share says less than the part that raised it).
    `yields`: this failure often follows from another one, so any firmer match goes first; "peer" also steps back when
    an unknown failure stands before it.
    `anchor` is the text to look for in the sources, where the pattern's own literals are not it ("" for those, "-" for
    text that no Python source holds: libraries, drivers, tools).
    `learned`: a person wrote it for a failure that the second opinion had not met, so that opinion is not asked.
    """

    id: str
    kind: Kind
    category: str
    tier: Tier
    pattern: str
    cause: str
    next_step: str
    raised: str = ""
    frames: str = ""
    innermost: str = ""
    code: str = ""
    context: str = ""
    unless: str = ""
    not_in: str = ""
    yields: Literal["", "peer", "any"] = ""
    rung: str = ""
    versions: dict[str, str] = msgspec.field(default_factory=dict)
    sources: tuple[str, ...] = ()
    anchor: str = ""
    matches: tuple[str, ...] = ()
    rejects: tuple[str, ...] = ()
    learned: bool = False

    def __post_init__(self) -> None:
        if self.kind is Kind.ROOT and self.category not in CATEGORIES:
            raise ValueError(f"signature {self.id}: {self.category!r} is not a category")
        if not (self.pattern or self.frames or self.innermost):
            raise ValueError(f"signature {self.id} would match everything")


class Matcher:
    """A signature with its patterns compiled."""

    def __init__(self, signature: Signature, order: int) -> None:
        self.signature = signature
        self.order = order
        self.pattern = re.compile(signature.pattern) if signature.pattern else None
        self.unless = re.compile(signature.unless) if signature.unless else None
        self.not_in = re.compile(signature.not_in) if signature.not_in else None
        self.raised = re.compile(signature.raised) if signature.raised else None
        self.frames = re.compile(signature.frames) if signature.frames else None
        self.innermost = re.compile(signature.innermost) if signature.innermost else None
        self.code = re.compile(signature.code) if signature.code else None
        self.context = re.compile(signature.context) if signature.context else None
        self.literals = anchors(signature.pattern) if signature.pattern else ()

    def matches(self, view: EventView, context: str) -> bool:
        if self.literals and not any(literal in view.subject for literal in self.literals):
            return False
        if self.raised and not self.raised.fullmatch(view.exception):
            return False
        if self.pattern and not self.pattern.search(view.subject):
            return False
        if self.unless and self.unless.search(view.subject):
            return False
        if self.not_in and self.not_in.search(view.innermost):
            return False
        if self.frames and not self.frames.search(view.places):
            return False
        if self.innermost and not self.innermost.search(view.innermost):
            return False
        if self.code and not self.code.search(view.code):
            return False
        return not (self.context and not self.context.search(context))


PLUMBING = re.compile(
    r"/torch/(?:_ops|nn/modules/\w+|utils/_contextlib|fx/\w+|_library/\w+)\.py|torch/_tensor\.py|<eval_with_key>|contextlib\.py|importlib|"
    r"<frozen |/vllm/(?:config/vllm|envs|logger|tracing/\w+|custom_op|model_executor/custom_op|utils/\w+|utils)\.py|"
    r"configuration_utils\.py:__getattribute__|/enum\.py|functools\.py|concurrent/futures|/torch/_dynamo/(?:eval_frame|external_utils)\.py"
)


class EventView:
    """What a signature may look at."""

    def __init__(self, event: Event) -> None:
        self.event = event
        self.exception = event.exception.rpartition(".")[2]

    @cached_property
    def subject(self) -> str:
        """The line, and the failing source line behind it when the exception says little itself."""
        code = self.event.frames[-1].code if self.event.frames else ""
        if not self.event.exception and self.event.logger:
            return f"{self.event.text}\n[{self.event.logger}]"
        return f"{self.event.text}\n{code}" if code and len(self.event.message) < 40 else self.event.text

    @cached_property
    def code(self) -> str:
        """The source line of the last frame, where the log shows it."""
        return self.event.frames[-1].code if self.event.frames else ""

    @cached_property
    def places(self) -> str:
        return "\n".join(f"{f.path}:{f.function}" for f in self.event.frames)

    @cached_property
    def innermost(self) -> str:
        """The last frame that says what was being done: library plumbing below it is passed over."""
        for frame in reversed(self.event.frames):
            place = f"{frame.path}:{frame.function}"
            if not PLUMBING.search(place):
                return place
        last = self.event.frames[-1] if self.event.frames else None
        return f"{last.path}:{last.function}" if last else ""


class Library:
    """All signatures, ready to match. Refuses two signatures of one id."""

    def __init__(self, signatures: tuple[Signature, ...]) -> None:
        seen: set[str] = set()
        for signature in signatures:
            if signature.id in seen:
                raise ValueError(f"two signatures are called {signature.id!r}")
            seen.add(signature.id)
        self.signatures = signatures
        self.matchers = [Matcher(s, i) for i, s in enumerate(signatures)]

    def of(self, event: Event, context: str) -> list[Signature]:
        """Every signature that matches the event, best first: learned ones, higher tier, earlier declaration."""
        view = EventView(event)
        found = [m for m in self.matchers if m.matches(view, context)]
        found.sort(key=lambda m: (not m.signature.learned, -m.signature.tier, m.order))
        return [m.signature for m in found]
