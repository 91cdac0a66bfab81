"""How `seatrial accuracy run` chooses between its own prompts, the user's questions and an evaluation tool."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from seatrial.core.errors import UsageError

if TYPE_CHECKING:
    from seatrial.gates.client import Client
    from seatrial.measure.accuracy.records import Level, Score
    from seatrial.measure.accuracy.serving import Address
    from seatrial.targets import Target

FIRST = 8  # questions of an L3 whose limit was not given
TOOL_S = 7200.0
PACKAGES = {"lm-eval": "'lm_eval[api]'", "evalscope": "evalscope"}


def run_level(
    checkpoint: Path,
    target: Target,
    python: Path,
    folder: Path,
    output: Path,
    *,
    level: Level,
    url: str | None,
    model: str | None,
    tp: int | None,
    dataset: Path | None,
    task: str | None,
    task_path: Path | None,
    tool: str,
    tool_python: Path | None,
    limit: int | None,
    fewshot: int | None,
    pattern: str,
    max_tokens: int,
    temperature: float,
    repeats: int,
    seed: int | None,
    chat: bool | None,
    max_model_len: int | None,
    say: Callable[[str], None],
) -> Score:
    """Start or find the server, run the rung, write the five files into `output`."""
    from seatrial.gates.requests import has_chat_template
    from seatrial.measure.accuracy import ladder, outside, serving
    from seatrial.measure.accuracy.dataset import read_questions
    from seatrial.measure.accuracy.read_evalscope import read_evalscope
    from seatrial.measure.accuracy.read_lm_eval import read_lm_eval
    from seatrial.measure.accuracy.records import SMOKE, RequestConfig

    if level not in SMOKE and (dataset is None) == (task is None):
        raise UsageError(f"level {level} needs either --dataset or --task", mend="Or use a level up to L2.")
    if level in SMOKE and (dataset or task):
        raise UsageError(f"level {level} asks prompts of its own", mend="Use --level L3 with --dataset or --task.")
    if task is not None and tool_python is None:
        raise UsageError(
            "--task needs --tool-python", mend=f"Make one: python -m venv DIR && DIR/bin/pip install {PACKAGES[tool]}."
        )
    if tool == "evalscope" and (fewshot is not None or chat is False):
        raise UsageError("evalscope asks the chat endpoint its own examples", mend="Leave --fewshot and --no-chat out.")
    limit = FIRST if level == "L3" and limit is None else limit
    if level in ("L4", "L5") and limit is not None:
        raise UsageError(f"level {level} asks everything", mend="Leave --limit out, or use --level L3.")
    given = read_questions(dataset, limit) if dataset is not None else None
    if any((output / name).exists() for name in ("score.json", "raw_predictions.jsonl")):
        raise UsageError(f"{output} already holds an accuracy run", mend="Name a new folder with --out.")
    with_chat = has_chat_template(checkpoint) if chat is None else chat

    def use(client: Client, place: Address) -> Score:
        setting = ladder.Setting(
            api_url=place.url,
            model=place.model,
            chat=with_chat,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
            repeats=repeats,
        )
        if level == "L0":
            log = next(iter(folder.rglob("server.log")), None)
            return ladder.service(client, setting, output, log)
        if level == "L1":
            return ladder.one_prompt(client, setting, output)
        if level == "L2":
            return ladder.assertions(client, setting, output)
        if given is not None and dataset is not None:
            return ladder.questions(
                client, setting, output, given, name=dataset.stem, limit=limit, level=level, pattern=pattern, say=say
            )
        if task is None or tool_python is None:
            raise UsageError("--task and --tool-python go together")
        made = output / tool
        made.mkdir(parents=True, exist_ok=True)
        interpreter, data = tool_python.absolute(), task_path.absolute() if task_path is not None else None
        if tool == "evalscope":
            argv = outside.evalscope_command(
                interpreter,
                place.url,
                place.model,
                task=task,
                output=made.absolute(),
                data=data,
                limit=limit,
                max_tokens=max_tokens,
            )
        else:
            argv = outside.lm_eval_command(
                interpreter,
                place.url,
                place.model,
                task=task,
                output=made.absolute(),
                include=data,
                limit=limit,
                fewshot=fewshot,
                chat=with_chat,
            )
        born = client.number(ladder.BIRTH)
        outside.run_tool(argv, log=made / "tool.log", cwd=made, timeout_s=TOOL_S, say=say)
        restarted = born is not None and client.number(ladder.BIRTH) not in (born, None)
        found = read_evalscope(made, task) if tool == "evalscope" else read_lm_eval(made, task)
        request = RequestConfig(
            api_url=place.url, model=place.model, chat_template=with_chat, num_fewshot=found.num_fewshot
        )
        return outside.keep(
            output,
            found,
            request=request,
            level=level,
            limit=limit,
            source=f"{tool} task {task}",
            partial="the server was restarted in the middle" if restarted else "",
        )

    if url:
        place = serving.address(url, model or checkpoint.absolute().name)
        return use(serving.client_at(place), place)
    return serving.during(
        checkpoint, target, use, python=python, scratch=folder, tp=tp, max_model_len=max_model_len, say=say
    ).only()
