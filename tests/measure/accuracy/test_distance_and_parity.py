"""The verdict of parity from numbers alone: rounding passes, more than rounding does not."""

from __future__ import annotations

import json
import math
import random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.core.errors import EngineError
from seatrial.core.record import from_json, replace, to_json
from seatrial.core.verdict import Verdict
from seatrial.gates.client import Client
from seatrial.gates.exchange import Exchange
from seatrial.measure.accuracy.answers import TOP, Answered, Asked, Engine, in_process, served
from seatrial.measure.accuracy.distance import FAR, band, kl
from seatrial.measure.accuracy.parity import ParityFacts, conclude, judge

IDS = list(range(100, 110))


def test_kl_of_equal_distributions_is_zero_and_of_broken_ones_infinite():
    spoken = [math.log(x) for x in (0.5, 0.3, 0.1)]
    assert kl(spoken, spoken) == 0
    assert kl(spoken, [math.nan, -1.0, -2.0]) == math.inf
    # By hand: 0.5 ln(0.5/0.25) + 0.5 ln(0.5/0.75), the second candidate being the rest.
    assert kl([math.log(0.5)], [math.log(0.25)]) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))


@given(st.lists(st.floats(0.001, 1.0), min_size=1, max_size=8), st.data())
def test_kl_is_never_negative(weights, data):
    others = data.draw(st.lists(st.floats(0.001, 1.0), min_size=len(weights), max_size=len(weights)))
    one = [math.log(w / (sum(weights) + 0.1)) for w in weights]
    two = [math.log(w / (sum(others) + 0.2)) for w in others]
    assert kl(one, two) >= 0


def noisy(scale, count, seed):
    pick = random.Random(seed)
    return [scale * pick.gammavariate(2.0, 1.0) for _ in range(count)]


@pytest.mark.parametrize("seed", range(20))
def test_the_same_noise_twice_is_in_the_band(seed):
    assert not band("prefill", noisy(1e-4, 120, seed), noisy(1e-4, 120, seed + 100)).out


def test_an_amplitude_above_the_limit_is_out_and_few_positions_are_not_judged():
    # Three times the amplitude: too little to be far, so that the quantiles alone must see it.
    wide = band("prefill", noisy(1e-4 * 3.0**2, 120, 1), noisy(1e-4, 120, 2))
    assert not wide.far_is_more
    assert wide.out
    assert not band("prefill", noisy(1e-4 * 1.3**2, 120, 1), noisy(1e-4, 120, 2)).out
    assert not band("prefill", [1.0] * 5, [1e-9] * 5).out


def test_far_positions_count_against_those_of_the_noise():
    calm, far = noisy(1e-4, 100, 3), [1e-4 * 10 * FAR**2] * 8
    assert band("decode", calm[:92] + far, calm).out
    # A router's near-ties make such positions in the noise as well.
    assert not band("decode", calm[:96] + far[:4], calm[:97] + far[:3]).out


def answers(shift=0.0, tokens=24, jitter=0.0):
    """One prompt of 30 tokens; the engine's log-probabilities off by `shift` on alternating candidates."""
    pick = random.Random(5)
    probabilities = [0.3, 0.2, 0.1, 0.08, 0.07, 0.05, 0.04, 0.03, 0.02, 0.01]
    true = [math.log(p) for p in probabilities]
    top, at, rough = [None], [[]], [[]]
    for _ in range(30 + tokens - 1):
        signs = [pick.choice((-1, 1)) for _ in true]
        top.append({i: t + shift * s for i, t, s in zip(IDS, true, signs, strict=True)})
        at.append(true)
        rough.append([t + 0.01 * pick.choice((-1, 1)) for t in true])
    engine = Answered(asked=Asked(text="x"), prompt_ids=(1,) * 30, tokens=(IDS[0],) * tokens, top=tuple(top))
    count = len(top)
    score = {"best": [None] + [IDS[0]] * (count - 1), "best_logprob": [None] + [true[0]] * (count - 1)}
    reference = {
        "class": "Tiny",
        "transformers": "5",
        "prompt_ids": [[1] * 30],
        "dtypes": {"float32": [{**score, "at": at}], "bfloat16": [{**score, "at": rough}]},
    }
    return engine, reference


def verdict(engine, reference):
    facts = judge("c", [engine], reference, dtype="bfloat16", truth_dtype="float32", how="test", engine="e")
    return conclude(facts)


def test_rounding_passes_and_ten_times_rounding_fails():
    assert verdict(*answers(0.01)).outcome.verdict is Verdict.PASS
    result = verdict(*answers(0.1))
    assert result.outcome.verdict is Verdict.FAIL
    assert {f.code for f in result.findings} == {"A101", "A102"}


