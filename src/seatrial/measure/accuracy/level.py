"""One rung of the ladder, whole: the server found or started; our own prompts, the user's questions or a tool's task.

In: a `LevelJob`. Out: the steps of a run: the gate that served it (if one was started), and `accuracy-LEVEL` with
`LevelFacts`, the five files attached. Refuses (UsageError) settings that contradict each other, before any server is
started. Refuses (EngineError) a server that does not get ready, a tool that fails.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from seatrial.core.errors import UsageError
from seatrial.core.record import Record
from seatrial.core.step import Attachment, StepResult
from seatrial.core.verdict import Outcome, failed, inconclusive, passed
from seatrial.gates.client import Client
from seatrial.gates.requests import has_chat_template
from seatrial.measure.accuracy import ladder, outside, serving
from seatrial.measure.accuracy.dataset import Questions, read_questions
from seatrial.measure.accuracy.read_evalscope import read_evalscope
from seatrial.measure.accuracy.read_lm_eval import read_lm_eval
from seatrial.measure.accuracy.records import LEVELS, SMOKE, DatasetConfig, Level, Prediction, RequestConfig, Score
from seatrial.measure.accuracy.run import FILES, read_run
from seatrial.measure.accuracy.serving import Address
from seatrial.targets import Target

STEP = "accuracy-"  # a step's name is this and the level
FIRST = 8  # questions of an L3 whose limit was not given
TOOL_S = 7200.0
PACKAGES = {"lm-eval": "'lm_eval[api]'", "evalscope": "evalscope"}
LARGEST_KEPT, MOST_KEPT = 64 << 20, 40  # of what a tool leaves beside the five files


class LevelJob(Record):
    """What is asked. `limit` of an L3 without one is FIRST; `chat` None: by the checkpoint's template.

    `tool` drives `task` (with `task_path`, the folder of its YAML and data) through `tool_python`; without a task,
    `dataset` is a file of the user's questions.
    """

    level: Level
    url: str = ""
    model: str = ""
    tp: int | None = None
    max_model_len: int | None = None
    dataset: str = ""
    task: str = ""
    task_path: str = ""
    tool: Literal["lm-eval", "evalscope"] = "lm-eval"
    tool_python: str = ""
    limit: int | None = None
    fewshot: int | None = None
    pattern: str = ""
    max_tokens: int = 256
    temperature: float = 0.0
    repeats: int = 1
    seed: int | None = None
    chat: bool | None = None

    @property
    def asked(self) -> int | None:
        """The limit that counts."""
        return FIRST if self.level == "L3" and self.limit is None else self.limit


class LevelFacts(Record):
    """What a rung found. `claims`: the most its level may say. `server`: its address; `version`: as it says itself."""

    level: Level
    claims: str
    score: Score
    request: RequestConfig
    dataset: DatasetConfig
    server: str
    version: str


def check_job(job: LevelJob) -> Questions | None:
    """The user's questions, if it asks any; raises UsageError for settings that contradict each other."""
    level = job.level
    if level not in SMOKE and bool(job.dataset) == bool(job.task):
        raise UsageError(f"level {level} needs either --dataset or --task", mend="Or use a level up to L2.")
    if level in SMOKE and (job.dataset or job.task):
        raise UsageError(f"level {level} asks prompts of its own", mend="Use --level L3 with --dataset or --task.")
    if job.task and not job.tool_python:
        package = PACKAGES[job.tool]
        raise UsageError(
            "--task needs --tool-python", mend=f"Make one: python -m venv DIR && DIR/bin/pip install {package}."
        )
    if job.task and job.tool == "evalscope" and (job.fewshot is not None or job.chat is False):
        raise UsageError("evalscope asks the chat endpoint its own examples", mend="Leave --fewshot and --no-chat out.")
    if level in ("L4", "L5") and job.limit is not None:
        raise UsageError(f"level {level} asks everything", mend="Leave --limit out, or use --level L3.")
    if job.task and not Path(job.tool_python).is_file():
        raise UsageError(
            f"--tool-python {job.tool_python} is no file",
            mend=f"Name the interpreter of an environment with the tool (pip install {PACKAGES[job.tool]}).",
        )
    if job.task_path and not Path(job.task_path).is_dir():
        raise UsageError(f"--task-path {job.task_path} is no folder", mend="Name the folder with the task's files.")
    try:
        re.compile(job.pattern)
    except re.error as exc:
        raise UsageError(f"--pattern {job.pattern!r} is no regular expression: {exc}", mend="Mend it.") from exc
    serving.demand_own_server(job.url, tp=job.tp, max_model_len=job.max_model_len, model=job.model)
    if job.url:
        serving.address(job.url, job.model)
    return read_questions(Path(job.dataset), job.asked) if job.dataset else None


