"""Sources as people have them at hand: other archives and build files, several plugins, files that cannot be read."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile

import pytest
from support_sources import sdist, write
from test_compat import ENGINE, PLUGIN

from seatrial.core.errors import SeatrialError, UsageError
from seatrial.support.compat import compat
from seatrial.support.modules import Package
from seatrial.support.registry_read import plugin_distribution, plugin_package
from seatrial.support.source import open_source

GROUP = '"vllm.general_plugins"'
CFG = "[metadata]\nname = plug\n[options.entry_points]\n"
POINTS = "[vllm.general_plugins]\nplug = plug:register\n"
CODE = {"plug/__init__.py": "def register(): pass\n"}


def plugin_of(path):
    trees = open_source(path)
    found = plugin_distribution(trees)
    return found.name, plugin_package(trees, found).names()


def zipped(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def test_a_source_tree_downloaded_as_a_zip_is_opened_below_its_one_folder(tmp_path):
    source = zipped(tmp_path / "main.zip", {f"vllm-main/{name}": text for name, text in ENGINE.items()})
    assert Package("vllm", open_source(source)).has("vllm.utils.text")
    bare = zipped(tmp_path / "bare.zip", ENGINE)
    assert Package("vllm", open_source(bare)).has("vllm.utils.text")  # the one folder is the package itself


def test_a_tar_of_the_package_alone_or_made_with_a_dot_is_opened(tmp_path):
    for label, front in (("package", ""), ("dot", "./"), ("dot folder", "./vllm-main/")):
        path = tmp_path / f"{label}.tar"
        with tarfile.open(path, "w") as archive:
            for name, text in ENGINE.items():
                info = tarfile.TarInfo(front + name)
                info.size = len(text.encode())
                archive.addfile(info, io.BytesIO(text.encode()))
        assert Package("vllm", open_source(path)).has("vllm.utils.text"), label


def test_a_src_layout_is_found_in_archives_as_in_folders(tmp_path):
    files = {
        "pyproject.toml": f'[project]\nname = "plug"\n[project.entry-points.{GROUP}]\na = "plug:register"\n',
        "src/plug/__init__.py": "def register(): pass\n",
    }
    assert plugin_of(write(tmp_path / "folder", files)) == ("plug", ["plug"])
    assert plugin_of(sdist(tmp_path / "plug-1.0.tar.gz", files)) == ("plug", ["plug"])
    assert plugin_of(zipped(tmp_path / "main.zip", {f"top/{k}": v for k, v in files.items()})) == ("plug", ["plug"])


def test_a_file_that_an_archive_holds_as_a_link_is_there(tmp_path):
    path = tmp_path / "plug-1.0.tar.gz"
    sdist(path, {**CODE, "plug/real.py": "A = 1\n", "setup.cfg": "[metadata]\nname = plug\n"})
    with tarfile.open(path) as old:
        members = [(m, old.extractfile(m).read()) for m in old]
    with tarfile.open(path, "w:gz") as archive:
        for name, kind, target in (
            ("plug/linked.py", tarfile.SYMTYPE, "real.py"),
            ("plug/hard.py", tarfile.LNKTYPE, "plug-1.0/plug/real.py"),
            ("plug/round.py", tarfile.SYMTYPE, "round.py"),
            ("plug/out.py", tarfile.SYMTYPE, "../../../etc/passwd"),
        ):
            info = tarfile.TarInfo(f"plug-1.0/{name}")
            info.type, info.linkname = kind, target
            archive.addfile(info)
        for member, data in members:
            archive.addfile(member, io.BytesIO(data))
    package = Package("plug", open_source(path))
    assert package.names() == ["plug", "plug.hard", "plug.linked", "plug.real"]
    assert package.get("plug.linked").source == package.get("plug.hard").source == b"A = 1\n"


@pytest.mark.parametrize(
    "files",
    [
        {"setup.cfg": f"{CFG}vllm.general_plugins =\n    plug = plug:register\n"},
        {"pyproject.toml": f'[tool.poetry]\nname = "plug"\n[tool.poetry.plugins.{GROUP}]\np = "plug:register"\n'},
        {"setup.py": "setup(name='plug', entry_points={'vllm.general_plugins': '''\n  plug = plug:register\n'''})\n"},
    ],
    ids=["setup.cfg", "poetry", "setup.py text"],
)
def test_entry_points_are_read_from_every_build_file(tmp_path, files):
    trees = open_source(write(tmp_path, {**files, **CODE}))
    found = plugin_distribution(trees)
    assert found.name == "plug"
    assert [(p.name[0], p.target) for p in found.plugins()] == [("p", "plug:register")]


def test_a_plugin_whose_name_is_made_at_run_time_still_has_its_entry_points(tmp_path):
    text = "setup(name=NAME, entry_points={'vllm.general_plugins': ['plug = plug:register']})\n"
    name, modules = plugin_of(write(tmp_path, {"setup.py": text, **CODE}))
    assert (name, modules) == ("(name not in the source)", ["plug"])


def several(folder):
    return write(
        folder,
        {
            "aaa/__init__.py": "def register(): pass\n",
            "aaa-1.0.dist-info/METADATA": "Name: aaa\nVersion: 1.0\n",
            "aaa-1.0.dist-info/entry_points.txt": "[vllm.general_plugins]\na = aaa:register\n",
            **CODE,
            "plug-1.0.dist-info/METADATA": "Name: plug\nVersion: 1.0\n",
            "plug-1.0.dist-info/entry_points.txt": POINTS,
            "plain/__init__.py": "",
        },
    )


def test_of_several_plugins_the_one_that_was_named_is_taken_and_never_the_first(tmp_path):
    site = several(tmp_path / "site-packages")
    with pytest.raises(UsageError, match=r"several plugins in it: aaa \(aaa\), plug \(plug\)"):
        plugin_of(site)
    assert plugin_of(site / "plug")[0] == "plug"
    assert plugin_of(site / "aaa")[0] == "aaa"
    with pytest.raises(UsageError, match="of the package plain"):
        plugin_of(site / "plain")


@pytest.fixture
def measure(tmp_path):
    def run(plugin=(), engine=()):
        return (
            write(tmp_path / "engine", {**ENGINE, **dict(engine)}),
            write(tmp_path / "plugin", {**PLUGIN, **dict(plugin)}),
        )

    return run


def test_an_engine_file_too_large_to_read_is_not_an_empty_one(measure):
    large = "#" * (16 * 1024 * 1024) + "\nX = 1\n"
    engine, plugin = measure({"plug/main.py": "from vllm.large import X\n"}, {"vllm/large.py": large})
    assert compat(engine, plugin).breakages() == ()


def test_a_plugins_own_file_that_is_not_read_leaves_the_verdict_open(measure, tmp_path):
    outside = write(tmp_path / "outside", {"real.py": "from vllm.gone import X\n"})
    engine, plugin = measure({"plug/main.py": "import plug.away\n"})
    (plugin / "plug" / "away.py").symlink_to(outside / "real.py")
    report = compat(engine, plugin)
    assert report.outcome.verdict.value == "inconclusive"
    assert "plug/away" in report.outcome.reason
    assert [(h.code, h.symbol, h.breaks) for h in report.hits] == [("K012", "plug.away", False)]


def test_an_engine_module_that_is_a_symlink_out_of_the_source_is_not_called_missing(measure, tmp_path):
    outside = write(tmp_path / "outside", {"real.py": "X = 1\n", "pack/__init__.py": "", "pack/inner.py": "Y = 1\n"})
    text = "from vllm.away import X\nfrom vllm.pack.inner import Y\nfrom vllm.gone import Z\n"
    engine, plugin = measure({"plug/main.py": text})
    (engine / "vllm" / "away.py").symlink_to(outside / "real.py")
    (engine / "vllm" / "pack").symlink_to(outside / "pack")
    assert [h.symbol for h in compat(engine, plugin).breakages()] == ["vllm.gone"]


def test_a_plugin_whose_entry_point_is_compiled_code_does_not_pass(measure):
    points = "[vllm.general_plugins]\nplug = plug.core:register\n"
    engine, plugin = measure(
        {
            "plug/__init__.py": "",
            "plug/core.cpython-311-x86_64-linux-gnu.so": "",
            "plug-1.0.dist-info/entry_points.txt": points,
        }
    )
    outcome = compat(engine, plugin).outcome
    assert outcome.verdict.value == "inconclusive"
    assert "plug/core.cpython-311-x86_64-linux-gnu.so" in outcome.reason


def test_links_that_lead_nowhere_or_to_themselves_are_no_crash(tmp_path):
    source = write(tmp_path / "site-packages", {**PLUGIN})
    for name in ("setup.py", "pyproject.toml"):
        (source / name).symlink_to(name)
    (source / "gone.pth").symlink_to("nowhere")
    (source / "folder.pth").mkdir()
    assert plugin_of(source)[0] == "plug"


def test_a_tar_whose_members_break_off_at_a_damaged_header_is_a_clear_error(tmp_path):
    path = tmp_path / "vllm.tar"
    with tarfile.open(path, "w") as archive:
        for name, text in ENGINE.items():
            info = tarfile.TarInfo(f"vllm-1/{name}")
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    data = path.read_bytes()
    at = data.index(b"vllm-1/vllm/utils/math.py")
    path.write_bytes(data[:at] + b"?" * 512 + data[at + 512 :])
    with pytest.raises(SeatrialError, match="damaged header"):
        open_source(path)


@pytest.mark.parametrize("suffix", ["xz", "gz", "bz2"])
def test_a_damaged_archive_is_a_clear_error(tmp_path, suffix):
    path = tmp_path / f"plug.tar.{suffix}"
    with tarfile.open(path, f"w:{suffix}") as archive:
        for number in range(40):
            data = os.urandom(4096)
            info = tarfile.TarInfo(f"plug/{number}.py")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    data = bytearray(path.read_bytes())
    for at in range(len(data) // 2, len(data) // 2 + 64):
        data[at] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(SeatrialError, match=r"not a readable tar archive"):
        open_source(path)
