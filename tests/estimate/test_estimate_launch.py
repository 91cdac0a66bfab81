"""A launch command's flags and variables become the plan's layout and serving; what is beyond them is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.estimate.launch import BEYOND, read_launch, read_number


def test_flags_with_either_spelling_become_the_layout_and_the_serving():
    argv = ("vllm", "serve", "/m", "--tensor-parallel-size", "8", "--pipeline_parallel_size=2", "-dp", "4",
            "--enable-expert-parallel", "--max-model-len=128K", "--max-num-seqs", "16", "--no-enable-prefix-caching",
            "--gpu-memory-utilization", "0.85", "--kv-cache-dtype", "fp8", "--block-size", "64", "--enforce-eager",
            "--dtype", "float16", "--kv-cache-memory-bytes", "1.5g")  # fmt: skip
    found = read_launch(argv, {}, "cuda")
    assert (found.layout.tp, found.layout.pp, found.layout.dp, found.layout.ep) == (8, 2, 4, True)
    serving = found.serving
    assert (serving.max_model_len, serving.max_num_seqs, serving.utilization) == (131072, 16, 0.85)
    assert (serving.kv_dtype, serving.block_size, serving.kv_bytes) == ("fp8", 64, 1_500_000_000)
    assert (serving.prefix_caching, serving.eager, found.dtype, found.notes) == (False, True, "F16", ())


def test_the_last_of_a_repeated_flag_counts():
    assert read_launch(("--max-num-seqs", "4", "--max-num-seqs", "8"), {}, "cpu").serving.max_num_seqs == 8


def test_the_cpus_variable_sets_the_cache_outright_even_over_the_flag():
    argv, env = ("--kv-cache-memory-bytes", "77"), {"VLLM_CPU_KVCACHE_SPACE": "2"}
    assert read_launch(argv, env, "cpu").serving.kv_bytes == 2 << 30
    assert read_launch(argv, env, "cuda").serving.kv_bytes == 77


@pytest.mark.parametrize("flag", BEYOND)
def test_a_flag_that_no_formula_takes_is_named(flag):
    assert any(flag in note for note in read_launch((flag, "x"), {}, "cuda").notes)


@pytest.mark.parametrize("value", ["auto", "-1", "", "4096x", "9" * 40, "٣"])
def test_a_number_that_is_none_is_named_and_not_taken(value):
    found = read_launch(("--max-model-len", value), {}, "cuda")
    assert found.serving.max_model_len is None
    assert any("--max-model-len" in note for note in found.notes)


def test_drafts_are_read_from_the_speculative_config():
    told = '{"method": "eagle3", "model": "/draft", "num_speculative_tokens": 3}'
    found = read_launch(("--speculative-config", told), {}, "cuda")
    assert (found.serving.spec_tokens, found.draft) == (3, "/draft")
    ngram = read_launch(("--speculative-config", '{"method": "ngram", "num_speculative_tokens": 3}'), {}, "cuda")
    assert (ngram.serving.spec_tokens, ngram.notes) == (0, ())
    assert read_launch(("--speculative-config", "{"), {}, "cuda").notes


@given(st.lists(st.text(max_size=12) | st.sampled_from(["--max-model-len", "--dtype", "--speculative-config", "-tp"])))
def test_no_argument_breaks_the_reading(argv):
    found = read_launch(argv, {}, "cpu")
    assert found.layout.tp >= 1
    assert 0 < found.serving.utilization <= 1


@given(st.integers(1, 10**15))
def test_a_plain_number_is_itself(number):
    assert read_number(str(number)) == number