def run_level(
    job: LevelJob,
    checkpoint: Path,
    target: Target,
    python: Path,
    scratch: Path,
    output: Path,
    *,
    run_id: str,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[StepResult, ...]:
    """Ask. The five files go to `output` as they come, so that what a killed run leaves is readable."""
    given = check_job(job)
    if any((output / name).exists() for name in FILES):
        raise UsageError(f"{output} already holds an accuracy run", mend="Name a new folder with --out.")
    chat = has_chat_template(checkpoint) if job.chat is None else job.chat

    def use(client: Client, place: Address) -> StepResult:
        version = _version(client)
        _ask(job, client, place, given, chat, scratch, output, run_id, say)
        return level_step(output, server=place.url, version=version)

    if job.url:
        place = serving.address(job.url, job.model or checkpoint.absolute().name)
        return (use(serving.client_at(place), place),)
    started = serving.during(
        checkpoint, target, use, python=python, scratch=scratch, tp=job.tp, max_model_len=job.max_model_len, say=say
    )
    return (started.gate, *started)


def level_step(output: Path, *, server: str, version: str) -> StepResult:
    """The step of a finished rung, from its five files; raises FileFormatError if they are not whole."""
    found = read_run(output)
    score = found.score
    facts = LevelFacts(
        level=score.level,
        claims=LEVELS[score.level],
        score=score,
        request=found.request,
        dataset=found.dataset,
        server=server,
        version=version,
    )
    figures = ", ".join(f"{s.task} {s.metric} {s.value:.4f}" for s in score.scores[:4])
    counted = f"{score.num_correct} of {score.num_total} correct"
    return StepResult(
        step=f"{STEP}{score.level}",
        outcome=outcome_of(score, found.predictions),
        summary=f"{figures or counted} at level {score.level}",
        facts=facts,
        attachments=(*(Attachment(name=n, path=str(output / n)) for n in FILES), *_left_by_tools(output)),
    )


def outcome_of(score: Score, rows: Sequence[Prediction]) -> Outcome:
    """L0 to L2 fail on any wrong row; from L3 on a complete run passes (the figure is judged by `check`).

    Where no prompt was answered at all, nothing is known of the model: that is not wrong.
    """
    if score.status == "partial":
        return inconclusive(score.reason)
    if score.status == "smoke" and score.num_correct != score.num_total:
        first = next(r for r in rows if not r.correct)
        told = f"(first: {first.id}: {first.trouble[:200]})"
        if score.level != "L0" and score.num_no_answer == score.num_total:
            return inconclusive(f"no prompt of {score.level} was answered {told}")
        wrong = score.num_total - score.num_correct
        return failed(f"{wrong} of {score.num_total} answers of {score.level} are not as they must be {told}")
    return passed()


def _ask(
    job: LevelJob,
    client: Client,
    place: Address,
    given: Questions | None,
    chat: bool,
    scratch: Path,
    output: Path,
    run_id: str,
    say: Callable[[str], None],
) -> Score:
    setting = ladder.Setting(
        api_url=place.url,
        model=place.model,
        chat=chat,
        max_tokens=job.max_tokens,
        temperature=job.temperature,
        seed=job.seed,
        repeats=job.repeats,
        run_id=run_id,
    )
    if job.level == "L0":
        return ladder.service(client, setting, output, next(iter(scratch.rglob("server.log")), None))
    if job.level == "L1":
        return ladder.one_prompt(client, setting, output)
    if job.level == "L2":
        return ladder.assertions(client, setting, output)
    if given is not None:
        return ladder.questions(
            client,
            setting,
            output,
            given,
            name=Path(job.dataset).stem,
            limit=job.asked,
            level=job.level,
            pattern=job.pattern,
            say=say,
        )
    return _by_tool(job, client, place, chat, output, run_id, say)


def _by_tool(
    job: LevelJob,
    client: Client,
    place: Address,
    chat: bool,
    output: Path,
    run_id: str,
    say: Callable[[str], None],
) -> Score:
    made = output / job.tool
    made.mkdir(parents=True, exist_ok=True)
    interpreter = Path(job.tool_python).absolute()
    data = Path(job.task_path).absolute() if job.task_path else None
    if job.tool == "evalscope":
        argv = outside.evalscope_command(
            interpreter,
            place.url,
            place.model,
            task=job.task,
            output=made.absolute(),
            data=data,
            limit=job.asked,
            max_tokens=job.max_tokens,
        )
    else:
        argv = outside.lm_eval_command(
            interpreter,
            place.url,
            place.model,
            task=job.task,
            output=made.absolute(),
            include=data,
            limit=job.asked,
            fewshot=job.fewshot,
            chat=chat,
        )
    born = client.number(ladder.BIRTH)
    outside.run_tool(argv, log=made / "tool.log", cwd=made, timeout_s=TOOL_S, say=say)
    restarted = born is not None and client.number(ladder.BIRTH) not in (born, None)
    found = read_evalscope(made, job.task) if job.tool == "evalscope" else read_lm_eval(made, job.task)
    request = RequestConfig(
        api_url=place.url,
        model=place.model,
        chat_template=chat,
        num_fewshot=found.num_fewshot,
        temperature=found.temperature,
        concurrency=1,
    )
    return outside.keep(
        output,
        found,
        request=request,
        level=job.level,
        limit=job.asked,
        source=f"{job.tool} task {job.task}",
        partial="the server was restarted in the middle" if restarted else "",
        run_id=run_id,
    )


def _version(client: Client) -> str:
    """What the server says it is; `unknown` where it does not."""
    reply = client.get("/version")
    if reply.trouble():
        return "unknown"
    document = reply.json()
    found = document.get("version") if isinstance(document, dict) else None
    return found if isinstance(found, str) and len(found) < 100 else "unknown"


def _left_by_tools(output: Path) -> tuple[Attachment, ...]:
    """What an evaluation tool itself wrote: the source of every figure here."""
    found = []
    for tool in PACKAGES:
        for file in sorted((output / tool).rglob("*")) if (output / tool).is_dir() else []:
            if file.is_file() and not file.is_symlink() and file.stat().st_size <= LARGEST_KEPT:
                found.append(Attachment(name=f"{tool}-{file.name}", path=str(file)))
    return tuple(found[:MOST_KEPT])
