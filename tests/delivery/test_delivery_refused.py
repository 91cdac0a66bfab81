"""What is not delivered: a run without its proofs, and bad input, of which nothing is half written."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkouts import git, snapshot
from delivery_runs import make_run, recorded

from seatrial.core.errors import SeatrialError, UsageError
from seatrial.core.verdict import Verdict
from seatrial.delivery import check_delivery
from seatrial.evidence import Run


def test_a_run_without_the_proofs_is_refused_with_the_list_and_nothing_is_written(workspace, repo, hand_over):
    what = recorded()
    what["steps"]["features"] = what["steps"]["capacity"] = None
    what["steps"]["real"] = None
    run = Run.read(make_run(workspace, what).folder)
    folder = repo("sphinx")
    before = snapshot(folder)
    result = hand_over(run, folder)
    assert result.state == "refused"
    assert [f.code for f in result.refused] == ["Y002", "Y004", "Y006"]
    assert snapshot(folder) == before
    assert not (workspace.root / "deliveries").exists()


def test_an_explained_gap_is_delivered_as_the_author_put_it(workspace, repo, hand_over):
    what = recorded()
    what["steps"]["features"] = what["steps"]["capacity"] = None
    run = Run.read(make_run(workspace, what).folder)
    why = {"features": "no device was free", "capacity": "the host is a laptop"}
    folder = repo("sphinx")
    assert hand_over(run, folder, explained=why).state == "committed"
    page = (folder / "docs/source/tutorials/models/Qwen3-tiny.md").read_text()
    assert "not attempted: no device was free" in page
    assert "not measured: the host is a laptop" in page
    assert check_delivery(folder, workspace).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda s: s["real"]["outcome"].update(verdict="fail", reason="it broke"), "Y002"),
        (lambda s: s["real"]["facts"].update(layers=2), "Y002"),
        (lambda s: [r.update(text="") for r in s["real"]["facts"]["requests"]], "Y003"),
        (lambda s: s["real"].update(attachments={}), "Y003"),
        (lambda s: s["inspect"]["facts"].update(multimodal={"towers": []}), "Y003"),
        (lambda s: s["dummy"]["facts"].update(ending="false-ready", reason="HTTP 500"), "Y005"),
        (lambda s: s["features"]["facts"]["rows"][1].update(status="not-attempted", reason=""), "Y004"),
        (lambda s: s["capacity"]["facts"].update(baseline_served=False, root_cause=""), "Y006"),
    ],
)
def test_each_missing_proof_has_its_refusal(change, code, workspace, repo, hand_over):
    what = recorded()
    change(what["steps"])
    run = Run.read(make_run(workspace, what).folder)
    result = hand_over(run, repo("sphinx"))
    assert result.state == "refused"
    assert code in {f.code for f in result.refused}


def test_a_damaged_or_unfinished_run_is_refused(run, repo, hand_over):
    ref = run.steps()["real"].facts
    run.artifact(ref).write_text("{}")
    result = hand_over(run, repo("sphinx"))
    assert "Y001" in {f.code for f in result.refused}


def test_changed_sources_of_the_run_are_part_of_the_delivery_or_it_is_refused(workspace, repo, hand_over):
    from seatrial.core.record import to_plain
    from seatrial.evidence.manifest import git_state

    folder = repo("sphinx")
    (folder / "vllm_ascend/__init__.py").write_text("# adapted\n")
    state = to_plain(git_state(folder))
    run = Run.read(make_run(workspace, git=(state,)).folder)
    assert [f.code for f in hand_over(run, folder).refused] == ["Y007"]
    done = hand_over(run, folder, include=("vllm_ascend/__init__.py",))
    assert done.state == "committed"
    assert "vllm_ascend/__init__.py" in git(folder, "show", "--name-only", "--format=", "HEAD")
    assert git(folder, "log", "-1", "--format=%s").startswith("[Model]")
    assert git(folder, "status", "--short") == ""


def test_sources_changed_after_the_run_are_refused(workspace, repo, hand_over):
    from seatrial.core.record import to_plain
    from seatrial.evidence.manifest import git_state

    folder = repo("sphinx")
    (folder / "vllm_ascend/__init__.py").write_text("# adapted\n")
    run = Run.read(make_run(workspace, git=(to_plain(git_state(folder)),)).folder)
    (folder / "vllm_ascend/__init__.py").write_text("# adapted, and again\n")
    result = hand_over(run, folder, include=("vllm_ascend/__init__.py",))
    assert "not those the run was made with" in result.refused[0].message


def _commit(folder: Path, path: str, data: bytes) -> None:
    (folder / path).write_bytes(data)
    git(folder, "commit", "-qam", "break")


def _link(folder: Path, path: str) -> None:
    (folder / path).unlink()
    (folder / path).symlink_to("/etc/hostname")
    git(folder, "commit", "-qam", "link")


def _hook(folder: Path) -> None:
    hooks = folder / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    (hooks / "pre-commit").write_text("#!/bin/sh\necho refused by the hook >&2\nexit 1\n")
    (hooks / "pre-commit").chmod(0o755)
    git(folder, "config", "--unset", "core.hooksPath")


BAD = {
    "not a repository": lambda f: __import__("shutil").rmtree(f / ".git"),
    "detached head": lambda f: git(f, "checkout", "-q", "--detach"),
    "dirty tree": lambda f: (f / "README.txt").write_text("mine"),
    "staged change": lambda f: ((f / "x.txt").write_text("x"), git(f, "add", "x.txt")),
    "existing branch": lambda f: git(f, "branch", "feature/add-qwen3-tiny"),
    "no author": lambda f: (git(f, "config", "user.name", ""), git(f, "config", "user.email", "")),
    "index not UTF-8": lambda f: _commit(f, "docs/source/tutorials/models/index.md", b"\xff\xfe:::{toctree}\n"),
    "nightly no YAML": lambda f: _commit(f, ".github/workflows/configs/nightly_config.yaml", b"a: [1, {"),
    "test code does not parse": lambda f: _commit(f, "tests/e2e/models/test_lm_eval_correctness.py", b"def ("),
    "index is a link": lambda f: _link(f, "docs/source/tutorials/models/index.md"),
    "a hook that fails": _hook,
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_a_clear_error_and_nothing_is_half_written(
    what, run, repo, scores, hand_over, workspace, monkeypatch
):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(workspace.root.parent.parent))
    folder = repo("sphinx")
    BAD[what](folder)
    is_repository = (folder / ".git").exists()
    before = snapshot(folder) if is_repository else sorted(folder.rglob("*"))
    with pytest.raises(SeatrialError) as caught:
        hand_over(run, folder, scores=scores, model_id="org/Qwen3-tiny")
    assert caught.value.one_line()
    assert (snapshot(folder) if is_repository else sorted(folder.rglob("*"))) == before
    assert not list(workspace.root.glob("deliveries/*/*.md"))


@pytest.mark.parametrize(
    ("order", "says"),
    [
        ({"branch": "bad..name"}, "cannot be the name of a branch"),
        ({"branch": "-x"}, "cannot be the name of a branch"),
        ({"include": ("nowhere.py",)}, "no changed file"),
        ({"include": ("../outside.py",)}, "no changed file"),
        ({"include": ("CONTRIBUTING.md",)}, "no changed file"),
    ],
)
def test_a_wrong_branch_or_file_is_told_in_words_and_nothing_is_written(order, says, run, repo, hand_over):
    folder = repo("sphinx")
    before = snapshot(folder)
    with pytest.raises(UsageError, match=says):
        hand_over(run, folder, **order)
    assert snapshot(folder) == before


def test_a_checkout_of_another_user_is_told_as_such_and_not_as_no_repository(run, repo, hand_over, monkeypatch):
    folder = repo("sphinx")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(UsageError, match="belongs to another user"):
        hand_over(run, folder)


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is(run, repo, hand_over, monkeypatch):
    import os

    folder = repo("sphinx")
    before = snapshot(folder)
    real = os.access
    locked = str(folder / "docs/source/tutorials/models")
    monkeypatch.setattr(os, "access", lambda p, mode: False if str(p).startswith(locked) else real(p, mode))
    with pytest.raises(UsageError, match="cannot be written"):
        hand_over(run, folder)
    assert snapshot(folder) == before


def test_a_failure_in_the_last_step_takes_everything_back(run, repo, hand_over, monkeypatch):
    from seatrial.delivery.repository import GitError, Repository

    folder = repo("sphinx")
    before = snapshot(folder)
    real = Repository.git

    def broken(self, *words, check=True):
        if words[0] == "checkout-index":
            raise GitError("no space left on device")
        return real(self, *words, check=check)

    monkeypatch.setattr(Repository, "git", broken)
    with pytest.raises(GitError):
        hand_over(run, folder)
    assert snapshot(folder) == before


SETTINGS = {
    "another program for differences": ("diff.external", "true"),
    "no prefixes": ("diff.noprefix", "true"),
    "colours": ("color.ui", "always"),
    "renames": ("diff.renames", "copies"),
    "no context": ("diff.context", "0"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_what_the_users_git_makes_of_differences_for_eyes_is_nothing_to_staging(name, repo):
    from seatrial.delivery.repository import Repository

    folder = repo("sphinx")
    (folder / "long.txt").write_text("".join(f"line {n}\n" for n in range(20)))
    git(folder, "add", "long.txt")
    git(folder, "commit", "-q", "-m", "long")
    git(folder, "config", *SETTINGS[name])
    changed = (folder / "long.txt").read_text().replace("line 9\n", "line 9\nline 9 and a half\n")
    Repository.open(folder).stage({"docs/new page.md": "one\n", "added.txt": "two\n", "long.txt": changed}, ())
    staged = git(folder, "diff", "--cached", "--name-only", "--no-ext-diff", "--no-color")
    assert sorted(staged.split("\n")[:3]) == ["added.txt", "docs/new page.md", "long.txt"]
    assert (folder / "long.txt").read_text() == changed
    assert (folder / "docs" / "new page.md").read_text() == "one\n"


def test_a_file_whose_content_is_not_here_is_no_empty_file(repo):
    from seatrial.delivery.repository import GitError, Repository

    folder = repo("sphinx")
    (folder / "lost.txt").write_text("not to be found again\n")
    git(folder, "add", "lost.txt")
    git(folder, "commit", "-q", "-m", "lost")
    blob = git(folder, "rev-parse", "HEAD:lost.txt").strip()
    (folder / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(GitError, match=r"lost\.txt cannot be read"):
        Repository.open(folder).read("lost.txt")


def test_a_word_on_a_commits_signature_is_no_part_of_its_message(repo, tmp_path):
    import shutil
    import subprocess

    from seatrial.delivery.repository import Repository

    if shutil.which("ssh-keygen") is None:
        pytest.skip("no ssh-keygen to sign a commit with")
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    folder = repo("sphinx")
    for name, value in (("gpg.format", "ssh"), ("user.signingkey", f"{key}.pub"), ("log.showSignature", "true")):
        git(folder, "config", name, value)
    git(folder, "commit", "-q", "-S", "--allow-empty", "-m", "a signed subject")
    assert Repository.open(folder).git("log", "-1", "--format=%s", "HEAD") == "a signed subject\n"