def test_a_divergence_within_the_noise_is_a_near_tie_and_a_wide_one_is_told():
    engine, reference = answers(0.01)
    place = 30 + 5
    reference["dtypes"]["float32"][0]["best"][place] = IDS[1]
    reference["dtypes"]["float32"][0]["best_logprob"][place] = math.log(0.3) + 0.005
    facts = verdict(engine, reference).facts
    assert [(d.place, d.near_tie) for d in facts.divergences] == [(5, True)]
    reference["dtypes"]["float32"][0]["best_logprob"][place] = math.log(0.3) + 1.0
    result = verdict(engine, reference)
    assert not result.facts.divergences[0].near_tie
    # One alone with every distance at rounding's size is a warning (a router's near-tie), not a verdict.
    assert result.outcome.verdict is Verdict.PASS
    assert [f.code for f in result.findings] == ["A103"]


def test_other_tokens_than_the_reference_tokenizer_are_a_fault_of_their_own():
    engine, reference = answers(0.01)
    reference["prompt_ids"] = [[2] * 30]
    result = verdict(engine, reference)
    assert [f.code for f in result.findings] == ["A104"]
    assert result.outcome.verdict is Verdict.FAIL


def test_too_few_positions_are_inconclusive():
    engine, reference = answers(0.01)
    short = Answered(asked=engine.asked, prompt_ids=(1,) * 3, tokens=engine.tokens[:2], top=engine.top[:5])
    reference["prompt_ids"] = [[1] * 3]
    assert verdict(short, reference).outcome.verdict is Verdict.INCONCLUSIVE


def test_two_wide_divergences_of_six_prompts_do_not_make_each_other_a_fault():
    engine, reference = answers(0.01)
    for kind in reference["dtypes"].values():
        kind[:] = [{k: list(v) for k, v in kind[0].items()} for _ in range(6)]
    reference["prompt_ids"] *= 6
    for number in range(2):
        truth = reference["dtypes"]["float32"][number]
        truth["best"][35], truth["best_logprob"][35] = IDS[1], math.log(0.3) + 1.0
    facts = judge("c", [engine] * 6, reference, dtype="bfloat16", truth_dtype="float32", how="t", engine="e")
    result = conclude(facts)
    assert [f.code for f in result.findings] == ["A103", "A103"]
    assert result.outcome.verdict is Verdict.PASS
    for number in range(2, 5):
        truth = reference["dtypes"]["float32"][number]
        truth["best"][35], truth["best_logprob"][35] = IDS[1], math.log(0.3) + 1.0
    facts = judge("c", [engine] * 6, reference, dtype="bfloat16", truth_dtype="float32", how="t", engine="e")
    assert conclude(facts).outcome.verdict is Verdict.FAIL


def client(document, status=200):
    body = json.dumps(document).encode()
    reply = Exchange(method="POST", path="/x", how="answered", duration_s=0.1, status=status, body=body)
    sent = []

    def send(method, path, words):
        sent.append(words)
        return reply

    return Client("tiny", send), sent


def test_a_served_answer_is_read_with_ids_and_log_probabilities_of_both_parts():
    choice = {
        "prompt_token_ids": [5, 6],
        "token_ids": [7],
        "prompt_logprobs": [None, {"6": {"logprob": -0.5}, "9": {"logprob": -1.5}}],
        "logprobs": {"top_logprobs": [{"token_id:7": -0.25}]},
    }
    asking, sent = client({"choices": [choice]})
    (answer,) = served(asking, [Asked(text="hi")], max_tokens=1)
    assert answer.prompt_ids == (5, 6)
    assert answer.top == (None, {6: -0.5, 9: -1.5}, {7: -0.25})
    assert (sent[0]["temperature"], sent[0]["prompt_logprobs"]) == (0, TOP)
    assert sent[0]["prompt"] == "hi"


def test_a_picture_is_asked_in_a_chat_message_whose_answer_has_another_form():
    document = {
        "prompt_token_ids": [5, 6],
        "prompt_logprobs": [None, {"6": {"logprob": -0.5}}],
        "choices": [
            {
                "token_ids": [7],
                "logprobs": {
                    "content": [
                        {
                            "token": "token_id:7",
                            "top_logprobs": [
                                {"token": "token_id:7", "logprob": -0.25},
                                {"token": "token_id:8", "logprob": -2.0},
                            ],
                        }
                    ]
                },
            }
        ],
    }
    asking, sent = client(document)
    (answer,) = served(asking, [Asked(text="What?", image=True, chat=True)], max_tokens=1)
    assert (answer.prompt_ids, answer.tokens) == ((5, 6), (7,))
    assert answer.top == (None, {6: -0.5}, {7: -0.25, 8: -2.0})
    picture, words = sent[0]["messages"][0]["content"]
    assert picture["image_url"]["url"].startswith("data:image/png;base64,")
    assert words == {"type": "text", "text": "What?"}
    assert (sent[0]["logprobs"], sent[0]["top_logprobs"]) == (True, TOP)


