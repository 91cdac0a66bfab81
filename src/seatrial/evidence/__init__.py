"""Evidence: the workspace folder, its runs, their append-only records and content-addressed artifacts."""

from seatrial.evidence.advice import ADVICE, deciding, verdict_of
from seatrial.evidence.artifacts import ArtifactRef
from seatrial.evidence.index import RunRow, list_runs
from seatrial.evidence.manifest import Manifest, redact
from seatrial.evidence.run import Run, StoredStep
from seatrial.evidence.verify import Verification, verify_run
from seatrial.evidence.workspace import Workspace, open_workspace

__all__ = [
    "ADVICE",
    "ArtifactRef",
    "Manifest",
    "Run",
    "RunRow",
    "StoredStep",
    "Verification",
    "Workspace",
    "deciding",
    "list_runs",
    "open_workspace",
    "redact",
    "verdict_of",
    "verify_run",
]
