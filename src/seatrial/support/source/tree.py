"""A set of files by relative POSIX path, wherever they lie: a folder, a zip or a tar archive.

Refuses: paths that leave the root (also by symlink), members beyond a size limit (no source file is that large).
"""

from __future__ import annotations

import lzma
import os
import posixpath
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from seatrial.core.errors import FileFormatError

MEMBER_LIMIT = 16 * 1024 * 1024
TOTAL_LIMIT = 512 * 1024 * 1024
# What the readers look at; everything else in an archive is passed over unread.
TEXT_SUFFIXES = (".py", ".pyi", ".toml", ".cfg", ".txt", ".pth")
TEXT_NAMES = ("METADATA", "PKG-INFO", "RECORD", "INSTALLER", "pyvenv.cfg")


class SourceTree(Protocol):
    """Files under one root. `label` is what messages call it."""

    label: str

    def read(self, path: str) -> bytes | None:
        """The file's bytes; None if there is none (or it is too large to be source)."""

    def names(self, folder: str) -> list[str]:
        """Names directly in a folder (folders end with "/"); empty if there is none."""


def wanted(name: str) -> bool:
    """Whether a member of an archive is text the readers may ask for."""
    return name.endswith(TEXT_SUFFIXES) or name.rsplit("/", 1)[-1] in TEXT_NAMES


class FolderTree:
    """A folder on disk. `not_followed` are symlinks that were met and lead out of it, or round in a circle."""

    def __init__(self, root: Path, label: str = "") -> None:
        self.root = root.resolve()
        self.label = label or str(root)
        self.not_followed: dict[str, str] = {}

    def _inside(self, path: str) -> Path | None:
        try:
            full = (self.root / path).resolve()
        except (OSError, RuntimeError):
            return None  # a symlink to itself
        return full if full.is_relative_to(self.root) else None

    def read(self, path: str) -> bytes | None:
        full = self._inside(path)
        try:
            if full is None or not full.is_file() or full.stat().st_size > MEMBER_LIMIT:
                return None
            return full.read_bytes()
        except OSError:
            return None

    def names(self, folder: str) -> list[str]:
        full = self._inside(folder)
        found: list[str] = []
        try:
            if full is None or not full.is_dir():
                return []
            with os.scandir(full) as entries:
                for entry in entries:
                    why = self._leads(folder, entry) if entry.is_symlink() else ""
                    if why:
                        self.not_followed[f"{folder}/{entry.name}".lstrip("/")] = why
                    else:
                        found.append(entry.name + "/" if entry.is_dir() else entry.name)
        except OSError:
            return []
        return sorted(found)

    def _leads(self, folder: str, entry: os.DirEntry[str]) -> str:
        """Why a symlink is not followed; "" if it is."""
        try:
            target = Path(entry.path).resolve()
        except (OSError, RuntimeError):
            return "a symlink to itself"
        if not target.is_relative_to(self.root):
            return "a symlink out of the source"
        if not entry.is_dir():
            return ""
        parts = folder.strip("/").split("/")
        above = {(self.root / "/".join(parts[:depth])).resolve() for depth in range(len(parts) + 1)}
        return "a symlink to a folder above it" if target in above else ""


def leading_folder(members: Iterable[str]) -> str:
    """The one folder that all of an archive lies in, with its slash; "" if there is none or it is a package itself."""
    names = set(members)
    tops = {name.split("/")[0] for name in names if "/" in name}
    if len(tops) != 1 or any("/" not in name for name in names):
        return ""
    top = tops.pop()
    if top == ".":
        return "./" + leading_folder(name[2:] for name in names)
    return "" if f"{top}/__init__.py" in names else f"{top}/"


class ArchiveTree:
    """The members of an archive. `strip` is a leading folder to leave out."""

    def __init__(self, label: str, members: Iterable[str], strip: str = "") -> None:
        self.label = label
        self._strip = strip
        self._folders: dict[str, set[str]] = {}
        self._members: set[str] = set()
        for member in members:
            if not member.startswith(strip) or ".." in member.split("/"):
                continue
            path = member[len(strip) :]
            self._members.add(path)
            parts = path.split("/")
            for depth in range(len(parts)):
                folder = "/".join(parts[:depth])
                name = parts[depth] + ("/" if depth < len(parts) - 1 else "")
                self._folders.setdefault(folder, set()).add(name)

    def names(self, folder: str) -> list[str]:
        return sorted(self._folders.get(folder.strip("/"), ()))


