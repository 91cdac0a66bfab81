"""The ladder against a stand-in server: what is right, wrong, not extracted, lost; and what makes a result partial."""

from __future__ import annotations

import contextlib
import json
import re

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from tests.measure.accuracy.server import StandIn

from seatrial.cli.accuracy import command
from seatrial.core.errors import FileFormatError, UsageError
from seatrial.delivery.scores import read_scores
from seatrial.gates.client import Client
from seatrial.measure.accuracy.dataset import extract, read_questions, same
from seatrial.measure.accuracy.ladder import Setting, assertions, one_prompt, questions, service
from seatrial.measure.accuracy.prompts_l2 import L2, repeated
from seatrial.measure.accuracy.run import FILES, read_run
from seatrial.measure.accuracy.serving import address, client_at

SUMS = [
    {"id": f"q{i}", "question": f"What is {i} + {i}?", "answer": str(2 * i), "subset": "ab"[i % 2]} for i in range(8)
]


@pytest.fixture
def sums(tmp_path):
    file = tmp_path / "sums.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in SUMS))
    return file


def adds(prompt, _):
    one, two = re.findall(r"\d+", prompt)
    return f"The answer is {int(one) + int(two)}."


def asked(stand_in, file, folder, **more):
    place = address(stand_in.url, "tiny")
    setting = Setting(api_url=place.url, model="tiny", chat=True, max_tokens=64, repeats=more.pop("repeats", 1))
    given_ = read_questions(file, more.get("limit"))
    return questions(
        client_at(place, 300.0),
        setting,
        folder,
        given_,
        name="sums",
        limit=more.get("limit"),
        level=more.get("level", "L4"),
    )


def test_a_whole_data_set_is_scored_by_subset_with_all_five_files(sums, tmp_path):
    with StandIn(lambda p, n: adds(p, n) if "7 +" not in p else "The answer is 13.") as stand_in:
        score = asked(stand_in, sums, tmp_path / "run")
    assert (score.status, score.num_correct, score.num_total) == ("complete", 7, 8)
    assert {s.name: s.correct for s in score.subsets} == {"a": 4, "b": 3}
    assert score.scores[0].value == 7 / 8
    assert score.scores[0].conclusive
    run = read_run(tmp_path / "run")
    assert run.dataset.total == 8
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == sorted(FILES)
    (failed,) = (tmp_path / "run" / "failed_cases.jsonl").read_text().splitlines()
    assert json.loads(failed)["extracted"] == "13"


def test_questions_that_are_asked_twice_are_counted_once_and_their_answers_beside_them(sums, tmp_path):
    with StandIn(adds) as stand_in:
        (twice,) = asked(stand_in, sums, tmp_path / "twice", repeats=2).scores
        (once,) = asked(stand_in, sums, tmp_path / "once").scores
    assert (twice.n, twice.answers) == (8, 16)
    assert (once.n, once.answers) == (8, None)
    assert read_scores((tmp_path / "twice",)).quoted == (twice,)


def test_of_a_question_that_was_asked_twice_a_lost_request_is_no_lost_question(sums, tmp_path):
    with StandIn(lambda p, n: "" if n == 3 else adds(p, n)) as stand_in:
        score = asked(stand_in, sums, tmp_path / "run", repeats=2)
    assert score.reason.startswith("1 of 16 requests have no answer")
    assert (score.scores[0].n, score.scores[0].answers) == (8, 15)


def test_half_of_a_data_set_that_was_asked_twice_is_no_whole_one_also_in_an_older_document(sums, tmp_path):
    with StandIn(adds) as stand_in:
        asked(stand_in, sums, tmp_path / "run", repeats=2)
    score, dataset = tmp_path / "run" / "score.json", tmp_path / "run" / "dataset_config.json"
    document = json.loads(score.read_text())
    document["scores"][0] |= {"n": 16, "answers": None}
    score.write_text(json.dumps(document))
    assert read_scores((tmp_path / "run",)).quoted
    dataset.write_text(json.dumps({**json.loads(dataset.read_text()), "total": 16}))
    with pytest.raises(FileFormatError, match="8 questions of 16 are no whole task"):
        read_scores((tmp_path / "run",))


def test_the_first_n_are_no_conclusion(sums, tmp_path):
    with StandIn(adds) as stand_in:
        score = asked(stand_in, sums, tmp_path / "run", limit=3, level="L3")
    assert (score.num_total, score.status) == (3, "complete")
    assert not score.scores[0].conclusive


def test_an_answer_without_a_number_is_not_extracted_rather_than_wrong(sums, tmp_path):
    with StandIn(lambda p, n: "I would rather not say.") as stand_in:
        score = asked(stand_in, sums, tmp_path / "run")
    assert (score.num_not_extracted, score.num_correct, score.status) == (8, 0, "complete")


def test_empty_answers_make_the_result_partial_and_no_score_of_zero(sums, tmp_path):
    with StandIn(lambda p, n: "") as stand_in:
        score = asked(stand_in, sums, tmp_path / "run")
    assert score.status == "partial"
    assert score.num_no_answer == 8
    assert score.scores == ()
    assert "8 of 8 questions have no answer" in score.reason


