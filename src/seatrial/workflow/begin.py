"""The manifest of a run about to begin: arguments, target, versions, commits, hardware, environment, input hashes."""

from __future__ import annotations

import os
from pathlib import Path

from seatrial import __version__
from seatrial.core.record import to_plain
from seatrial.evidence import Manifest
from seatrial.evidence.manifest import (
    GitState,
    git_state,
    hardware,
    redact_arguments,
    redact_target,
    telling_environment,
)
from seatrial.evidence.records import now
from seatrial.targets import Located, Target
from seatrial.workflow.job import Job


def manifest_of(
    name: str,
    job: Job,
    located: Located,
    python: Path,
    versions: dict[str, str],
    inputs: dict[str, str],
    argv: tuple[str, ...],
) -> Manifest:
    told, others = telling_environment(os.environ)
    here = git_state(Path.cwd())
    target = redact_target(to_plain(located.target))
    return Manifest(
        schema_version=1,
        run_id=name,
        created_at=now(),
        seatrial_version=__version__,
        arguments_given=redact_arguments(argv),
        arguments=to_plain(job),
        checkpoint=str(Path(job.checkpoint).resolve()),
        target=target,
        target_sources=located.sources,
        python=str(python),
        versions=versions,
        git=(*([here] if here else []), *root_states(located.target)),
        hardware=hardware(),
        environment=told,
        environment_other_names=others,
        inputs=inputs,
    )


def root_states(target: Target) -> tuple[GitState, ...]:
    """The commits, and what differs from them, of the target's source roots that are git checkouts."""
    roots = (Path(r) for r in (target.roots.vllm, target.roots.plugin) if r)
    return tuple(state for state in map(git_state, roots) if state is not None)
