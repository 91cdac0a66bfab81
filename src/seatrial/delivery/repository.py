"""The receiving git repository: read at one commit, never half-written.

In: a folder. Refuses, each with its mend: no git repository, a detached head, changes that are not part of the
delivery, an unset author. Files are read from the commit, so that a work tree cannot mislead; a commit is made in a
work tree of its own and appears in the user's only when it is whole.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from seatrial.core.errors import FileFormatError, SeatrialError, UsageError
from seatrial.core.record import Record

# With the user's log.showSignature a word on each signature comes before what a format asks for.
PLAIN = ("-c", "log.showSignature=false")
FOR_APPLY = (
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--no-renames",
    "--src-prefix=a/",
    "--dst-prefix=b/",
    "-U3",
)


class GitError(SeatrialError):
    """git itself failed; the message holds its words."""


class Author(Record):
    name: str
    email: str

    @property
    def sign_off(self) -> str:
        return f"Signed-off-by: {self.name} <{self.email}>"


class Repository:
    """One checkout. `at` is the commit that files are read from."""

    def __init__(self, top: Path, at: str) -> None:
        self.top = top
        self.at = at
        self._modes: dict[str, str] | None = None

    @classmethod
    def open(cls, folder: Path, at: str = "HEAD") -> Repository:
        """The repository around `folder`; raises UsageError if it is none or has no commit."""
        if not folder.is_dir():
            raise UsageError(f"{folder} is not a folder", mend="Name the checkout of the receiving repository.")
        top = _git(folder, "rev-parse", "--show-toplevel", check=False)
        if top is None:
            _trusted(folder)
            raise UsageError(f"{folder} is not in a git repository", mend="Name a checkout, or `git init` and commit.")
        place = Path(top.rstrip("\n"))
        commit = _git(place, "rev-parse", "--verify", "--quiet", f"{at}^{{commit}}", check=False)
        if commit is None:
            raise UsageError(f"{place} has no commit {at}", mend="Commit something there first, or name a commit.")
        return cls(place, commit.strip())

    def git(self, *words: str, check: bool = True) -> str | None:
        return _git(self.top, *words, check=check)

    def branch(self) -> str:
        """The checked-out branch; raises UsageError on a detached head."""
        name = _git(self.top, "symbolic-ref", "--quiet", "--short", "HEAD", check=False)
        if name is None:
            raise UsageError(f"{self.top} is at a detached head", mend="Check out the branch to start from.")
        return name.strip()

    def author(self) -> Author:
        """From git's configuration; refused if unset, since a sign-off is a person's word."""
        found = [_git(self.top, "config", "--get", key, check=False) for key in ("user.name", "user.email")]
        name, email = ((f or "").strip() for f in found)
        if not name or not email:
            missing = "user.name" if not name else "user.email"
            raise UsageError(
                f"git's {missing} is not set, and a sign-off needs it", mend=f'git config --global {missing} "…"'
            )
        return Author(name=name, email=email)

    def checked_branch(self, name: str) -> None:
        """Raises UsageError for a name that git takes for no branch."""
        if self.git("check-ref-format", "--branch", name, check=False) is None or name.startswith("-"):
            raise UsageError(f"{name!r} cannot be the name of a branch", mend="Name another one with --branch.")

    def changes(self) -> tuple[str, ...]:
        """Paths that differ from HEAD in the index or the work tree, untracked ones too."""
        text = self.git("status", "--porcelain", "-z", "--untracked-files=all") or ""
        fields, found, skip = text.split("\0"), [], False
        for field in fields:
            if skip or not field:
                skip = False
                continue
            found.append(field[3:])
            skip = field[0] in "RC"
        return tuple(found)

    def files(self) -> Mapping[str, str]:
        """Path to mode of every file in the commit."""
        if self._modes is None:
            text = self.git("ls-tree", "-r", "-z", self.at) or ""
            rows = (line.partition("\t") for line in text.split("\0") if line)
            self._modes = {path: meta.split(" ", 1)[0] for meta, _, path in rows}
        return self._modes

    def has(self, path: str) -> bool:
        """A file, or a folder with files in it."""
        clean = path.rstrip("/")
        return clean in self.files() or any(p.startswith(clean + "/") for p in self.files())

    def read(self, path: str) -> str:
        """The file's text at the commit; raises FileFormatError if it is not UTF-8, or a link."""
        mode = self.files().get(path)
        if mode is None:
            raise UsageError(f"{path} is not in {self.top} at {self.at[:12]}")
        if mode not in ("100644", "100755"):
            raise FileFormatError(
                f"{path} is no plain file (mode {mode})", mend="A delivery does not write through it."
            )
        done = subprocess.run(
            ["git", "-C", str(self.top), "cat-file", "blob", f"{self.at}:{path}"], capture_output=True, env=_quiet()
        )
        if done.returncode:
            # A part of the repository is not here (a partial clone) or damaged: that is no empty file.
            said = done.stderr.decode(errors="replace").strip()
            raise GitError(f"{path} cannot be read: {said}", mend="Fetch it, or see `git fsck`.")
        try:
            return done.stdout.decode("utf-8")
        except UnicodeDecodeError as exc:
            raise FileFormatError(
                f"{path} is not UTF-8 (byte {exc.start})", mend="Convert it, or leave it out of the delivery."
            ) from exc

    def commit(self, files: Mapping[str, str], include: Collection[str], *, branch: str, message: str) -> str:
        """Make `branch` from `at` with exactly one signed-off commit, and check it out. Returns the commit.

        `include` are changed files of the user's work tree that go in as they are. Nothing is left behind on a failure:
        no branch, no file, no changed index.
        """
        self._try_writable([*files, *include])
        with self._aside(files, include) as aside:
            # The user's own hooks run, as with any commit of theirs.
            _git(aside, "commit", "--quiet", "-s", "-m", message)
            commit = (_git(aside, "rev-parse", "HEAD") or "").strip()
        old = self.branch()
        self.git("branch", branch, commit)
        try:
            self.git("symbolic-ref", "HEAD", f"refs/heads/{branch}")
            self.git("read-tree", "HEAD")
            self.git("checkout-index", "-f", "--", *files, *include)
        except GitError:
            self.git("symbolic-ref", "HEAD", f"refs/heads/{old}", check=False)
            self.git("read-tree", "HEAD", check=False)
            self.git("branch", "-D", branch, check=False)
            raise
        return commit

    def stage(self, files: Mapping[str, str], include: Collection[str]) -> None:
        """Put the files into work tree and index, all or none."""
        self._try_writable(list(files))
        with self._aside(files, ()) as aside:
            # A patch as `apply` reads it, whatever the user's own settings make of a difference for eyes.
            made = subprocess.run(
                ["git", "-C", str(aside), "diff", "--cached", "--binary", "--full-index", *FOR_APPLY],
                capture_output=True,
                env=_quiet(),
            )
            if made.returncode:
                raise GitError(f"git diff: {made.stderr.decode(errors='replace').strip()}")
            patch = made.stdout
        if patch:
            # A copied checkout's index has old times in it, which apply takes for changes.
            self.git("update-index", "-q", "--refresh", check=False)
            done = subprocess.run(
                ["git", "-C", str(self.top), "apply", "--index", "--whitespace=nowarn"],
                input=patch,
                capture_output=True,
                env=_quiet(),
            )
            if done.returncode:
                raise GitError(f"git apply: {done.stderr.decode(errors='replace').strip()}")
        if include:
            self.git("add", "--", *include)

    @contextmanager
    def _aside(self, files: Mapping[str, str], include: Collection[str]) -> Iterator[Path]:
        """A work tree beside, at `at`, with the files written and staged."""
        with tempfile.TemporaryDirectory(prefix="seatrial-deliver-") as name:
            aside = Path(name) / "tree"
            self.git("worktree", "add", "--quiet", "--detach", str(aside), self.at)
            try:
                for path, text in files.items():
                    _inside(path)
                    (aside / path).parent.mkdir(parents=True, exist_ok=True)
                    (aside / path).write_bytes(text.encode("utf-8"))
                for path in include:
                    _inside(path)
                    if (self.top / path).exists():
                        (aside / path).parent.mkdir(parents=True, exist_ok=True)
                        (aside / path).write_bytes((self.top / path).read_bytes())
                    else:
                        (aside / path).unlink(missing_ok=True)
                # Ignored by a repository's own rules or not: these are the files of the delivery.
                _git(aside, "add", "--force", "--", *files, *include)
                yield aside
            finally:
                self.git("worktree", "remove", "--force", str(aside), check=False)
                self.git("worktree", "prune", check=False)

    def _try_writable(self, paths: Collection[str]) -> None:
        for path in paths:
            _inside(path)
            place = self.top / path
            parent = place.parent
            while not parent.exists():
                parent = parent.parent
            for needed in {parent, place if place.exists() else parent, Path(self._git_folder())}:
                if not os.access(needed, os.W_OK):
                    raise UsageError(f"{needed} cannot be written", mend="Make it writable; nothing was changed.")

    def _git_folder(self) -> str:
        return (self.git("rev-parse", "--absolute-git-dir") or "").strip()


