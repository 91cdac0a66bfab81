"""Every byte-level defect is told apart by its code, a good checkpoint has none, and nothing raises."""

from __future__ import annotations

import json
import os
import struct

import pytest
from checkpoint_maker import TINY, entries, read_index, shard_bytes, tiny, tiny_tensors, write_config, write_index

from seatrial.checkpoint import fingerprint, inspect, read_checkpoint
from seatrial.core.errors import UsageError
from seatrial.core.finding import Severity
from seatrial.core.verdict import Verdict

FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def codes(folder, least=Severity.WARNING):
    wanted = {Severity.ERROR} if least is Severity.ERROR else {Severity.ERROR, Severity.WARNING}
    return {f.code for f in read_checkpoint(folder).card.findings if f.severity in wanted}


def header_of(folder, file=FIRST):
    raw = (folder / file).read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    return json.loads(raw[8 : 8 + length]), len(raw) - 8 - length


def rewrite(folder, change, file=FIRST, data=None):
    """Write a shard again after `change(entries)`; `data` is the number of bytes after the header."""
    header, size = header_of(folder, file)
    header.pop("__metadata__")
    change(header)
    (folder / file).write_bytes(shard_bytes(header, size if data is None else data))


def test_a_good_checkpoint_passes_with_its_facts_on_one_line(tmp_path):
    result = inspect(tiny(tmp_path / "good"))
    assert result.outcome.verdict is Verdict.PASS
    assert result.summary == "Qwen3ForCausalLM, 2 layers, GQA 4/2, bf16, 107 k parameters, context 40960"
    assert not codes(tmp_path / "good")


def truncate(folder):
    raw = (folder / SECOND).read_bytes()
    (folder / SECOND).write_bytes(raw[:-100])


def overlap(folder):
    def change(h):
        h["model.norm.weight"]["data_offsets"] = [o - 2 for o in h["model.norm.weight"]["data_offsets"]]

    rewrite(folder, change, SECOND)


def hole(folder):
    def change(h):
        for e in list(h.values())[3:]:
            e["data_offsets"] = [o + 64 for o in e["data_offsets"]]

    _, size = header_of(folder)
    rewrite(folder, change, data=size + 64)


def shape_against_bytes(folder):
    rewrite(folder, lambda h: h["model.embed_tokens.weight"].update(shape=[256, 63]))


def unknown_dtype(folder):
    rewrite(folder, lambda h: h["model.embed_tokens.weight"].update(dtype="BF17"))


def index_to_absent_tensor(folder):
    index = read_index(folder)
    write_index(folder, {**index["weight_map"], "model.ghost.weight": FIRST}, index["metadata"]["total_size"])


def tensor_not_in_index(folder):
    index = read_index(folder)
    index["weight_map"].pop("model.norm.weight")
    write_index(folder, index["weight_map"], index["metadata"]["total_size"])


def wrong_shard(folder):
    index = read_index(folder)
    index["weight_map"]["model.norm.weight"] = FIRST
    write_index(folder, index["weight_map"], index["metadata"]["total_size"])


def absent_file(folder):
    (folder / SECOND).unlink()


def duplicate_across_shards(folder):
    header, _ = header_of(folder)
    tensors = {n: (e["dtype"], tuple(e["shape"])) for n, e in header.items() if n != "__metadata__"}
    second, _ = header_of(folder, SECOND)
    second.pop("__metadata__")
    both = {n: (e["dtype"], tuple(e["shape"])) for n, e in second.items()}
    both["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"]
    (folder / SECOND).write_bytes(shard_bytes(entries(both)))


def wrong_total(folder):
    index = read_index(folder)
    write_index(folder, index["weight_map"], index["metadata"]["total_size"] + 1)


def duplicate_key(folder):
    raw = (folder / FIRST).read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    text = raw[8 : 8 + length].decode()
    entry = json.dumps(json.loads(text)["model.embed_tokens.weight"])
    text = text[:-1] + f', "model.embed_tokens.weight": {entry}}}'
    (folder / FIRST).write_bytes(struct.pack("<Q", len(text)) + text.encode() + raw[8 + length :])


