"""The command, its screen, liveness, the docs page, CANN's table."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from seatrial.cli.triage import command
from seatrial.core.errors import EngineError, UsageError
from seatrial.triage import cann, diagnose_text, library
from seatrial.triage.anchors import anchors
from seatrial.triage.liveness import _texts, check, roots_of_target
from seatrial.triage.page import render
from seatrial.triage.signatures import releases

ROOT = Path(__file__).resolve().parents[2]


KNOWN = "RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB\n"


STRANGE = (
    'Traceback (most recent call last):\n  File "/a/b.py", line 3, in go\n    x()\nQuuxError: frob 12 of /m/x failed\n'
)


def run(*args, **more):
    return CliRunner().invoke(command, args, catch_exceptions=False, **more)


def test_json_has_the_promised_fields(tmp_path):
    log = tmp_path / "a.log"
    log.write_text(KNOWN)
    result = run(str(log), "--json")
    answer = json.loads(result.output)
    assert result.exit_code == 1
    assert answer["category"] == "hbm-oom"
    assert {"category", "confidence", "first_cause", "next_step", "signature", "consequences", "noise"} <= set(answer)
    assert {"text", "file", "line", "process", "time"} <= set(answer["first_cause"])


def test_standard_input_and_exit_codes():
    assert run("-", input=KNOWN).exit_code == 1
    assert run("-", input=STRANGE).exit_code == 3
    assert run("-", input="INFO 05-12 10:00:00 [a.py:1] fine\n").exit_code == 0
    assert "OOM" in run("-", "--exit", "server=137", input="INFO: start\n").output


def odd_lines(count: int) -> str:
    line = "(Worker_TP{0} pid={0}) ERROR 05-12 10:00:00 [x.py:1] ValueError: odd thing {1} {2}\n"
    return "".join(line.format(i, "z" * i, "went wrong in the middle of the night " * 4) for i in range(count))


SCREENS = {
    "known": odd_lines(60) + KNOWN * 3,
    "long": "RuntimeError: NPU out of memory. " + "很长 \x1b[2J\x07 text " * 300 + "\n",
    "deep": 'Traceback (most recent call last):\n  File "/'
    + "deep/" * 60
    + 'end.py", line 3, in go\n    x()\n'
    + KNOWN,
    "unknown": "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above.\n",
    "dead": "Killed\n" + odd_lines(9),
    "clean": "INFO 05-12 10:00:00 [a.py:1] fine\n",
}


@pytest.mark.parametrize("name", SCREENS)
@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (40, 24)])
def test_the_human_view_fits_one_screen(width, height, name):
    from rich.cells import cell_len
    from rich.console import Console

    from seatrial.cli._triage_view import HEAD, rows

    answer = diagnose_text(SCREENS[name], exit_codes={"server": -11} if name == "dead" else None)
    shown = rows(answer, Console(width=width, height=height, force_terminal=True))
    assert len(shown) <= height - 2
    assert all(HEAD + cell_len(row.text) <= width for row in shown)
    heads = {row.head for row in shown}
    assert {"category", "why", "next"} <= heads
    assert answer.first_cause is None or {"first cause", "where"} <= heads
    assert not any(c < " " for row in shown for c in row.text)
    if width == 80 and name == "deep":
        assert any(row.text.startswith("…") and row.text.endswith("end.py:3 in go") for row in shown)


def test_without_a_terminal_a_text_keeps_its_length(tmp_path):
    log = tmp_path / "a.log"
    log.write_text(SCREENS["deep"])
    output = run(str(log)).output
    assert "deep/" * 60 + "end.py:3 in go" in output
    log.write_text(SCREENS["known"])
    output = run(str(log)).output
    assert len(output.splitlines()) <= 40
    assert "[1 of " in output  # how many follow is told where not all are shown


def test_liveness_tells_live_stale_and_outside_apart(tmp_path):
    package = tmp_path / "vllm"
    package.mkdir()
    (package / "a.py").write_text(
        'raise ValueError("Model architectures "\n    f"{x} are not supported "\n    "for now.")\n'
    )
    report = check([tmp_path])
    state = {r.signature: r.state for r in report.rows}
    assert state["arch.not-supported"] == "live"
    assert state["config.max-len"] == "stale"
    assert state["op.atb-name"] == "outside"
    assert report.live + report.stale + report.outside == len(report.rows)
    with pytest.raises(UsageError):
        check([tmp_path / "nothing"])


def test_the_check_of_the_texts_fails_where_one_is_stale(tmp_path):
    package = tmp_path / "vllm"
    package.mkdir()
    (package / "a.py").write_text('raise ValueError("Model architectures x are not supported for now.")\n')
    result = run("signatures", "--check", str(tmp_path), "--json")
    assert result.exit_code == 1
    assert json.loads(result.output)["stale"] > 0
    assert run("signatures", "--check", str(tmp_path)).exit_code == 1
    # Every text that can be searched for, as one source: nothing is stale.
    texts = {t for s in library().signatures for t in _texts(s)}
    (package / "b.py").write_text("\n".join(sorted(texts)))
    result = run("signatures", "--check", str(tmp_path), "--json")
    assert (result.exit_code, json.loads(result.output)["stale"]) == (0, 0)
    (package / "a.py").write_text("x = 1\n")
    (package / "b.py").unlink()
    assert run("signatures", "--check", str(tmp_path)).exit_code == 3


def test_the_docs_page_is_current():
    assert (ROOT / "docs" / "triage-signatures.md").read_text(encoding="utf-8") == render()


def test_an_installed_table_of_error_codes_is_used(tmp_path, monkeypatch):
    place = tmp_path / "runtime" / "conf" / "error_manager"
    place.mkdir(parents=True)
    (place / "error_code.json").write_text(
        json.dumps(
            {
                "error_info_list": [
                    {
                        "ErrCode": "EI0006",
                        "errTitle": "Get_Socket_Timeout",
                        "ErrMessage": "m",
                        "suggestion": {"Solution": "look there"},
                    }
                ]
            }
        )
    )
    text = "[PID: 1] 2025-05-01 EI0006: Getting socket times out."
    assert "look there" not in diagnose_text(text).explanation
    monkeypatch.setenv("ASCEND_HOME_PATH", str(tmp_path))
    assert "look there" in diagnose_text(text).explanation
    (place / "error_code.json").write_text("{broken")
    cann.read_table.cache_clear()
    assert cann.explain(text) == ""


TABLE = {
    "errTitle": "Get_Socket_Timeout",
    "ErrCode": "EI0006",
    "ErrMessage": "Getting socket times out. Reason: %s",
    "suggestion": {"Possible Cause": "1. The peer is late.", "Solution": "1. Look there.\n2. And there."},
}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"\xef\xbb\xbf" + json.dumps({"error_info_list": [TABLE]}).encode(),
            "EI0006: Get_Socket_Timeout; Getting socket times out. Reason: <...>; Possible cause: 1. The peer is late; "
            "Solution: 1. Look there. 2. And there.",
        ),
        (
            json.dumps([{"ErrCode": "EI0006", "errTitle": None, "suggestion": ["do", "it"]}]).encode(),
            "EI0006: Solution: do it.",
        ),
        (json.dumps([{"ErrCode": "EI0006", "errTitle": "N/A", "suggestion": {"Solution": "N/A"}}]).encode(), ""),
        (b'{"error_info_list": "\xff"}', ""),
        (b"[" * 100_000, ""),
        (b"null", ""),
    ],
    ids=["as-shipped", "list", "open", "latin", "deep", "null"],
)
def test_the_table_of_error_codes_is_read_as_it_is_shipped_and_never_stops_a_triage(
    tmp_path, monkeypatch, content, said
):
    place = tmp_path / "runtime" / "conf" / "error_manager"
    place.mkdir(parents=True)
    (place / "error_code.json").write_bytes(content)
    monkeypatch.setenv("ASCEND_HOME_PATH", str(tmp_path))
    assert cann.explain("[PID: 1] 2025-05-01 EI0006: Getting socket times out.") == said


@pytest.mark.parametrize(
    ("pattern", "literals"),
    [
        ("abcd.{0,9}efghij", ("efghij",)),
        ("abcd|x{2}wxyz", ("abcd", "wxyz")),
        ("abcd|[xy]z", ()),
        ("(?:one|two) three", (" three",)),
        (r"is not path\b(?: now)?", ("is not path",)),
        ("abcde?", ("abcd",)),
    ],
)
def test_the_literals_of_a_pattern(pattern, literals):
    assert anchors(pattern) == literals


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 5000, random.Random(3).randbytes(5000)], ids=["empty", "binary", "random"]
)
def test_a_log_of_which_nothing_was_read_is_inconclusive_not_clean(tmp_path, content):
    log = tmp_path / "a.log"
    log.write_bytes(content)
    result = run(str(log), "--json")
    answer = json.loads(result.output)
    assert result.exit_code == 3
    assert not answer["healthy"]
    assert "a.log" in answer["explanation"]


def test_a_folder_without_a_file_is_inconclusive(tmp_path):
    result = run(str(tmp_path), "--json")
    assert result.exit_code == 3
    assert "no file was found" in json.loads(result.output)["explanation"]


def test_a_readable_clean_log_beside_an_empty_one_is_clean(tmp_path):
    (tmp_path / "a.log").write_text("INFO 11-20 all is well\n")
    (tmp_path / "b.log").touch()
    assert run(str(tmp_path)).exit_code == 0


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that opens but does not read")
def test_a_log_that_opens_but_cannot_be_read_is_a_note_not_a_traceback():
    result = run("/proc/self/mem", "--json")
    assert result.exit_code == 3
    assert "cannot be read" in json.loads(result.output)["sources"][0]["dropped"]


def test_a_target_whose_interpreter_has_no_vllm_is_named_with_its_folder(tmp_path, monkeypatch):
    (tmp_path / "seatrial.toml").write_text(
        '[targets.here]\nextends = "cpu"\n[targets.here.engine]\nkind = "interpreter"\n'
        f'interpreter = "{sys.executable}"\n'
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EngineError, match="site-packages holds no vllm"):
        roots_of_target("here")


def test_the_table_of_releases_names_only_signatures_and_releases_that_exist():
    table = releases()
    known = {s.id: s for s in library().signatures}
    assert {"vllm", "vllm_ascend"} <= set(table.looked_at)
    assert set(table.found) <= set(known)
    for identity, packages in table.found.items():
        assert known[identity].versions == packages
        for package, spans in packages.items():
            ends = [end for span in spans.split(", ") for end in span.split("..")]
            assert ends
            assert set(ends) <= set(table.looked_at[package]), identity


def test_a_text_that_came_late_is_not_said_to_stand_in_the_older_releases():
    found = {s.id: s.versions for s in library().signatures}
    order = list(releases().looked_at["vllm"])
    assert any(v["vllm"].split("..")[0] != order[0] for v in found.values() if "vllm" in v)
    assert found["arch.not-supported"]["vllm"] == f"{order[0]}..{order[-1]}"


def test_no_function_of_the_signatures_door_has_the_name_of_a_family():
    # Importing a family puts its module on the package under the family's name.
    import seatrial.triage.signatures as door

    families = {file.stem for file in Path(door.__file__).parent.glob("*.py")}
    assert not families & {name for name, value in vars(door).items() if callable(value)}
