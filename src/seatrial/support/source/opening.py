"""Open what the user named: a source tree, an sdist, a wheel, a virtual environment or its interpreter.

Refuses (SeatrialError, one line): a path that is not there, a wheel that is not a zip, an archive that is not a tar.
"""

from __future__ import annotations

import ast
import lzma
import tarfile
import zipfile
import zlib
from pathlib import Path

from seatrial.core.errors import FileFormatError, UsageError
from seatrial.support.source.tree import BelowTree, FolderTree, SourceTree, TarTree, Trees, ZipTree

TAR_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar")


def open_source(path: Path) -> Trees:
    """The files behind `path`. An environment gives its site folders and what editable installs point to."""
    label = str(path)
    if not path.exists():
        raise UsageError(
            f"{label}: no such file or folder",
            mend="Name a source tree, an sdist, a wheel, a virtual environment or its interpreter.",
        )
    if path.is_dir():
        itself = path.resolve().name if (path / "__init__.py").is_file() else ""
        return Trees(_folder(path), label, itself)
    if path.name.endswith((".whl", ".zip")):
        return Trees(_with_src(_wheel(path)), label)
    if path.name.endswith(TAR_SUFFIXES):
        return Trees(_with_src(_tar(path)), label)
    if path.parent.name in ("bin", "Scripts") and path.name.startswith("python"):
        sites = _environment(path.parent.parent) or _environment(path.resolve().parent.parent)
        if sites:
            return Trees(sites, label)
        raise UsageError(f"{label}: no site-packages folder belongs to it", mend="Name the environment's folder.")
    raise UsageError(
        f"{label}: neither a folder, a wheel (.whl), a source archive (.tar.gz) nor an environment's interpreter"
    )


def _with_src(tree: SourceTree) -> list[SourceTree]:
    return [tree, BelowTree(tree, "src")] if tree.names("src") else [tree]


def _folder(path: Path) -> list[SourceTree]:
    sites = _environment(path)
    if sites:
        return sites
    if path.name == "site-packages" or any(path.glob("*.dist-info")):
        return [FolderTree(path), *_editables(path)]
    if (path / "__init__.py").is_file():
        # The package itself was named; its parent is the root of its imports.
        return [FolderTree(path.resolve().parent, str(path))]
    trees: list[SourceTree] = [FolderTree(path)]
    if (path / "src").is_dir():
        trees.append(FolderTree(path / "src"))
    return trees


def _environment(root: Path) -> list[SourceTree]:
    """The site folders of an environment, with its editable installs."""
    sites = [s for pattern in ("lib", "lib64") for s in sorted((root / pattern).glob("python3*/site-packages"))]
    seen: list[Path] = []
    for site in [*sites, root / "Lib" / "site-packages"]:
        if site.is_dir() and not any(site.samefile(other) for other in seen):
            seen.append(site)
    trees: list[SourceTree] = []
    for site in seen:
        trees.append(FolderTree(site))
        trees.extend(_editables(site))
    return trees


def _editables(site: Path) -> list[SourceTree]:
    """Folders that `.pth` lines and setuptools' editable finders add, read and not run."""
    trees: list[SourceTree] = []
    for file in sorted(site.glob("*.pth")):
        try:
            with file.open(encoding="utf-8", errors="replace") as stream:
                lines = stream.read(1 << 20).splitlines()[:1000]
        except OSError:
            continue  # Python passes over one that it cannot read, too
        for line in lines:
            folder = Path(line.strip()) if line.strip() and not line.startswith(("import ", "import\t", "#")) else None
            if folder is not None and (site / folder).is_dir():
                trees.append(FolderTree(site / folder))
    for file in sorted(site.glob("__editable__*_finder.py")):
        for target in _finder_mapping(file).values():
            if Path(target).is_dir():
                trees.append(FolderTree(Path(target).parent))
    return trees


def _finder_mapping(file: Path) -> dict[str, str]:
    """The literal MAPPING of package names to folders in a setuptools editable finder."""
    try:
        module = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    for node in module.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(t, ast.Name) and t.id == "MAPPING" for t in targets) and isinstance(
            node, (ast.Assign, ast.AnnAssign)
        ):
            if node.value is None:
                continue
            try:
                value = ast.literal_eval(node.value)
            except (ValueError, TypeError, RecursionError, MemoryError):
                return {}
            if isinstance(value, dict):
                return {str(k): str(v) for k, v in value.items()}
    return {}


def _wheel(path: Path) -> SourceTree:
    try:
        return ZipTree(zipfile.ZipFile(path), str(path))
    except (zipfile.BadZipFile, OSError, ValueError) as exc:
        raise FileFormatError(f"{path}: is not a zip archive ({exc})", mend="Download the wheel again.") from exc


def _tar(path: Path) -> SourceTree:
    try:
        with tarfile.open(path) as archive:
            return TarTree(archive, str(path))
    except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as exc:
        raise FileFormatError(f"{path}: is not a readable tar archive ({exc})", mend="Download it again.") from exc
