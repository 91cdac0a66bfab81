"""The manifest of a run about to begin: arguments, target, versions, commits, hardware, environment, input hashes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from seatrial import __version__
from seatrial.core.record import to_plain
from seatrial.core.secrets import REDACTED, redact_plain
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
    return manifest_for(
        name,
        arguments=to_plain(job),
        checkpoint=str(Path(job.checkpoint).resolve()),
        located=located,
        python=str(python),
        versions=versions,
        inputs=inputs,
        argv=argv,
    )


def manifest_for(
    name: str,
    *,
    arguments: dict[str, Any],
    checkpoint: str,
    located: Located | None,
    python: str,
    versions: dict[str, str],
    inputs: dict[str, str],
    argv: tuple[str, ...],
) -> Manifest:
    """The manifest of any kind of run; `arguments` is its job as plain data. `located` None: on no target of ours."""
    told, others = telling_environment(os.environ)
    for secret in _keys(arguments):
        # Whatever the variable is called.
        told = {name: value.replace(secret, REDACTED) for name, value in told.items()}
    here = git_state(Path.cwd())
    return Manifest(
        schema_version=1,
        run_id=name,
        created_at=now(),
        seatrial_version=__version__,
        arguments_given=redact_arguments(argv),
        arguments=redact_plain(arguments),
        checkpoint=checkpoint,
        target=redact_target(to_plain(located.target)) if located is not None else {},
        target_sources=located.sources if located is not None else (),
        python=python,
        versions=versions,
        git=(*([here] if here else []), *(root_states(located.target) if located is not None else ())),
        hardware=hardware(),
        environment=told,
        environment_other_names=others,
        inputs=inputs,
    )


def _keys(arguments: Any) -> set[str]:
    """The values of the variables that a job names as those of a service's key."""
    if not isinstance(arguments, dict):
        return set()
    name = arguments.get("key_env")
    found = {os.environ[name]} if isinstance(name, str) and os.environ.get(name) else set()
    return found.union(*map(_keys, arguments.values()))


def root_states(target: Target) -> tuple[GitState, ...]:
    """The commits, and what differs from them, of the target's source roots that are git checkouts."""
    roots = (Path(r) for r in (target.roots.vllm, target.roots.plugin) if r)
    return tuple(state for state in map(git_state, roots) if state is not None)