def _inside(path: str) -> None:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not path or pure.parts[0] == ".git":
        raise UsageError(f"{path!r} is not a path inside the repository")


def _git(folder: Path, *words: str, check: bool = True) -> str | None:
    """What git prints; None on failure unless `check`, which raises GitError."""
    try:
        done = subprocess.run(["git", *PLAIN, "-C", str(folder), *words], capture_output=True, env=_quiet())
    except OSError as exc:
        raise GitError(f"git cannot be run: {exc.strerror}", mend="Install git.") from exc
    if done.returncode:
        if check:
            said = done.stderr.decode(errors="replace").strip()
            raise GitError(f"git {words[0]} failed: {said}", mend="Nothing of the delivery was written.")
        return None
    return done.stdout.decode("utf-8", "surrogateescape")


def _trusted(folder: Path) -> None:
    """git reads no checkout of another user; in a container, where the mounted one is the host's, that is common."""
    done = subprocess.run(["git", "-C", str(folder), "rev-parse", "--git-dir"], capture_output=True, env=_quiet())
    if b"dubious ownership" in done.stderr:
        raise UsageError(
            f"{folder} belongs to another user, so git does not read it",
            mend=f"If you trust it: git config --global --add safe.directory {folder.absolute()}",
        )


def _quiet() -> dict[str, str]:
    """Our git speaks plain English, takes no locks it does not need and is not led astray by an outer git."""
    mine = {k: v for k, v in os.environ.items() if k not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")}
    return {**mine, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C.UTF-8"}