def lfs_pointer(folder):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4976698672\n"
    (folder / FIRST).write_text(pointer)


def extra_shard(folder):
    (folder / "consolidated.safetensors").write_bytes((folder / FIRST).read_bytes())


def path_escape(folder):
    index = read_index(folder)
    index["weight_map"]["model.norm.weight"] = "../other.safetensors"
    write_index(folder, index["weight_map"], index["metadata"]["total_size"])


def bytes_after_the_end(folder):
    with (folder / FIRST).open("ab") as stream:
        stream.write(b"\0" * 16)


def header_longer_than_the_file(folder):
    raw = (folder / FIRST).read_bytes()
    (folder / FIRST).write_bytes(struct.pack("<Q", 2**63) + raw[8:])


def header_is_no_json(folder):
    (folder / FIRST).write_bytes(shard_bytes(b'{"a": [}'))


def negative_offset(folder):
    rewrite(folder, lambda h: h["model.embed_tokens.weight"].update(data_offsets=[-1, 32767]))


def backward_offsets(folder):
    rewrite(folder, lambda h: h["model.embed_tokens.weight"].update(data_offsets=[32768, 0]))


def empty_file(folder):
    (folder / FIRST).write_bytes(b"")


def index_without_map(folder):
    (folder / "model.safetensors.index.json").write_text('{"weight_map": 3}')


def fifo(folder):
    (folder / FIRST).unlink()
    os.mkfifo(folder / FIRST)


def outside_link(folder):
    target = folder.parent / "outside.safetensors"
    (folder / FIRST).rename(target)
    (folder / FIRST).symlink_to(target)


def folder_for_a_shard(folder):
    (folder / FIRST).unlink()
    (folder / FIRST).mkdir()


CASES = {
    truncate: "C033",
    overlap: "C034",
    hole: "C036",
    shape_against_bytes: "C038",
    unknown_dtype: "C039",
    index_to_absent_tensor: "C024",
    tensor_not_in_index: "C026",
    wrong_shard: "C025",
    absent_file: "C022",
    duplicate_across_shards: "C028",
    wrong_total: "C029",
    duplicate_key: "C035",
    lfs_pointer: "C010",
    extra_shard: "C027",
    path_escape: "C023",
    bytes_after_the_end: "C037",
    header_longer_than_the_file: "C030",
    header_is_no_json: "C031",
    negative_offset: "C041",
    backward_offsets: "C040",
    empty_file: "C042",
    index_without_map: "C043",
    fifo: "C008",
    outside_link: "C009",
    folder_for_a_shard: "C008",
}


@pytest.mark.parametrize("defect", CASES, ids=lambda f: f.__name__)
def test_each_defect_has_its_own_code(tmp_path, defect):
    folder = tiny(tmp_path / "bad")
    defect(folder)
    assert CASES[defect] in codes(folder)


def test_the_fifteen_classes_of_defects_are_told_apart():
    named = [
        truncate, overlap, hole, shape_against_bytes, unknown_dtype, index_to_absent_tensor, tensor_not_in_index,
        wrong_shard, absent_file, duplicate_across_shards, wrong_total, duplicate_key, lfs_pointer, extra_shard,
        path_escape,
    ]  # fmt: skip
    assert len({CASES[d] for d in named}) == 15


@pytest.mark.parametrize("broken", [truncate, absent_file, lfs_pointer, fifo], ids=lambda f: f.__name__)
def test_a_broken_download_fails_with_file_and_mend_on_one_line(tmp_path, broken):
    folder = tiny(tmp_path / "bad")
    broken(folder)
    result = inspect(folder)
    assert result.outcome.verdict is Verdict.FAIL
    assert "model-0000" in result.outcome.reason
    assert "\n" not in result.outcome.reason
    assert all(f.next_step for f in result.findings if f.severity is Severity.ERROR)


