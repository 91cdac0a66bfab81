"""Skills name only what exists, stay small, and are put in place and taken away without touching anything else."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from seatrial.agents import AGENTS, install, read_skills, uninstall
from seatrial.agents.skills import MARK, front_matter, skills_folder
from seatrial.cli.main import program
from seatrial.core.errors import FileFormatError, SeatrialError, UsageError, WorkspaceError

TEXTS = sorted(skills_folder().rglob("*.md"))
NAMED = re.compile(r"`seatrial ([^`\n]+)`")
FLAG = re.compile(r"`(--[a-z][a-z-]*)(?:[ =][^`]*)?`")


def command_of(words: list[str]) -> tuple[click.Command, str]:
    """The command that the words name, and its name; fails on one that does not exist."""
    found: click.Command = program
    path = []
    for word in words:
        if not isinstance(found, click.Group) or word.startswith("-") or not word.islower():
            break
        inner = found.get_command(click.Context(found), word)
        if inner is None:
            break
        found, path = inner, [*path, word]
    assert path, f"no such command: seatrial {' '.join(words)}"
    return found, " ".join(path)


def flags(command: click.Command) -> set[str]:
    return {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}


def every_flag(group: click.Group) -> set[str]:
    found = set()
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        found |= every_flag(command) if isinstance(command, click.Group) else flags(command)
    return found


@pytest.mark.parametrize("skill", read_skills(), ids=lambda s: s.name)
def test_front_matter_is_what_agents_demand(skill):
    text = (Path(skill.folder) / "SKILL.md").read_text()
    found = front_matter(text, skill.name)
    assert set(found) == {"name", "description"}
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", found["name"])
    assert len(found["name"]) <= 64
    assert found["name"] == Path(skill.folder).name
    assert 40 <= len(found["description"]) <= 400
    assert "Use " in found["description"]


@pytest.mark.parametrize("skill", read_skills(), ids=lambda s: s.name)
def test_front_matter_is_yaml_to_a_strict_reader_and_says_the_same(skill):
    from ruamel.yaml import YAML

    text = (Path(skill.folder) / "SKILL.md").read_text()
    assert YAML(typ="safe").load(text.split("---\n", 2)[1]) == front_matter(text, skill.name)


@pytest.mark.parametrize("file", [f for f in TEXTS if f.name == "SKILL.md"], ids=lambda f: f.parent.name)
def test_a_command_in_a_skill_has_every_argument_that_it_demands(file):
    for call in NAMED.findall(file.read_text()):
        words = call.split()
        command, path = command_of(words)
        rest = words[len(path.split()) :]
        if "--help" in rest or "--json" not in rest:
            continue  # a mention, not a call
        # Placeholders stand for texts; numbers and names of a choice are not given by one.
        command.make_context(path, [re.sub(r"^N$", "1", w) for w in rest])


@pytest.mark.parametrize("file", TEXTS, ids=lambda f: f"{f.parent.name}-{f.name}")
def test_every_command_and_flag_named_in_a_skill_exists(file):
    text = file.read_text()
    calls = NAMED.findall(text)
    for call in calls:
        command, path = command_of(call.split())
        for flag in re.findall(r"(?<!\S)--[a-z][a-z-]*", call):
            assert flag in flags(command), f"seatrial {path} has no {flag}"
    for flag in FLAG.findall(text):
        assert flag in every_flag(program), f"no command has {flag}"
    if file.name == "SKILL.md":
        assert len(calls) >= 3, "a skill calls the commands instead of describing what they know"


def test_skills_stay_small_and_name_only_skills_and_references_that_are_there():
    names = {s.name for s in read_skills()}
    assert len(names) >= 5
    for file in TEXTS:
        text = file.read_text()
        assert len(text.encode()) <= (3500 if file.name == "SKILL.md" else 2500), file
        for other in re.findall(r"the skill\s+`([a-z-]+)`", text):
            assert other in names
        for reference in re.findall(r"`(references/[^`]+)`", text):
            assert (file.parent / reference).is_file()


def test_a_missing_description_is_an_error_and_not_an_empty_skill():
    with pytest.raises(FileFormatError, match="lacks name or description"):
        front_matter("---\nname: x\n---\n", "x/SKILL.md")


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("link", [False, True])
def test_install_twice_is_once_and_uninstall_leaves_the_rest(agent, link, tmp_path):
    mine = tmp_path / AGENTS[agent] / "mine"
    mine.mkdir(parents=True)
    (mine / "SKILL.md").write_text("mine")
    first = install(agent, tmp_path, link=link)
    assert {d.state for d in first} == {"installed"}
    assert (tmp_path / AGENTS[agent] / "adapt-model" / "SKILL.md").read_text().startswith("---\nname: adapt-model")
    assert {d.state for d in install(agent, tmp_path, link=link)} == {"unchanged"}
    assert {d.state for d in uninstall(agent, tmp_path)} == {"removed"}
    assert {d.state for d in uninstall(agent, tmp_path)} == {"absent"}
    assert [p.name for p in (tmp_path / AGENTS[agent]).iterdir()] == ["mine"]
    assert skills_folder().is_dir()


def test_a_folder_of_somebody_else_or_an_edited_skill_is_left_alone(tmp_path):
    place = tmp_path / AGENTS["claude"]
    (place / "adapt-model").mkdir(parents=True)
    (place / "adapt-model" / "SKILL.md").write_text("my own")
    with pytest.raises(UsageError, match="was not installed by seatrial"):
        install("claude", tmp_path)
    assert [p.name for p in place.iterdir()] == ["adapt-model"]
    install("codex", tmp_path)
    edited = tmp_path / AGENTS["codex"] / "deliver-model" / "SKILL.md"
    edited.write_text(edited.read_text() + "and one thing more\n")
    for call in (install, uninstall):
        with pytest.raises(UsageError, match="was edited"):
            call("codex", tmp_path)
    assert edited.read_text().endswith("one thing more\n")


def test_an_update_that_cannot_be_copied_leaves_the_old_skill(tmp_path, monkeypatch):
    install("generic", tmp_path)
    mark = tmp_path / AGENTS["generic"] / "adapt-model" / MARK
    mark.write_text(mark.read_text().replace('"seatrial_version": "', '"seatrial_version": "0.0.'))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("seatrial.agents.skills.shutil.copytree", full)
    with pytest.raises(WorkspaceError, match="No space left"):
        install("generic", tmp_path)
    assert (mark.parent / "SKILL.md").is_file()
    monkeypatch.setattr("seatrial.agents.skills.shutil.rmtree", full)
    with pytest.raises(WorkspaceError, match="cannot be taken away"):
        uninstall("generic", tmp_path)


def test_an_older_copy_is_updated_and_a_file_in_the_way_is_an_error(tmp_path):
    install("generic", tmp_path)
    mark = tmp_path / AGENTS["generic"] / "adapt-model" / MARK
    mark.write_text(mark.read_text().replace('"seatrial_version": "', '"seatrial_version": "0.0.'))
    states = {d.skill: d.state for d in install("generic", tmp_path)}
    assert states["adapt-model"] == "updated"
    assert states["deliver-model"] == "unchanged"
    (tmp_path / "file").write_text("x")
    with pytest.raises(SeatrialError):
        install("claude", tmp_path / "file")
