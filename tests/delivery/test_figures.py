"""Figures of a text are looked up in the records, each by what it is a figure of."""

from __future__ import annotations


def test_figures_are_looked_up_in_the_records_and_not_in_the_text_itself(run):
    from seatrial.delivery.evidence_view import EvidenceView
    from seatrial.delivery.figures import numbers_of, unfounded

    numbers = numbers_of(EvidenceView(run))
    true = "就绪用时 40.7 s，197.1 k 参数，上下文 4,096，HTTP 200，512 token，见第 `Qwen3` 节。"
    assert unfounded(true, numbers) == []
    false = "就绪用时 41.9 s，197.3 k 参数，上下文 4,097，吞吐 5321.7 token/s，加速 2.41 倍。"
    assert [f.figure for f in unfounded(false, numbers)] == ["41.9", "197.3", "4,097", "5321.7", "2.41"]
