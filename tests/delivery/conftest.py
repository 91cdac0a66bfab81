"""Fixtures of the delivery's tests: a workspace with the recorded run, and checkouts of every shape."""

from __future__ import annotations

import json
import shutil
from functools import cache

import pytest
from checkouts import checkout, files_of, git
from delivery_runs import make_run, score

from seatrial.delivery import Order, deliver
from seatrial.delivery.benches import read_benches
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.evidence import Run, open_workspace


@pytest.fixture
def workspace(tmp_path):
    return open_workspace(tmp_path / "w", write=True)


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The recorded run, written once; tests get copies."""
    return make_run(open_workspace(tmp_path_factory.mktemp("made"), write=True)).folder


@pytest.fixture
def run(workspace, made):
    return Run.read(shutil.copytree(made, workspace.runs_folder / made.name))


@pytest.fixture(scope="session")
def shapes(tmp_path_factory):
    """Checkouts by shape, made once each; tests get copies."""
    place = tmp_path_factory.mktemp("shapes")

    @cache
    def of(shape):
        (place / shape).mkdir()
        return checkout(place / shape, files_of(shape))

    return of


@pytest.fixture
def repo(tmp_path, shapes):
    """A checkout of a shape, the test's own."""
    return lambda shape: shutil.copytree(shapes(shape), tmp_path / shape)


@pytest.fixture
def scores(tmp_path):
    file = tmp_path / "score.json"
    file.write_text(json.dumps(score()))
    return (file,)


@pytest.fixture
def hand_over(workspace):
    """Deliver a run into a checkout, with the bundle where the command puts it."""

    def maker(run, folder, kind="ascend", *, scores=(), benches=(), commit=True, **order):
        made = Order(kind=kind, model=order.pop("model", "Qwen3-tiny"), **order)
        bundle = workspace.root / "deliveries" / f"{run.run_id}-{kind}"
        benched = read_benches(benches, workspace, EvidenceView(run))
        return deliver(run, folder, made, bundle=bundle, scores=scores, benched=benched, commit=commit)

    return maker


@pytest.fixture(scope="session")
def place(tmp_path_factory, made, shapes):
    """A whole delivery, made once: workspace, checkout, score file."""
    root = tmp_path_factory.mktemp("whole")
    workspace = open_workspace(root / "w", write=True)
    run = Run.read(shutil.copytree(made, workspace.runs_folder / made.name))
    folder = shutil.copytree(shapes("sphinx"), root / "repo")
    (root / "score.json").write_text(json.dumps(score()))
    order = Order(kind="ascend", model="Qwen3-tiny", model_id="org/Qwen3-tiny", languages=("zh", "en"))
    bundle = workspace.root / "deliveries" / f"{run.run_id}-ascend"
    deliver(run, folder, order, bundle=bundle, scores=(root / "score.json",))
    return root


@pytest.fixture
def whole(place, tmp_path):
    """The test's own copy. The delivery record names the checkout, so that goes along."""
    root = shutil.copytree(place, tmp_path / "copy")
    file = next(root.glob("w/.seatrial/deliveries/*/delivery.json"))
    file.write_text(file.read_text().replace(str(place), str(root)))
    git(root / "repo", "update-index", "-q", "--refresh")
    return root
