"""A folder with more files than are looked at says so, and is never called wholly read."""

from __future__ import annotations

import pytest
from checkpoint_maker import entries, shard_bytes, tiny

from seatrial.checkpoint import files, fingerprint, inspect, read_card, weights
from seatrial.checkpoint.files import Folder
from seatrial.checkpoint.weights import read_weights
from seatrial.core.verdict import Verdict


def numbered(folder, numbers, count):
    """A tiny checkpoint of one tensor a shard, without an index."""
    folder = tiny(folder)
    for file in [*folder.glob("*.safetensors"), *folder.glob("*.index.json")]:
        file.unlink()
    for n in numbers:
        rows = entries({f"model.layers.{n}.input_layernorm.weight": ("BF16", (64,))})
        (folder / f"model-{n:05}-of-{count:05}.safetensors").write_bytes(shard_bytes(rows, 128))
    return folder


def test_a_folder_of_more_entries_than_are_looked_at_is_a_finding_and_no_pass(tmp_path, monkeypatch):
    folder = tiny(tmp_path / "model")
    monkeypatch.setattr(files, "MAX_ENTRIES", len(list(folder.iterdir())))
    assert inspect(folder).outcome.verdict is Verdict.PASS
    (folder / "notes.txt").write_text("one too many")
    result = inspect(folder)
    assert result.outcome.verdict is Verdict.FAIL
    said = [f.message for f in result.findings if f.code == "C047"]
    assert said == [f"holds more than {files.MAX_ENTRIES} entries; the others were not seen"]
    assert not read_weights(Folder(folder)).whole


def test_the_shards_beyond_the_bound_are_counted_and_the_first_is_named(tmp_path, monkeypatch):
    folder = numbered(tmp_path / "model", range(1, 6), 5)
    monkeypatch.setattr(weights, "MAX_SHARDS", 5)
    assert not [f for f in read_card(folder).findings if f.code == "C047"]
    monkeypatch.setattr(weights, "MAX_SHARDS", 3)
    found = [f for f in read_card(folder).findings if f.code == "C047"]
    assert [f.place for f in found] == ["model-00004-of-00005.safetensors"]
    assert "one of 2 shards" in found[0].message
    read = read_weights(Folder(folder))
    assert (len(read.shards), read.whole) == (3, False)


def test_shards_beside_an_index_do_not_count_against_the_bound(tmp_path, monkeypatch):
    """What the index does not name is named one by one, as ever, and was never to be read."""
    folder = tiny(tmp_path / "model")
    for n in range(4):
        (folder / f"extra-{n}.safetensors").write_bytes(b"")
    monkeypatch.setattr(weights, "MAX_SHARDS", 2)
    found = {f.code: f for f in read_card(folder).findings}
    assert "C047" not in found
    assert len([f for f in read_card(folder).findings if f.code == "C027"]) == 4


@pytest.mark.parametrize(("count", "more"), [(22, 0), (40, 18), (99_999, 99_977)])
def test_missing_shards_that_are_not_named_are_counted(tmp_path, count, more):
    found = [f for f in read_card(numbered(tmp_path / "model", (1, 2), count)).findings if f.code == "C022"]
    assert len(found) == 20 + bool(more)
    assert [f.message for f in found[20:]] == ([f"lacks {more} more of its shards"] if more else [])


def test_the_fingerprint_of_a_folder_that_is_too_full_is_not_that_of_the_part_that_was_seen(tmp_path, monkeypatch):
    folder = tiny(tmp_path / "model")
    monkeypatch.setattr(files, "MAX_ENTRIES", len(list(folder.iterdir())))
    before = fingerprint(folder)
    (folder / ".hidden").write_text("")
    assert fingerprint(folder) != before
