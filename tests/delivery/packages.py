"""The published packages a delivery is tried on, fetched with the user's own pip (and its configuration), or None.

A source archive is only fetched, never built: pip's own finder and downloader are asked for the link.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

# pip has no command that fetches a source archive without building its metadata, so its own parts are used.
FETCH = """
import sys
from pip._internal.commands import create_command
from pip._internal.models.format_control import FormatControl
from pip._internal.network.download import Downloader
from pip._internal.models.selection_prefs import SelectionPreferences
from pip._internal.index.package_finder import PackageFinder
name, version, binary, folder = sys.argv[1:]
command = create_command("download")
options, _ = command.parse_args(["--no-deps", "-d", folder, name])
with command.main_context():
    session = command.get_default_session(options)
    finder = command._build_package_finder(options=options, session=session)
    all_of_it = finder.find_all_candidates(name)
    found = [c for c in all_of_it if str(c.version) == version and c.link.is_wheel == (binary == "1")]
    if not found:
        sys.exit(f"no {name} {version} in the index")
    link = found[0].link
    if link.scheme == "file":
        import shutil
        shutil.copy(link.file_path, folder)
    else:
        try:
            Downloader(session, "off")(link, folder)
        except TypeError:
            Downloader(session, "off", 5)(link, folder)
"""


def package(name: str, version: str, *, wheel: bool, folder: Path) -> Path | None:
    """The archive, from the folder named by SEATRIAL_PACKAGES or from the index; None if neither has it."""
    stem = f"{name.replace('-', '_')}-{version}"
    kept = os.environ.get("SEATRIAL_PACKAGES")
    for place in filter(None, (Path(kept) if kept else None, folder)):
        for file in place.glob(f"{stem}*"):
            return file
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", FETCH, name, version, "1" if wheel else "0", str(folder)]
    subprocess.run(command, capture_output=True, timeout=1200)
    return next(iter(folder.glob(f"{stem}*")), None)


def unpack(archive: Path, folder: Path) -> Path:
    """Unpacked, and shaped like the checkout it was made from: a wheel's description is its README."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(folder)
        info = next(folder.glob("*.dist-info"))
        text = (info / "METADATA").read_text(encoding="utf-8")
        (folder / "README.md").write_text(text.split("\n\n", 1)[1], encoding="utf-8")
        __import__("shutil").rmtree(info)
        return folder
    with tarfile.open(archive) as source:
        source.extractall(folder, filter="data")
    return next(folder.iterdir())
