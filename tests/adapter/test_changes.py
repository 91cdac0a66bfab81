"""What a root's difference is classed as, and the way back: the stored patch restores every byte."""

from __future__ import annotations

import json
import subprocess

import pytest
from click.testing import CliRunner

from seatrial.adapter.changes import read_changes
from seatrial.cli.diff import command as diff
from seatrial.cli.reset import command as reset
from seatrial.core.errors import UsageError

MODEL = """from torch import nn


class Q(nn.Module):
    def forward(self, x):
        return x

    def load_weights(self, weights):
        for name, w in weights:
            self.load(name, w)
"""


def git(root, *words):
    base = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(root)]
    return subprocess.run([*base, *words], check=True, capture_output=True).stdout.decode()


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "vllm"
    for name, text in {
        "vllm/model_executor/models/q.py": MODEL,
        "vllm/model_executor/models/registry.py": "_MODELS = {}\n",
        "vllm/attention/layer.py": "def attend(q):\n    return q\n",
        "vllm/entrypoints/api.py": "def serve( port ):\n    return port\n",
        "tests/test_q.py": "x = 1\n",
        ".gitignore": "*.log\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "base")
    return folder


def edit(root, name, old, new):
    path = root / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def adapt(root):
    """An adaptation as it comes: good parts, and a reformatted file that has nothing to do with it."""
    models = "vllm/model_executor/models"
    edit(root, f"{models}/q.py", "from torch import nn", "import torch\nfrom torch import nn")
    edit(root, f"{models}/q.py", "        return x", "        return x * 2")
    edit(root, f"{models}/q.py", "self.load(name, w)", "self.load(name.replace('a', 'b'), w)")
    edit(root, f"{models}/registry.py", "_MODELS = {}", '_MODELS = {"Q": ("q", "Q")}')
    git(root, "commit", "-qam", "[Model] Add Q")
    edit(root, "vllm/attention/layer.py", "return q", "return torch.ops.npu.attend(q)")
    edit(root, "vllm/entrypoints/api.py", "serve( port )", "serve(port)")
    (root / "tests" / "test_new.py").write_text("def test():\n    assert True\n")
    (root / "weights.bin").write_bytes(b"\0\1\2")
    (root / "run.log").write_text("ignored\n")


def kinds(record):
    return {f.path: sorted({h.kind for h in f.hunks}) or [f.kind] for f in record.files}


def test_each_part_of_an_adaptation_gets_its_class(root):
    base = git(root, "rev-parse", "HEAD").strip()
    adapt(root)
    record = read_changes(root, base, "test").record
    assert kinds(record) == {
        "vllm/model_executor/models/q.py": ["import", "mapping", "model"],
        "vllm/model_executor/models/registry.py": ["mapping"],
        "vllm/attention/layer.py": ["kernel"],
        "vllm/entrypoints/api.py": ["unrelated"],
        "tests/test_new.py": ["delivery"],
        "weights.bin": ["unrelated"],
    }
    assert [c.partition(" ")[2] for c in record.commits] == ["[Model] Add Q"]
    assert [f.place for f in record.findings] == ["vllm/entrypoints/api.py:1", "weights.bin"]
    assert "formatting" in record.findings[0].message


def test_the_patch_restores_every_byte_on_the_base(root, tmp_path):
    base = git(root, "rev-parse", "HEAD").strip()
    adapt(root)
    changes = read_changes(root, base, "test")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(root), str(clone))
    git(clone, "checkout", "-q", base)
    (tmp_path / "p.patch").write_bytes(changes.patch)
    git(clone, "apply", str(tmp_path / "p.patch"))
    for path in ("weights.bin", "tests/test_new.py", "vllm/model_executor/models/q.py", "vllm/attention/layer.py"):
        assert (clone / path).read_bytes() == (root / path).read_bytes()


