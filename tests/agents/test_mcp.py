"""The MCP server with the official client: tools from the commands, read-only by default, progress, cancellation."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import anyio
import pytest

from seatrial.agents.mcp_server import Parameter, ToolSpec, argv_of, make_server
from seatrial.cli._mcp_tools import NEVER, READ_ONLY, tools
from seatrial.cli.main import program

mcp = pytest.importorskip("mcp", reason="the extra mcp is not installed")
SRC = Path(__file__).resolve().parents[2] / "src"


def over_stdio(use, *words):
    """Start `seatrial mcp` as a client would, and use the client."""

    async def session():
        env = {**os.environ, "PYTHONPATH": str(SRC)}
        server = mcp.StdioServerParameters(command=sys.executable, args=["-m", "seatrial", "mcp", *words], env=env)
        async with mcp.Client(server) as client:
            return await use(client)

    return anyio.run(session)


def test_the_client_sees_only_looking_tools_and_each_has_a_schema():
    async def use(client):
        return (await client.list_tools()).tools

    found = over_stdio(use)
    names = {t.name for t in found}
    assert {"inspect", "verify", "runs_list", "plan", "doctor"} <= names
    assert not names & {"run", "deliver", "gate", "engine_install", "report", "skills_install", "mcp"}
    assert all(t.annotations.read_only_hint for t in found)
    assert all(t.input_schema["additionalProperties"] is False and t.description for t in found)


def test_a_tool_answers_with_the_commands_own_json_and_exit_code(tmp_path):
    async def use(client):
        good = await client.call_tool("targets_list", {})
        none = await client.call_tool("runs_verify", {"workspace": str(tmp_path)})
        wrong = await client.call_tool("inspect", {"checkpoint": str(tmp_path / "nothing")})
        unknown = await client.call_tool("inspect", {"checkpoint": "x", "flavour": "sweet"})
        hidden = await client.call_tool("run", {"checkpoint": "x"})
        return good, none, wrong, unknown, hidden

    good, none, wrong, unknown, hidden = over_stdio(use)
    assert good.structured_content["exit_code"] == 0
    assert "cpu" in str(good.structured_content["document"])
    assert not good.is_error
    assert none.structured_content["exit_code"] == 3
    assert not none.is_error
    assert wrong.is_error
    assert wrong.structured_content["exit_code"] in (2, 4)
    assert wrong.structured_content["messages"]
    assert unknown.is_error
    assert "no parameter 'flavour'" in unknown.content[0].text
    assert hidden.is_error
    assert "read-only" in hidden.content[0].text


def test_with_writes_allowed_every_command_is_a_tool_and_is_said_to_write():
    offered = {" ".join(t.words): t for t in tools(program, allow_writes=True)}
    assert {"run", "deliver", "features"} <= offered.keys()
    assert not offered["run"].is_read_only
    assert not offered.keys() & NEVER
    assert READ_ONLY & offered.keys() == {n for n, t in offered.items() if t.is_read_only}
    for tool in offered.values():
        if tool.is_read_only:
            assert not {p.flag for p in tool.parameters} & {"--out", "--fix", "--undo", "--bundle", "--serve"}


def test_every_looking_command_that_is_named_is_a_command():
    assert {" ".join(t.words) for t in tools(program, allow_writes=False)} == READ_ONLY


def test_no_tool_has_a_parameter_that_waits_until_somebody_ends_it():
    offered = {t.name: t for t in tools(program, allow_writes=True)}
    assert "report" in offered
    assert not {p.flag for t in offered.values() for p in t.parameters} & {"--serve", "--follow", "--watch"}


@pytest.mark.parametrize(("value", "word"), [(True, "--kept"), (False, "--rolled-back"), (None, "")])
def test_a_switch_that_has_a_no_is_told_no(value, word):
    lesson = next(t for t in tools(program, allow_writes=True) if t.words == ("loop", "record", "lesson"))
    known = dict.fromkeys(lesson.schema["required"], "x")
    if value is None:
        with pytest.raises(ValueError, match="needs the parameter 'kept'"):
            argv_of(lesson, {**known, "kept": None})
    else:
        words = argv_of(lesson, {**known, "kept": value})
        assert [w for w in words if w in ("--kept", "--rolled-back")] == [word]


def test_an_answer_that_is_too_large_is_said_and_not_merely_missing(tmp_path, monkeypatch):
    from seatrial.agents import mcp_server

    monkeypatch.setattr(mcp_server, "LARGEST_ANSWER", 10)

    async def told(*_):
        pass

    argv = [sys.executable, "-c", "print('[' + '1,' * 100 + '1]')"]
    answer = anyio.run(mcp_server.run_command, argv, told)
    assert (answer["exit_code"], answer["document"]) == (0, None)
    assert "larger than" in answer["messages"][-1]


def test_a_command_that_was_killed_is_an_error_and_an_answer_without_a_document_says_so(tmp_path, monkeypatch):
    server = scripted(tmp_path, "import os\nos.kill(os.getpid(), 9)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    async def session():
        async with mcp.Client(server) as client:
            return await client.call_tool("job", {})

    answer = anyio.run(session)
    assert answer.structured_content["exit_code"] == -9
    assert answer.is_error
    assert answer.structured_content["messages"] == ["the command printed no JSON document"]


def test_endless_words_on_standard_error_are_not_all_kept():
    from seatrial.agents import mcp_server

    async def told(*_):
        pass

    text = "import sys\nfor n in range(300): sys.stderr.write(f'{n} of 300\\r')\nsys.stderr.write('x' * 1_000_000)\n"
    answer = anyio.run(mcp_server.run_command, [sys.executable, "-c", text + "print('{}')"], told)
    assert answer["document"] == {}
    assert len(answer["messages"]) == mcp_server.MOST_SAID
    assert answer["messages"][-2] == "299 of 300"
    assert len(answer["messages"][-1]) <= mcp_server.LONGEST_LINE


def test_no_option_of_a_looking_tool_says_that_it_writes():
    import click

    looking = {t.words: {p.name for p in t.parameters} for t in tools(program, allow_writes=False)}
    for words, names in looking.items():
        command = program
        for word in words:
            command = command.get_command(click.Context(command), word)
        for option in command.params:
            text = (getattr(option, "help", None) or "").lower()
            if option.name in names and option.name != "as_json":
                assert not text.startswith(("write", "keep", "save", "mend", "take back", "append", "serve")), (
                    option.name
                )


def scripted(tmp_path, text):
    """A server whose only tool runs a script of the test instead of the program."""
    (tmp_path / "seatrial").mkdir()
    (tmp_path / "seatrial/__init__.py").write_text("")
    (tmp_path / "seatrial/__main__.py").write_text(text)
    tool = ToolSpec(name="job", description="a long job", words=("job",), parameters=(), schema={"type": "object"})
    return make_server((tool,))


def test_long_work_reports_its_progress_line_by_line(tmp_path, monkeypatch):
    lines = "for n in range(3):\n    print(f'step {n}', file=sys.stderr, flush=True)"
    server = scripted(tmp_path, f"import sys\n{lines}\nprint('{{\"done\": true}}')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    seen = []

    async def session():
        async def told(progress, total, message):
            seen.append((progress, message))

        async with mcp.Client(server) as client:
            return await client.call_tool("job", {}, progress_callback=told)

    answer = anyio.run(session)
    assert answer.structured_content == {
        "exit_code": 0,
        "document": {"done": True},
        "messages": ["step 0", "step 1", "step 2"],
    }
    assert [m for _, m in seen] == ["step 0", "step 1", "step 2"]
    assert [p for p, _ in seen] == sorted(p for p, _ in seen)


def test_a_cancelled_call_ends_the_process_it_started(tmp_path, monkeypatch):
    import psutil

    up = "print('up', file=sys.stderr, flush=True)"
    server = scripted(
        tmp_path, f"import sys, os, time\nopen('pid', 'w').write(str(os.getpid()))\n{up}\ntime.sleep(600)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    async def session():
        up = anyio.Event()

        async def told(progress, total, message):
            up.set()

        async with mcp.Client(server) as client, anyio.create_task_group() as group:

            async def call():
                await client.call_tool("job", {}, progress_callback=told)

            group.start_soon(call)
            with anyio.fail_after(300):
                await up.wait()
            group.cancel_scope.cancel()

    anyio.run(session)
    pid = int((tmp_path / "pid").read_text())
    if psutil.pid_exists(pid):
        psutil.Process(pid).wait(timeout=300)
    assert not psutil.pid_exists(pid)


def test_values_cannot_become_flags():
    tool = ToolSpec(
        name="inspect",
        description="",
        words=("inspect",),
        parameters=(
            Parameter(name="checkpoint", flag="", kind="argument"),
            Parameter(name="target", flag="--target", kind="value"),
            Parameter(name="full", flag="--full", kind="switch"),
        ),
    )
    argv = argv_of(tool, {"checkpoint": "--help", "target": "--evil; rm -rf /", "full": True})
    assert argv[3:] == ["inspect", "--target=--evil; rm -rf /", "--full", "--json", "--", "--help"]


def test_a_value_of_another_type_or_one_that_no_command_line_holds_is_told_in_words():
    """Found by calling every tool with the client and wrong values: such calls ended in an internal server error."""

    async def use(client):
        wrong = (
            ("inspect", {"checkpoint": "a\0b"}, "NUL"),
            ("inspect", {"checkpoint": "x" * 200_000}, "128,000 bytes"),
            ("inspect", {"checkpoint": ["a"]}, "must be of type string"),
            ("inspect", {"checkpoint": {"a": 1}}, "must be of type string"),
            ("inspect", {}, "needs the parameter 'checkpoint'"),
            ("inspect", {"checkpoint": ""}, "needs the parameter 'checkpoint'"),
            ("plan", {"checkpoint": "x", "tp": "two"}, "must be of type integer"),
            ("plan", {"checkpoint": "x", "tp": True}, "must be of type integer"),
            ("plan", {"checkpoint": "x", "eager": "yes"}, "must be of type boolean"),
            ("triage_logs", {"logs": "one.log"}, "must be a list"),
            ("verify", {}, "needs the parameter 'bundle'"),
        )
        return [(name, says, await client.call_tool(name, arguments)) for name, arguments, says in wrong]

    for name, says, answer in over_stdio(use):
        assert answer.is_error, name
        assert says in answer.content[0].text


def test_verify_takes_what_is_to_be_verified(tmp_path):
    """An argument that is called like a writing option was taken for one, and the tool could not be used."""

    async def use(client):
        return await client.call_tool("verify", {"bundle": str(tmp_path)})

    answer = over_stdio(use)
    assert "no run is in" in str(answer.structured_content["messages"])