def test_a_server_that_fails_half_way_gives_a_partial_result_over_what_was_answered(sums, tmp_path):
    with StandIn(lambda p, n: adds(p, n) if n <= 4 else None) as stand_in:
        score = asked(stand_in, sums, tmp_path / "run")
    assert score.status == "partial"
    assert (score.scores[0].n, score.scores[0].value, score.scores[0].complete) == (4, 1.0, False)
    assert "HTTP 500" in score.reason


def test_a_server_that_was_restarted_in_the_middle_gives_a_partial_result(sums, tmp_path):
    with StandIn(adds, born=lambda n: 1.0 if n < 4 else 2.0) as stand_in:
        score = asked(stand_in, sums, tmp_path / "run")
    assert score.status == "partial"
    assert "restarted" in score.reason


def test_a_server_that_is_gone_gives_no_score_at_all(sums, tmp_path):
    with StandIn(adds) as stand_in:
        url = stand_in.url
    place = address(url, "tiny")
    setting = Setting(api_url=url, model="tiny", chat=True)
    folder = tmp_path / "run"
    score = questions(client_at(place, 300.0), setting, folder, read_questions(sums), name="s", limit=None, level="L4")
    assert (score.status, score.num_no_answer, score.scores) == ("partial", 8, ())


def hasty_from(place, stand_in, question):
    """A client that waits as long as an answer takes, and from that question on, which has none, 0.3 s."""

    def send(*asked):
        return client_at(place, 0.3 if stand_in.asked >= question - 1 else 300.0)._send(*asked)

    return Client(place.model, send)


def test_a_server_that_falls_silent_half_way_is_waited_for_once_and_nothing_more_is_asked(sums, tmp_path):
    with StandIn(adds, silent_from=4) as stand_in:
        place = address(stand_in.url, "tiny")
        setting = Setting(api_url=stand_in.url, model="tiny", chat=True)
        client = hasty_from(place, stand_in, 4)
        score = questions(client, setting, tmp_path / "run", read_questions(sums), name="s", limit=None, level="L4")
        assert stand_in.was_asked(4)
    assert (score.status, score.num_correct, score.num_no_answer) == ("partial", 3, 5)
    assert score.scores[0].n == 3
    assert not score.scores[0].complete
    rows = read_run(tmp_path / "run").predictions
    assert rows[3].trouble.startswith("no complete answer within")
    assert all(r.trouble.startswith("not asked: since question q3 the server is gone (") for r in rows[4:])


def test_a_server_that_is_stopping_and_waits_for_the_answer_under_way_is_not_waited_for(sums, tmp_path):
    with StandIn(adds, silent_from=4, closes=True) as stand_in:
        place = address(stand_in.url, "tiny")
        setting = Setting(api_url=stand_in.url, model="tiny", chat=True)
        client = client_at(place, 300.0, every_s=0.1)
        score = questions(client, setting, tmp_path / "run", read_questions(sums), name="s", limit=None, level="L4")
    assert (score.status, score.num_correct, score.num_no_answer) == ("partial", 3, 5)
    rows = read_run(tmp_path / "run").predictions
    assert rows[3].trouble.startswith("the server died")
    assert "/health: connection refused" in rows[4].trouble


def test_a_smoke_level_does_not_go_on_asking_a_server_that_is_gone(tmp_path):
    with StandIn(lambda prompt, n: "42", silent_from=3) as stand_in:
        setting = Setting(api_url=stand_in.url, model="tiny", chat=True)
        assertions(hasty_from(address(stand_in.url, "tiny"), stand_in, 3), setting, tmp_path / "run")
        assert stand_in.was_asked(3)
    troubles = [r.trouble for r in read_run(tmp_path / "run").predictions]
    assert sum(t.startswith("not asked: since question ") for t in troubles) == len(troubles) - 2


def test_the_smoke_levels_pass_on_a_sane_server_and_name_what_fails(tmp_path):
    answers = {
        "17 + 25": "42",
        "12 times": "144",
        "capital": "Paris",
        "北京": "北京是中国的首都。",
        "sea in one": "The sea is wide.",
        "in words": "one, two, three, four, ",
        "1 to 100": "1 2 3 4 5 6 7 8 9 10 11",
        "letters": "a b c d e",
    }

    def sane(prompt, _):
        return next((a for key, a in answers.items() if key in prompt), "Hello, crew!")

    with StandIn(sane) as stand_in:
        place = address(stand_in.url, "tiny")
        client, setting = client_at(place, 300.0), Setting(api_url=place.url, model="tiny", chat=True)
        assert service(client, setting, tmp_path / "L0", None).num_correct == 2
        assert one_prompt(client, setting, tmp_path / "L1").num_correct == 1
        score = assertions(client, setting, tmp_path / "L2")
        assert (score.num_correct, score.status) == (len(L2), "smoke")
        answers["17 + 25"] = "41"
        worse = assertions(client, setting, tmp_path / "L2b")
    assert worse.num_correct == len(L2) - 1
    (failed,) = (tmp_path / "L2b" / "failed_cases.jsonl").read_text().splitlines()
    assert json.loads(failed)["trouble"] == "the answer does not hold 42"