def test_reset_saves_the_difference_and_goes_back_and_the_printed_command_restores_it(root, tmp_path):
    base = git(root, "rev-parse", "HEAD").strip()
    adapt(root)
    before = {p: p.read_bytes() for p in root.rglob("*") if p.is_file() and ".git" not in p.parts}
    space = tmp_path / "work"
    space.mkdir()
    options = ["--root", str(root), "--base", base, "--workspace", str(space)]
    refused = CliRunner().invoke(reset, options)
    assert isinstance(refused.exception, UsageError)
    assert {p: p.read_bytes() for p in before} == before
    done = CliRunner().invoke(reset, [*options, "--yes", "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    [record] = json.loads(done.stdout)
    assert git(root, "status", "--porcelain") == ""
    assert git(root, "rev-parse", "HEAD").strip() == base
    assert (root / "run.log").exists()  # ignored files are not ours
    subprocess.run(record["back"]["argv"], check=True)
    assert {p: p.read_bytes() for p in before} == before


def test_a_root_below_the_top_of_its_repository_is_shown_but_not_reset(root, tmp_path):
    inner = root / "vllm"
    edit(root, "vllm/attention/layer.py", "return q", "return q + 1")
    edit(root, "tests/test_q.py", "x = 1", "x = 2")
    record = read_changes(inner, "HEAD", "test").record
    assert [f.path for f in record.files] == ["attention/layer.py"]
    done = CliRunner().invoke(reset, ["--root", str(inner), "--workspace", str(tmp_path), "--yes"])
    assert isinstance(done.exception, UsageError)
    assert "x = 2" in (root / "tests/test_q.py").read_text()


def test_diff_exits_with_one_on_unrelated_edits_and_with_zero_without(root):
    assert CliRunner().invoke(diff, ["--root", str(root)]).exit_code == 0
    edit(root, "vllm/attention/layer.py", "return q", "return q * 2")
    assert CliRunner().invoke(diff, ["--root", str(root)]).exit_code == 0
    edit(root, "vllm/entrypoints/api.py", "return port", "return port + 1")
    shown = CliRunner().invoke(diff, ["--root", str(root)])
    assert shown.exit_code == 1
    assert "L001 vllm/entrypoints/api.py:2" in shown.stdout


def test_the_base_is_what_the_workspace_first_recorded(root, tmp_path):
    from seatrial.core.record import to_json
    from seatrial.evidence.manifest import GitState, Manifest

    base = git(root, "rev-parse", "HEAD").strip()
    edit(root, "vllm/attention/layer.py", "return q", "return q * 2")
    git(root, "commit", "-qam", "later")
    for name, commit in (("20260101-000000-a", base), ("20260102-000000-b", git(root, "rev-parse", "HEAD").strip())):
        folder = tmp_path / ".seatrial" / "runs" / name
        folder.mkdir(parents=True)
        manifest = Manifest(
            schema_version=1,
            run_id=name,
            created_at="",
            seatrial_version="",
            arguments_given=(),
            arguments={},
            checkpoint="",
            target={},
            target_sources=(),
            python="",
            versions={},
            git=(GitState(folder=str(root), commit=commit, is_dirty=False),),
            hardware={},
            environment={},
            environment_other_names=(),
            inputs={},
        )
        (folder / "manifest.json").write_bytes(to_json(manifest))
    shown = CliRunner().invoke(diff, ["--root", str(root), "--workspace", str(tmp_path), "--json"])
    [record] = json.loads(shown.stdout)
    assert record["base"] == base
    assert record["base_source"] == "run 20260101-000000-a"
    assert [f["path"] for f in record["files"]] == ["vllm/attention/layer.py"]


def test_names_with_spaces_and_other_letters_survive(root, tmp_path):
    (root / "tests" / "größe 1.py").write_text("x = 1\n")
    record = read_changes(root, "HEAD", "test").record
    assert [f.path for f in record.files] == ["tests/größe 1.py"]
    done = CliRunner().invoke(reset, ["--root", str(root), "--workspace", str(tmp_path), "--yes"])
    assert done.exit_code == 0
    assert git(root, "status", "--porcelain") == ""


def test_a_folder_without_git_or_an_unknown_commit_is_a_usage_error(root, tmp_path):
    plain = tmp_path / "plain"
    plain.mkdir()
    with pytest.raises(UsageError, match="no git repository"):
        read_changes(plain, "HEAD", "test")
    with pytest.raises(UsageError, match="knows no commit"):
        read_changes(root, "nope", "test")


def test_an_attribute_of_the_repository_starts_no_program(root, tmp_path):
    """A hostile checkout may name an external diff or a text converter; neither is run."""
    marker = tmp_path / "ran"
    evil = f"touch {marker}"
    for key in ("diff.evil.command", "diff.evil.textconv", "core.fsmonitor"):
        git(root, "config", key, evil)
    (root / ".gitattributes").write_text("*.py diff=evil\n")
    edit(root, "vllm/attention/layer.py", "return q", "return q * 2")
    read_changes(root, "HEAD", "test")
    assert not marker.exists()


def test_the_roots_are_those_of_the_users_own_target_file(root, tmp_path, monkeypatch):
    place = tmp_path / "desk"
    place.mkdir()
    own = f'[targets.ascend-a2.roots]\nvllm = "{root}"\nplugin = ""\n[targets.mine]\nextends = "ascend-a2"\n'
    (place / "seatrial.toml").write_text(own)
    monkeypatch.chdir(place)
    for target in ("ascend-a2", "mine"):
        done = CliRunner().invoke(diff, ["--target", target, "--json"])
        assert [r["root"] for r in json.loads(done.stdout)] == [str(root)], done.output


def test_a_workspace_that_is_no_folder_is_refused(root, tmp_path):
    """Else its recorded commits would silently count as none, and HEAD as the base."""
    for place in (tmp_path / "missing", root / "setup.py"):
        done = CliRunner().invoke(diff, ["--root", str(root), "--workspace", str(place)])
        assert isinstance(done.exception, UsageError), done.output
        assert "is not a folder" in str(done.exception)
