"""The skills that ship with seatrial, put where an agent looks for them, and taken away again.

In: an agent's name or a folder. Out: what became of each skill. Asking twice changes nothing; a folder that is not
ours, or that somebody edited, is refused and left as it is.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Literal

import msgspec

from seatrial import __version__
from seatrial.core.atomic import write_atomic
from seatrial.core.errors import FileFormatError, UsageError, WorkspaceError
from seatrial.core.record import Record, from_json, to_json

# Where each agent looks, below a project's folder (their own documentation, 2026-11).
AGENTS = {
    "claude": ".claude/skills",
    "codex": ".agents/skills",
    "opencode": ".opencode/skills",
    "generic": ".agents/skills",
}
MARK = ".seatrial-skill.json"


class Skill(Record):
    """`files`: path inside the skill's folder to SHA-256."""

    name: str
    description: str
    folder: str
    files: dict[str, str]


class Mark(Record):
    """What was installed, so that it can be recognised and taken away."""

    schema_version: int
    skill: str
    seatrial_version: str
    files: dict[str, str] = msgspec.field(default_factory=dict)


class Installed(Record):
    skill: str
    place: str
    state: Literal["installed", "updated", "unchanged", "removed", "absent"]


def skills_folder() -> Path:
    """Beside the package in a wheel, at the top of a source checkout; raises WorkspaceError if they are in neither."""
    package = Path(__file__).resolve().parents[1]
    for place in (package / "skills", package.parents[1] / "skills"):
        if place.is_dir():
            return place
    raise WorkspaceError("the skills are not installed", mend="Install seatrial from its wheel or a whole checkout.")


def read_skills() -> tuple[Skill, ...]:
    """All skills, by name."""
    return tuple(_read(f) for f in sorted(skills_folder().iterdir()) if (f / "SKILL.md").is_file())


def front_matter(text: str, where: str) -> dict[str, str]:
    """The `key: value` lines between the first two `---`; raises FileFormatError without name and description."""
    parts = text.split("---\n", 2)
    if len(parts) < 3 or parts[0].strip():
        raise FileFormatError(f"{where} does not begin with front matter")
    rows = (line.partition(":") for line in parts[1].splitlines() if line.strip())
    found = {key.strip(): value.strip().strip('"') for key, _, value in rows}
    if not found.get("name") or not found.get("description"):
        raise FileFormatError(f"{where}: its front matter lacks name or description")
    return found


def install(agent: str, base: Path, *, link: bool = False) -> tuple[Installed, ...]:
    """Copy (or link) every skill below `base`, where the agent looks."""
    place = base / AGENTS[agent]
    skills = read_skills()
    for skill in skills:
        _refuse_foreign(place / skill.name, skill)
    done = []
    try:
        place.mkdir(parents=True, exist_ok=True)
        for skill in skills:
            done.append(_install_one(place / skill.name, skill, link=link))
    except OSError as exc:
        raise WorkspaceError(
            f"{place} cannot be written: {exc.strerror}", mend="Name another folder with --to."
        ) from exc
    return tuple(done)


def uninstall(agent: str, base: Path) -> tuple[Installed, ...]:
    """Take away what `install` put there, and nothing else."""
    place = base / AGENTS[agent]
    skills = read_skills()
    for skill in skills:
        _refuse_foreign(place / skill.name, skill)
    done = []
    try:
        for skill in skills:
            target = place / skill.name
            was = _clear(target)
            done.append(Installed(skill=skill.name, place=str(target), state="removed" if was else "absent"))
    except OSError as exc:
        raise WorkspaceError(
            f"{exc.filename or place} cannot be taken away: {exc.strerror}", mend="Make it writable."
        ) from exc
    return tuple(done)


def _install_one(target: Path, skill: Skill, *, link: bool) -> Installed:
    source = Path(skill.folder)
    if link:
        if target.is_symlink() and target.resolve() == source:
            return Installed(skill=skill.name, place=str(target), state="unchanged")
        was = _clear(target)
        target.symlink_to(source, target_is_directory=True)
        return Installed(skill=skill.name, place=str(target), state="updated" if was else "installed")
    mark = Mark(schema_version=1, skill=skill.name, seatrial_version=__version__, files=skill.files)
    if not target.is_symlink() and target.is_dir() and _mark(target) == mark:
        return Installed(skill=skill.name, place=str(target), state="unchanged")
    aside = target.with_name(f".{target.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(source, aside)
    write_atomic(aside / MARK, to_json(mark, indent=1))
    was = _clear(target)  # only now: a full disk leaves the old one
    aside.rename(target)
    return Installed(skill=skill.name, place=str(target), state="updated" if was else "installed")


def _clear(target: Path) -> bool:
    if target.is_symlink():
        target.unlink()
        return True
    if target.exists():
        shutil.rmtree(target)
        return True
    return False


def _refuse_foreign(target: Path, skill: Skill) -> None:
    if target.is_symlink():
        if target.resolve() != Path(skill.folder):
            raise UsageError(f"{target} is a link to something else", mend="Move it away.")
        return
    if not target.exists():
        return
    mark = _mark(target)
    if mark is None or mark.skill != skill.name:
        raise UsageError(f"{target} was not installed by seatrial", mend="Move it away.")
    if _hashes(target) != mark.files:
        raise UsageError(f"{target} was edited since it was installed", mend="Move it away, or undo the edit.")


def _mark(folder: Path) -> Mark | None:
    file = folder / MARK
    if not file.is_file():
        return None
    try:
        return from_json(Mark, file.read_bytes(), where=str(file))
    except FileFormatError:
        return None


def _read(folder: Path) -> Skill:
    text = (folder / "SKILL.md").read_text(encoding="utf-8")
    found = front_matter(text, f"{folder.name}/SKILL.md")
    return Skill(
        name=found["name"], description=found["description"], folder=str(folder.resolve()), files=_hashes(folder)
    )


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != MARK)
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
