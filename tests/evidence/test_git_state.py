"""The state of a checkout: its commit, what is changed, and a hash that moves whenever a changed file does."""

from __future__ import annotations

import os
import subprocess

import pytest

from seatrial.core.git import git as quietly
from seatrial.evidence.manifest import git_state


def git(folder, *words):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


def test_a_folder_outside_any_checkout_has_no_state(tmp_path):
    assert git_state(tmp_path) is None


def test_every_edit_of_a_dirty_checkout_changes_its_hash(tmp_path):
    git(tmp_path, "init")
    (tmp_path / "plugin.py").write_text("a = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    clean = git_state(tmp_path)
    assert (clean.is_dirty, clean.changes) == (False, "")
    (tmp_path / "plugin.py").write_text("a = 2\n")
    first = git_state(tmp_path)
    (tmp_path / "plugin.py").write_text("a = 3\n")
    second = git_state(tmp_path)
    (tmp_path / "ünder stood.py").write_text("new")
    third = git_state(tmp_path)
    assert first.dirty == second.dirty == ("plugin.py",)
    assert third.dirty == ("plugin.py", "ünder stood.py")
    assert len({clean.changes, first.changes, second.changes, third.changes}) == 4
    assert clean.commit == third.commit


def test_an_edit_within_a_folder_that_git_does_not_know_changes_the_hash(tmp_path, monkeypatch):
    git(tmp_path, "init")
    git(tmp_path, "commit", "--allow-empty", "-m", "first")
    new = tmp_path / "models" / "new"
    new.mkdir(parents=True)
    (new / "model.py").write_text("a = 1\n")
    first = git_state(tmp_path)
    assert first.dirty == ("models/new/model.py",)
    (new / "model.py").write_text("a = 12\n")
    second = git_state(tmp_path)
    assert first.changes != second.changes
    # As within a hook, whose repository is not the one that is asked about.
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert git_state(tmp_path) == second


def configured(monkeypatch, **settings):
    monkeypatch.setenv("GIT_CONFIG_COUNT", str(len(settings)))
    for number, (key, value) in enumerate(settings.items()):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", key.replace("_", "."))
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)


def test_settings_that_the_environment_gives_git_hold_but_for_those_that_start_programs(tmp_path, monkeypatch):
    git(tmp_path, "init")
    configured(monkeypatch, user_name="of the container", core_fsmonitor="/bin/false")
    assert quietly(tmp_path, "config", "--get", "user.name") == b"of the container\n"
    assert quietly(tmp_path, "config", "--get", "core.fsmonitor") == b"false\n"
    (tmp_path / "other.config").write_text("[user]\n\temail = t@example.invalid\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "other.config"))
    assert quietly(tmp_path, "config", "--get", "user.email") == b"t@example.invalid\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a checkout to another user")
def test_a_checkout_of_another_user_that_the_environment_trusts_has_its_commit(tmp_path, monkeypatch):
    git(tmp_path, "init")
    git(tmp_path, "commit", "--allow-empty", "-m", "first")
    mine = git_state(tmp_path)
    for place in (tmp_path, tmp_path / ".git"):
        os.chown(place, 12345, 12345)
    configured(monkeypatch, safe_directory="*")
    assert mine is not None
    assert git_state(tmp_path) == mine


def test_a_checkout_that_names_a_program_for_its_differences_does_not_have_it_run(tmp_path):
    git(tmp_path, "init")
    (tmp_path / "plugin.py").write_text("a = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    (tmp_path / "plugin.py").write_text("a = 2\n")
    plain = git_state(tmp_path)
    ran = tmp_path / ".git" / "ran"
    program = tmp_path / ".git" / "program"
    program.write_text(f"#!/bin/sh\ntouch {ran}\n")
    program.chmod(0o755)
    for setting in ("diff.external", "core.fsmonitor"):
        git(tmp_path, "config", setting, str(program))
    ran.unlink(missing_ok=True)
    assert git_state(tmp_path) == plain
    assert not ran.exists()
