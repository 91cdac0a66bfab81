"""Writes of the workbench: under the root only, all together, refused on dirty trees, undoable."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from seatrial.adapter.writes import Writes, batches, journal, undo
from seatrial.core.errors import UsageError, WorkspaceError


def git(root, *words):
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(root), *words],
        check=True,
        capture_output=True,
    )


@pytest.fixture
def repo(tmp_path):
    root = tmp_path / "plugin"
    (root / "pkg").mkdir(parents=True)
    (root / "pkg" / "a.py").write_bytes(b"a = 1\r\n")
    (root / "pkg" / "run.sh").write_bytes(b"echo\n")
    (root / "pkg" / "run.sh").chmod(0o755)
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    return root


def status(root):
    return subprocess.run(["git", "-C", str(root), "status", "--porcelain"], capture_output=True, check=True).stdout


def test_a_batch_is_made_listed_and_taken_back_to_the_byte(repo):
    writes = Writes(repo, "seatrial port x")
    writes.put("pkg/a.py", b"a = 2\r\n")
    writes.put("pkg/new/deep/b.py", b"b = 1\n")
    writes.remove("pkg/run.sh")
    batch = writes.commit()
    assert [(c.path, c.kind) for c in batch.changes] == [
        ("pkg/a.py", "changed"),
        ("pkg/new/deep/b.py", "created"),
        ("pkg/run.sh", "removed"),
    ]
    assert (repo / "pkg/a.py").read_bytes() == b"a = 2\r\n"
    assert not (repo / "pkg/run.sh").exists()
    assert [b.id for b in batches(repo)] == [batch.id]
    undo(repo)
    assert status(repo) == b""
    assert not (repo / "pkg" / "new").exists()
    assert batches(repo) == []


def test_permission_bits_survive_an_edit(repo):
    writes = Writes(repo, "x")
    writes.put("pkg/run.sh", b"echo 2\n")
    writes.commit()
    assert (repo / "pkg/run.sh").stat().st_mode & 0o777 == 0o755


def test_nothing_staged_or_nothing_new_is_no_batch(repo):
    writes = Writes(repo, "x")
    writes.put("pkg/a.py", b"a = 1\r\n")
    writes.remove("pkg/never.py")
    assert writes.commit() is None
    assert batches(repo) == []


def test_a_dirty_tree_is_refused_unless_allowed(repo):
    (repo / "pkg" / "mine.py").write_text("x = 1\n")
    writes = Writes(repo, "x")
    writes.put("pkg/a.py", b"a = 3\n")
    with pytest.raises(UsageError, match=r"pkg/mine\.py"):
        writes.commit()
    assert (repo / "pkg/a.py").read_bytes() == b"a = 1\r\n"
    assert writes.commit(allow_dirty=True) is not None


def test_what_an_earlier_batch_wrote_is_not_dirty_but_an_edit_of_it_is(repo):
    first = Writes(repo, "port")
    first.put("pkg/m.py", b"m = 1\n")
    first.commit()
    second = Writes(repo, "register")
    second.put("pkg/a.py", b"a = 4\n")
    second.commit()
    (repo / "pkg/m.py").write_text("m = 2\n")
    third = Writes(repo, "again")
    third.put("pkg/a.py", b"a = 5\n")
    with pytest.raises(UsageError, match=r"pkg/m\.py"):
        third.commit()


def test_changes_outside_the_root_of_a_larger_repository_do_not_count(repo):
    (repo / "elsewhere.txt").write_text("x")
    writes = Writes(repo / "pkg", "x")
    writes.put("a.py", b"a = 9\n")
    assert writes.commit() is not None


@pytest.mark.parametrize(
    "path", ["../x.py", "/etc/x.py", "pkg/../../x.py", "", ".git/config", "pkg/.git/config", "pkg"]
)
def test_a_path_out_of_the_root_is_refused(repo, path):
    with pytest.raises(UsageError):
        Writes(repo, "x").put(path, b"")


def test_symlinks_are_refused_on_the_way_and_at_the_end(repo, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f.py").write_text("f = 1\n")
    (repo / "link").symlink_to(outside)
    (repo / "file.py").symlink_to(outside / "f.py")
    for path in ("link/f.py", "link/new.py", "file.py"):
        with pytest.raises(UsageError, match="symlink"):
            Writes(repo, "x").put(path, b"")


def test_a_link_put_there_after_staging_is_seen_at_commit(repo, tmp_path):
    outside = tmp_path / "outside.py"
    outside.write_text("o = 1\n")
    writes = Writes(repo, "x")
    writes.put("pkg/late.py", b"evil\n")
    (repo / "pkg/late.py").symlink_to(outside)
    with pytest.raises(UsageError, match="symlink"):
        writes.commit(allow_dirty=True)
    assert outside.read_text() == "o = 1\n"


def test_undo_refuses_where_a_file_changed_since_and_touches_nothing(repo):
    writes = Writes(repo, "x")
    writes.put("pkg/a.py", b"a = 2\n")
    writes.put("pkg/b.py", b"b = 2\n")
    writes.commit()
    (repo / "pkg/b.py").write_text("by hand\n")
    with pytest.raises(UsageError, match=r"pkg/b\.py"):
        undo(repo)
    assert (repo / "pkg/a.py").read_bytes() == b"a = 2\n"


def test_a_batch_killed_half_way_can_be_undone(repo, monkeypatch):
    writes = Writes(repo, "x")
    writes.put("pkg/a.py", b"a = 2\n")
    writes.put("pkg/b.py", b"b = 2\n")
    real = Writes._write

    def dies(self, change):
        if change.path == "pkg/b.py":
            raise KeyboardInterrupt
        real(self, change)

    monkeypatch.setattr(Writes, "_write", dies)
    with pytest.raises(KeyboardInterrupt):
        writes.commit()
    undo(repo)
    assert status(repo) == b""


def test_a_write_that_fails_takes_the_whole_batch_back(repo, monkeypatch):
    writes = Writes(repo, "x")
    writes.put("pkg/a.py", b"a = 2\n")
    writes.put("pkg/b.py", b"b = 2\n")
    real = Writes._write

    def fails(self, change):
        if change.path == "pkg/b.py":
            raise OSError(28, "No space left on device")
        real(self, change)

    monkeypatch.setattr(Writes, "_write", fails)
    with pytest.raises(WorkspaceError, match="No space"):
        writes.commit()
    assert status(repo) == b""
    assert batches(repo) == []


def test_a_root_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    writes = Writes(tmp_path / "file" / "plugin", "x")
    writes._staged["a.py"] = b"a = 1\n"
    with pytest.raises(WorkspaceError, match="cannot be written"):
        writes.commit()


def test_what_was_written_through_a_link_is_taken_back_by_either_name(repo, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(repo)
    writes = Writes(link, "x")
    writes.put("pkg/a.py", b"a = 2\n")
    writes.commit()
    undo(repo)
    assert status(repo) == b""


def test_there_is_nothing_to_undo_where_there_is_no_folder(tmp_path):
    with pytest.raises(UsageError, match="is no folder"):
        undo(tmp_path / "missing")


def test_a_root_without_git_keeps_its_journal_inside_itself(tmp_path):
    root = tmp_path / "new" / "plugin"
    writes = Writes(root, "seatrial scaffold plugin x")
    writes.put("pyproject.toml", b"[project]\n")
    writes.put("src/x/__init__.py", b"")
    writes.commit()
    assert journal(root) == root / ".seatrial" / "undo"
    assert (root / "src/x/__init__.py").is_file()
    undo(root)
    assert not root.exists()


def test_the_diff_shows_what_would_be_written_and_writes_nothing(repo):
    writes = Writes(repo, "x")
    writes.put("pkg/a.py", b"a = 2\r\n")
    writes.put("pkg/b.py", b"b = 1")
    writes.put("pkg/c.bin", b"\xff\xfe")
    text = writes.diff()
    assert "--- a/pkg/a.py\n+++ b/pkg/a.py\n" in text
    assert "--- /dev/null\n+++ b/pkg/b.py\n" in text
    assert "\\ No newline at end of file" in text
    assert "Binary file pkg/c.bin created" in text
    assert status(repo) == b""


def test_reading_sees_what_is_staged(repo):
    writes = Writes(repo, "x")
    assert writes.read("pkg/a.py") == b"a = 1\r\n"
    writes.put("pkg/a.py", b"new")
    assert writes.read("pkg/a.py") == b"new"
    assert writes.read("pkg/none.py") is None


def test_an_unknown_batch_is_refused_with_the_known_ones(repo):
    writes = Writes(repo, "x")
    writes.put("pkg/a.py", b"a = 2\n")
    batch = writes.commit()
    with pytest.raises(UsageError) as caught:
        undo(repo, "nope")
    assert batch.id in caught.value.one_line()


def test_a_repository_that_git_will_not_read_is_not_taken_for_clean(repo):
    Path(repo / ".git" / "HEAD").write_text("nonsense\n")
    writes = Writes(repo, "x")
    writes.put("pkg/a.py", b"a = 2\n")
    with pytest.raises(UsageError, match="git does not say"):
        writes.commit()
