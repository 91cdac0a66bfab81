"""Evidence of any shape: junk anywhere in a manifest, in facts or in artifacts is a finding or an error with its mend,
and never a traceback or a pass of what was forged.
"""

from __future__ import annotations

import contextlib
import copy
import json
import random
import shutil

import pytest
from bench_runs import make_bench
from forgery import forge
from test_found_evidence import KINDS

from seatrial.core.errors import SeatrialError
from seatrial.delivery.verify import verify_bundle
from seatrial.evidence import open_workspace

JUNK = (None, True, -1, 10**12, 1e308, "", "x", "nan", [], [1], {}, {"a": []}, "../../etc", ["--x", 3], [[[]]])


def spots(value, path=()):
    """Every place in plain data."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield (*path, key)
        yield from spots(part, (*path, key))


def spoil(data, dice):
    """Put junk at one place, or take it out."""
    found = list(spots(data))
    if not found:
        return
    path = dice.choice(found)
    at = data
    for key in path[:-1]:
        at = at[key]
    if dice.random() < 0.2:
        del at[path[-1]]
    else:
        at[path[-1]] = copy.deepcopy(dice.choice(JUNK))


def arguments(folder, dice):
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text())
    for _ in range(3):
        spoil(manifest["arguments"], dice)
    file.write_text(json.dumps(manifest))


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    made = {"bench": make_bench(open_workspace(tmp_path_factory.mktemp("bench"), write=True)).folder}
    for kind, (maker, _) in KINDS.items():
        made[kind] = maker(open_workspace(tmp_path_factory.mktemp(kind), write=True))
    return made


@pytest.mark.parametrize("kind", ["bench", *KINDS])
@pytest.mark.parametrize("seed", range(15))
def test_junk_in_evidence_is_told_in_words(kind, seed, originals, tmp_path):
    dice = random.Random(f"{kind} {seed}")
    original = originals[kind]
    place = shutil.copytree(original.parent, tmp_path / "runs")
    folder = place / original.name
    if seed % 2 == 0:
        arguments(folder, dice)

    def change(bodies, facts, artifact):
        steps = [s for s, b in bodies.items() if b.get("facts")]
        for _ in range(2) if steps else ():
            facts(dice.choice(steps), lambda d: spoil(d, dice) if d else None)
        named = [(s, a["name"]) for s in steps for a in bodies[s]["artifacts"] if a["name"].endswith(".json")]
        if named and seed % 3 == 0:
            step, name = dice.choice(named)

            def edit(data):
                value = json.loads(data)
                spoil(value, dice)
                return json.dumps(value).encode()

            artifact(step, name, edit)

    forge(folder, change)
    with contextlib.suppress(SeatrialError):
        assert verify_bundle(folder).runs[0].run_id == folder.name
