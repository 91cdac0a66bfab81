"""Figures of a text are looked up in the records, each by what it is a figure of."""

from __future__ import annotations

import random
import re

import pytest
from delivery_runs import DATA

from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.figures import FIGURE, numbers_of, unfounded
from seatrial.delivery.scores import read_scores


@pytest.fixture
def numbers(run, scores):
    return numbers_of(EvidenceView(run), read_scores(scores))


def shown(text, numbers):
    return [f.figure for f in unfounded(text, numbers)]


def test_figures_are_looked_up_in_the_records_and_not_in_the_text_itself(numbers):
    true = "就绪用时 40.7 s，197.1 k 参数，上下文 4,096，HTTP 200，512 token，见第 `Qwen3` 节。"
    assert shown(true, numbers) == []
    false = "就绪用时 41.9 s，197.3 k 参数，上下文 4,097，吞吐 5321.7 token/s，加速 2.41 倍。"
    assert shown(false, numbers) == ["41.9", "197.3", "4,097", "5321.7", "2.41"]


@pytest.mark.parametrize(
    ("true", "false"),
    [
        # Each wrong one stands in the records too, as a figure of something else.
        ("| Layers | 2 |", "| Layers | 4 |"),
        ("- Capacity baseline: 512 tokens by 2 sequences", "- Capacity baseline: 512 tokens by 64 sequences"),
        ("- 该长度下实测的最大并发：64 路", "- 该长度下实测的最大并发：2 路"),
        ("- Longest context really served: 512 tokens", "- Longest context really served: 4,096 tokens"),
        ("- 真实权重验证时设置的上下文长度：256 token", "- 真实权重验证时设置的上下文长度：512 token"),
        ("```\n--max-model-len 256 \\\n```", "```\n--max-model-len 4096 \\\n```"),
        ("```\n--max-num-seqs 4\n```", "```\n--max-num-seqs 16\n```"),
        ("```\nexport HF_HUB_OFFLINE=1\n```", "```\nexport HF_HUB_OFFLINE=2\n```"),
        ("ready in 23.7 s, 2 requests answered", "ready in 23.7 s, 4 requests answered"),
        ("25 tensors → 19 parameters", "19 tensors → 25 parameters"),
        ("tensor-parallel size 1", "tensor-parallel size 4"),
    ],
)
def test_a_small_whole_number_counts_only_as_what_it_is_a_number_of(true, false, numbers):
    assert shown(true, numbers) == []
    assert shown(false, numbers)


def test_a_whole_number_that_nothing_labels_is_backed_by_nothing(numbers):
    assert shown("It was tried 4 times.", numbers) == ["4"]
    assert shown("| Step | Tries |\n|---|---|\n| dummy | 2 |", numbers) == ["2"]


def test_a_whole_number_of_the_records_put_elsewhere_in_a_delivered_page_is_noticed(numbers):
    """Each figure of the delivered pages is replaced by other whole numbers that the records hold somewhere."""
    chance = random.Random(7)
    others = (1, 2, 3, 4, 5, 8, 16, 19, 25, 32, 64, 128, 256, 512, 768, 4096)
    tried = noticed = 0
    for page in re.split(r"^==== ", (DATA / "golden-generic.txt").read_text(), flags=re.M):
        name, _, text = page.partition("\n")
        if not name.endswith(".zh.md"):
            continue
        assert shown(text, numbers) == []
        for figure in FIGURE.finditer(text):
            value = figure[1].replace(",", "")
            marked = text[: figure.start()] + "98765" + text[figure.end() :]
            if "." in value or not shown(marked, numbers):
                continue  # A heading's number, or one of a link: no figure.
            other = chance.choice([n for n in others if n != int(value)])
            tried += 1
            noticed += bool(shown(text[: figure.start()] + str(other) + text[figure.end() :], numbers))
    assert tried > 50
    assert noticed >= 0.97 * tried