def test_no_tensor_is_called_absent_when_its_shard_could_not_be_read(tmp_path):
    folder = tiny(tmp_path / "bad")
    header_is_no_json(folder)
    assert "C024" not in codes(folder)


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, "C001"), (b"{", "C002"), (b"[]", "C012"), (b'{"a": "\xff"}', "C002"), (b"[" * 100_000, "C002")],
)
def test_a_bad_config_fails(tmp_path, content, code):
    folder = tiny(tmp_path / "bad")
    (folder / "config.json").unlink()
    if content is not None:
        (folder / "config.json").write_bytes(content)
    assert code in codes(folder, Severity.ERROR)
    assert inspect(folder).outcome.verdict is Verdict.FAIL


@pytest.mark.parametrize("value", ["64", -1, 1.5, 2**70, True, [64], {}])
def test_a_config_value_of_the_wrong_kind_is_reported_and_not_used(tmp_path, value):
    folder = tiny(tmp_path / "bad", hidden_size=value)
    card = read_checkpoint(folder).card
    assert card.architecture.hidden_size is None
    assert any(f.code == "C005" and "hidden_size" in f.place for f in card.findings)


def test_a_path_that_is_no_folder_is_a_usage_error(tmp_path):
    (tmp_path / "file").write_text("x")
    for bad in (tmp_path / "nowhere", tmp_path / "file", tmp_path / "a\0b"):
        with pytest.raises(UsageError):
            inspect(bad)
        with pytest.raises(UsageError):
            fingerprint(bad)


def test_a_folder_with_only_a_config_is_inconclusive_and_says_why(tmp_path):
    write_config(tmp_path / "only")
    result = inspect(tmp_path / "only")
    assert result.outcome.verdict is Verdict.INCONCLUSIVE
    assert "no weight file" in result.outcome.reason


def test_links_into_the_same_cache_repository_are_followed(tmp_path):
    repo = tmp_path / "models--org--name"
    folder = tiny(repo / "snapshots" / "abc")
    (repo / "blobs").mkdir()
    for i, file in enumerate(sorted(folder.iterdir())):
        blob = repo / "blobs" / f"{i:064x}"
        file.rename(blob)
        file.symlink_to(os.path.relpath(blob, folder))
    assert inspect(folder).outcome.verdict is Verdict.PASS


def test_a_cache_does_not_open_the_door_to_the_rest_of_the_disk(tmp_path):
    repo = tmp_path / "models--org--name"
    folder = tiny(repo / "snapshots" / "abc")
    (repo / "blobs").mkdir()
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps(TINY))
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to(secret)
    assert "C009" in codes(folder)


def test_without_an_index_a_numbered_set_says_itself_which_shard_is_missing(tmp_path):
    folder = tiny(tmp_path / "bad")
    (folder / "model.safetensors.index.json").unlink()
    (folder / SECOND).unlink()
    assert any(f.code == "C022" and f.place == SECOND for f in read_checkpoint(folder).card.findings)


def test_every_tensor_is_listed_with_dtype_shape_bytes_and_shard(tmp_path):
    found = {t.name: t for t in read_checkpoint(tiny(tmp_path / "good")).tensors}
    assert set(found) == set(tiny_tensors())
    q = found["model.layers.1.self_attn.q_proj.weight"]
    assert (q.dtype, q.shape, q.nbytes, q.shard) == ("BF16", (64, 64), 8192, SECOND)


def test_the_fingerprint_changes_with_what_it_covers_and_with_nothing_else(tmp_path):
    folder = tiny(tmp_path / "good")
    first = fingerprint(folder)
    assert fingerprint(folder) == first
    (folder / "README.md").write_text("hello")
    assert fingerprint(folder) == first
    write_config(folder, rope_theta=1)
    second = fingerprint(folder)
    assert second != first
    os.utime(folder / FIRST, ns=(1, 1))
    assert fingerprint(folder) != second