def test_two_different_answers_to_the_same_prompt_fail(tmp_path):
    with StandIn(lambda p, n: f"42 144 Paris {n}") as stand_in:
        place = address(stand_in.url, "tiny")
        score = assertions(
            client_at(place, 300.0), Setting(api_url=place.url, model="tiny", chat=True), tmp_path / "L2"
        )
    rows = {p.id: p for p in read_run(tmp_path / "L2").predictions}
    assert rows["arithmetic"].trouble == "asked twice, two answers"
    assert score.num_correct == 0


def test_a_log_with_an_error_fails_level_zero(tmp_path):
    log = tmp_path / "server.log"
    log.write_text("INFO fine\nERROR 11-20 10:00:00 [core.py:1] RuntimeError: NaN in the logits\n")
    with StandIn(adds) as stand_in:
        place = address(stand_in.url, "tiny")
        score = service(
            client_at(place, 300.0), Setting(api_url=place.url, model="tiny", chat=True), tmp_path / "r", log
        )
    assert score.num_correct == 2
    assert score.num_total == 3


def test_repetition_is_seen():
    assert repeated("wow wow wow wow wow wow wow wow ")
    assert not repeated("one two three four five six seven")


@pytest.mark.parametrize(
    ("text", "expected", "taken"),
    [
        ("So 17 + 25 = 42.", "42", "42"),
        ("The answer is 42, not 43.", "42", "42"),
        ("#### 1,234", "1234", "1,234"),
        ("答案是 7。", "7", "7"),
        ("I think (B) is right", "B", "B"),
        ("Answer: C", "A", "C"),
        ("no number here", "42", None),
        ("Paris\nbecause", "Paris", "Paris"),
        ("", "Paris", None),
    ],
)
def test_answers_are_taken_out_by_the_kind_of_the_expected_one(text, expected, taken):
    assert extract(text, expected) == taken


def test_numbers_and_words_are_compared_as_such():
    assert same("1,234.0", "1234")
    assert same(" Paris.", "paris")
    assert not same("12", "13")


@given(st.text(max_size=200), st.sampled_from(["42", "B", "Paris"]))
def test_extraction_never_raises(text, expected):
    taken = extract(text, expected)
    assert taken is None or isinstance(taken, str)


@given(st.binary(max_size=300))
def test_a_hostile_data_set_is_refused_or_read(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("d") / "d.jsonl"
    file.write_bytes(data)
    # Anything else that is raised here is a fault.
    with contextlib.suppress(UsageError, FileFormatError):
        assert read_questions(file).chosen


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "holds no question"),
        ("[1]", "line 1 is no object"),
        ('{"question": "a"}', "lacks `question` or `answer`"),
        ('{"question": "a", "answer": "1", "id": 1}\n{"question": "b", "answer": "1", "id": 1}', "used twice"),
    ],
)
def test_a_broken_data_set_is_named_by_its_line(tmp_path, content, says):
    file = tmp_path / "d.jsonl"
    file.write_text(content)
    with pytest.raises((UsageError, FileFormatError), match=re.escape(says)):
        read_questions(file)


def test_the_command_asks_a_running_server_and_checks_the_score(sums, tmp_path):
    with StandIn(adds) as stand_in:
        folder = tmp_path / "tiny"
        folder.mkdir()
        words = ["run", str(folder), "--url", stand_in.url, "--level", "L4", "--dataset", str(sums), "--chat"]
        words += ["--workspace", str(tmp_path)]
        done = CliRunner().invoke(command, [*words, "--out", str(tmp_path / "o"), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["num_correct"] == 8
    for expected, code in (("1.0", 0), ("0.9", 1)):
        again = CliRunner().invoke(command, ["check", str(tmp_path / "o"), "--expected", expected])
        assert again.exit_code == code, again.output


def test_a_missing_data_set_is_an_error_before_any_server_is_started(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    words = ["run", str(tmp_path), "--url", "http://127.0.0.1:9", "--level", "L3", "--out", str(tmp_path / "o")]
    with pytest.raises(UsageError, match="cannot be read"):
        CliRunner().invoke(command, [*words, "--dataset", "absent.jsonl"], catch_exceptions=False)
    with pytest.raises(UsageError, match="needs either --dataset or --task"):
        CliRunner().invoke(command, words, catch_exceptions=False)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("field", ["question", "answer", "id", "subset"])
def test_a_question_with_half_a_character_is_refused_with_its_line(tmp_path, field):
    file = tmp_path / "odd.jsonl"
    file.write_text(json.dumps({"question": "a?", "answer": "b", field: "\ud800"}))
    with pytest.raises(FileFormatError, match=r"odd\.jsonl line 1 holds half a character"):
        read_questions(file)


def test_a_group_that_took_no_part_has_taken_no_answer_out():
    assert extract("so: none", "4", r"answer (\d+)|none") is None
    assert extract("answer 4", "4", r"answer (\d+)|none") == "4"
