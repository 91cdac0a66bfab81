"""Evidence changed by somebody who knows its format: every hash is made to join again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def forge(folder: Path, change) -> None:
    """Change records and artifacts as somebody who knows the format would: all hashes are made to join again.

    `change(bodies, facts)` gets the body of each record by step (or kind) and a way to change a step's facts.
    """
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    bodies = {(e["body"].get("step") if e["kind"] == "step" else e["kind"]): e["body"] for e in lines}

    def keep(ref: dict, data: bytes) -> None:
        digest = hashlib.sha256(data).hexdigest()
        name = digest + Path(ref["file"]).suffix
        (folder / "artifacts" / name).write_bytes(data)
        ref.update(sha256=digest, bytes=len(data), file=name)

    def facts(step: str, edit) -> None:
        ref = bodies[step]["facts"]
        data = json.loads((folder / "artifacts" / ref["file"]).read_text())
        edit(data)
        keep(ref, json.dumps(data).encode())

    def artifact(step: str, name: str, edit) -> None:
        ref = next(a for a in bodies[step]["artifacts"] if a["name"] == name)
        keep(ref, edit((folder / "artifacts" / ref["file"]).read_bytes()))

    change(bodies, facts, artifact)
    previous = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    out = []
    for entry in lines:
        entry["previous"] = previous
        line = json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode()
        previous = hashlib.sha256(line).hexdigest()
        out.append(line)
    (folder / "records.jsonl").write_bytes(b"\n".join(out) + b"\n")
    head = {"schema_version": 1, "records": len(out), "sha256": previous}
    (folder / "head.json").write_text(json.dumps(head))
    used = {a["file"] for b in bodies.values() for a in [*b.get("artifacts", []), *filter(None, [b.get("facts")])]}
    for file in (folder / "artifacts").iterdir():
        if file.name not in used:
            file.unlink()
