"""The ladder on real starts: the same gate again with one rung's change each time.

In: a gate that failed, and what it was started with. Out: the ladder's `StepResult`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from seatrial.core.step import StepResult
from seatrial.gates.ladder import Rung, climb, switches
from seatrial.gates.runner import gate
from seatrial.targets import Target


def ladder(
    first: StepResult,
    checkpoint: Path,
    target: Target,
    *,
    python: Path,
    stage: Literal["dummy", "real"],
    scratch: Path,
    tp: int | None = None,
    max_model_len: int | None = None,
    multimodal: bool = False,
    extra_args: Sequence[str] = (),
    say: Callable[[str], None] = lambda text: None,
) -> StepResult:
    """Climb from `first`; the other arguments are those of its `gate`. Each rung writes below `scratch`."""

    def run(rung: Rung) -> StepResult:
        kept = [word for group in switches(extra_args) if group != rung.without for word in group]
        return gate(
            checkpoint,
            target,
            python=python,
            stage=stage,
            scratch=scratch / rung.name,
            tp=rung.tp or tp,
            max_model_len=max_model_len,
            multimodal=multimodal and not rung.text_only,
            extra_args=(*kept, *rung.args),
            env=rung.env,
            drop=rung.drop,
            say=say,
        )

    return climb(first, extra_args, run, multimodal=multimodal, optional=optional(target), say=say)


def optional(target: Target) -> tuple[str, ...]:
    """Those of the target's own arguments that a server can do without: each switches a feature on.

    One that is false is not given, and leaving it out would be the same start again.
    """
    return tuple(name for name, value in target.serve.args.items() if name in FEATURES and value is not False)


# By vLLM 0.11 to 0.32. Sizes, limits, formats and names are no features: without them it would be another trial.
FEATURES = frozenset(
    {
        "additional-config",
        "async-scheduling",
        "compilation-config",
        "data-parallel-size",
        "enable-chunked-prefill",
        "enable-expert-parallel",
        "enable-lora",
        "enable-prefix-caching",
        "kv-cache-dtype",
        "kv-transfer-config",
        "mm-encoder-tp-mode",
        "pipeline-parallel-size",
        "quantization",
        "speculative-config",
    }
)