def test_the_prompts_with_a_picture_are_judged_by_themselves_too():
    def row(image, factor):
        told = [[-1.0, -1.5, -3.0]] * 30
        noise = [[-1.0 + 0.003 * (-1) ** i, -1.5 - 0.003 * (-1) ** i, -3.0] for i in range(30)]
        off = [{1: -1.0 + factor * (n[0] + 1.0), 2: -1.5 + factor * (n[1] + 1.5), 3: -3.0} for n in noise]
        answer = Answered(asked=Asked(text="x", image=image), prompt_ids=tuple(range(30)), tokens=(), top=tuple(off))
        return answer, {"at": told, "best": [1] * 30, "best_logprob": [-1.0] * 30}, noise

    def judged(factor):
        rows = [row(False, 1.0) for _ in range(19)] + [row(True, factor)]
        dtypes = {"float32": [t for _, t, _ in rows], "bfloat16": [{**t, "at": n} for _, t, n in rows]}
        own = [list(range(30))] * len(rows)
        reference = {"dtypes": dtypes, "class": "X", "transformers": "0", "prompt_ids": own}
        answers = [a for a, _, _ in rows]
        return conclude(judge("c", answers, reference, dtype="bfloat16", truth_dtype="float32", how="t", engine="e"))

    assert judged(1.0).findings == ()
    wrong = judged(3.0)
    assert [b.part for b in wrong.facts.bands if b.out] == ["picture"]
    assert [f.code for f in wrong.findings] == ["A105"]


@pytest.mark.parametrize("document", [{}, {"choices": []}, {"choices": [{"token_ids": [1], "prompt_token_ids": None}]}])
def test_a_server_without_token_ids_is_refused_with_the_way_out(document):
    with pytest.raises(EngineError, match="lacks token ids") as caught:
        served(client(document)[0], [Asked(text="hi")], max_tokens=1)
    assert "--in-process" in caught.value.mend
    with pytest.raises(EngineError, match="HTTP 400"):
        served(client(document, 400)[0], [Asked(text="hi")], max_tokens=1)


@pytest.mark.parametrize("broken", ["bfloat16", "float32"])
def test_a_reference_that_gives_no_numbers_passes_nothing(broken):
    engine, reference = answers(0.1)  # ten times rounding
    rows = reference["dtypes"][broken][0]
    rows["at"] = [[math.nan] * len(row) for row in rows["at"]]
    result = verdict(engine, reference)
    assert result.outcome.verdict is Verdict.INCONCLUSIVE
    assert "the reference gives no numbers at 53 of 53 positions" in result.outcome.reason


def test_an_engine_that_gives_no_numbers_fails_and_its_facts_can_be_read_again():
    engine, reference = answers(0.01)
    top = tuple(None if row is None else dict.fromkeys(row, math.nan) for row in engine.top)
    result = verdict(replace(engine, top=top), reference)
    assert result.outcome.verdict is Verdict.FAIL
    assert from_json(ParityFacts, to_json(result.facts), where="facts") == result.facts


def test_a_decode_that_was_hardly_looked_at_is_not_passed_with_the_prefill():
    result = verdict(*answers(0.01, tokens=4))
    assert result.outcome.verdict is Verdict.INCONCLUSIVE
    assert "decode: 4 positions" in result.outcome.reason
    assert verdict(*answers(0.1, tokens=4)).outcome.verdict is Verdict.FAIL


@pytest.mark.parametrize("lost", ["prompt_logprobs", "top_logprobs"])
def test_a_server_that_leaves_a_position_out_is_refused_and_not_read_one_place_off(lost):
    choice = {
        "prompt_token_ids": [5, 6],
        "token_ids": [7, 8],
        "prompt_logprobs": [None, {"6": {"logprob": -0.5}}],
        "logprobs": {"top_logprobs": [{"token_id:7": -0.25}, {"token_id:8": -0.25}]},
    }
    (choice if lost in choice else choice["logprobs"])[lost].pop(0)
    with pytest.raises(EngineError, match="log-probabilities of 3 of 4 tokens"):
        served(client({"choices": [choice]})[0], [Asked(text="hi")], max_tokens=2)


def test_a_probe_that_answers_fewer_prompts_than_it_was_asked_is_no_answer():
    one = {"prompt_ids": [1], "tokens": [2], "prompt_top": [None], "top": [{2: -0.1}]}
    answer = {"answers": [one], "modules": [], "watched": {}, "dtype": "f", "engine": "e", "load_s": 0, "ask_s": 0}
    reply = SimpleNamespace(status="answered", answer=answer, log="probe.log")
    session = SimpleNamespace(call=lambda *_, **__: reply)
    with pytest.raises(EngineError, match="answered 1 of 2 prompts"):
        in_process(session, Engine(checkpoint="c"), [Asked(text="a"), Asked(text="b")], max_tokens=1)
    assert len(in_process(session, Engine(checkpoint="c"), [Asked(text="a")], max_tokens=1).answers) == 1