class ZipTree(ArchiveTree):
    """A wheel, or a source tree as a zip, read member by member."""

    def __init__(self, archive: zipfile.ZipFile, label: str) -> None:
        self._archive = archive
        names = [i.filename for i in archive.infolist() if not i.is_dir()]
        super().__init__(label, names, leading_folder(names))

    def read(self, path: str) -> bytes | None:
        if path not in self._members:
            return None
        info = self._archive.getinfo(self._strip + path)
        if info.file_size > MEMBER_LIMIT:
            return None
        try:
            return self._archive.read(info)
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, RuntimeError, EOFError, ValueError) as exc:
            # Damaged is not absent: a module that seems missing would be called a breakage.
            raise FileFormatError(f"{self.label}: {path} cannot be read: {exc}", mend="Download it again.") from exc


class TarTree(ArchiveTree):
    """A source archive; a compressed tar has no index, so its text is held in memory, up to a limit."""

    def __init__(self, archive: tarfile.TarFile, label: str) -> None:
        self._texts: dict[str, bytes] = {}
        names: list[str] = []
        links: dict[str, str] = {}
        total = 0
        for member in archive:
            if member.issym() or member.islnk():
                folder = posixpath.dirname(member.name) if member.issym() else ""
                links[member.name] = posixpath.normpath(posixpath.join(folder, member.linkname))
            if not member.isfile():
                continue
            names.append(member.name)
            if not wanted(member.name) or member.size > MEMBER_LIMIT or total + member.size > TOTAL_LIMIT:
                continue
            stream = archive.extractfile(member)
            if stream is not None:
                self._texts[member.name] = stream.read()
                total += member.size
        _check_end(archive)
        for name, target in links.items():
            # A file that is packed twice is there once and a link; links to folders are not followed.
            if target in self._texts:
                names.append(name)
                self._texts[name] = self._texts[target]
        super().__init__(label, names, leading_folder(names))

    def read(self, path: str) -> bytes | None:
        return self._texts.get(self._strip + path)


def _check_end(archive: tarfile.TarFile) -> None:
    """A damaged header ends the members as the end does: what follows would seem to be missing."""
    stream = archive.fileobj
    if stream is None:
        return
    stream.seek(archive.offset)
    if stream.read(tarfile.BLOCKSIZE).strip(b"\0"):
        raise tarfile.ReadError(f"its members end at byte {archive.offset} with a damaged header")
    for _ in range(64):
        if not stream.read(1 << 20):  # a checksum stands at the very end
            return


class BelowTree:
    """The files below one folder of another tree, as `src/` is a root of imports of its own."""

    def __init__(self, tree: SourceTree, folder: str) -> None:
        self._tree, self._folder = tree, folder.strip("/") + "/"
        self.label = f"{tree.label}:{self._folder}"

    def read(self, path: str) -> bytes | None:
        return self._tree.read(self._folder + path)

    def names(self, folder: str) -> list[str]:
        return self._tree.names((self._folder + folder).strip("/"))


class Trees:
    """Several trees searched in order, as `sys.path` is. `package`: the one that was named by its own folder, if so."""

    def __init__(self, trees: Iterable[SourceTree], label: str, package: str = "") -> None:
        self.trees = tuple(trees)
        self.label = label
        self.package = package

    def not_followed(self) -> dict[str, str]:
        """Symlinks that were met so far and not followed, with the reason."""
        return {k: why for tree in self.trees if isinstance(tree, FolderTree) for k, why in tree.not_followed.items()}

    def __iter__(self) -> Iterator[SourceTree]:
        return iter(self.trees)

    def owner(self, path: str) -> SourceTree | None:
        """The first tree that has the file."""
        return next((tree for tree in self.trees if tree.read(path) is not None), None)

    def read(self, path: str) -> bytes | None:
        for tree in self.trees:
            data = tree.read(path)
            if data is not None:
                return data
        return None

    def names(self, folder: str) -> list[str]:
        """Names in the folder of the first tree that has it (a package lies in one place)."""
        for tree in self.trees:
            found = tree.names(folder)
            if found:
                return found
        return []
