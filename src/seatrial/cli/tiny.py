"""Make a tiny real checkpoint of a family, for trials without a download."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from seatrial.cli.common import err, json_option, out, print_json


@click.command()
@click.argument("family")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--target", default="cpu", show_default=True, help="The target whose engine makes it.")
@click.option("--python", type=click.Path(path_type=Path), help="This interpreter instead of the target's.")
@click.option("--seed", default=0, show_default=True, help="Seed of the random weights.")
@json_option
def command(family: str, folder: Path, target: str, python: Path | None, seed: int, as_json: bool) -> None:
    """Write a tiny checkpoint of FAMILY into FOLDER (made if absent, refused if not empty).

    FAMILY is a model type: qwen3, qwen3_moe, qwen3_next (hybrid), deepseek_v3 (latent attention), llava (images),
    qwen3_vl (images and video), qwen2_audio (sound). Weights are random; tokenizer and chat template are real.
    """
    from seatrial.core.errors import EngineError, UsageError
    from seatrial.engine.border import ProbeSession
    from seatrial.engine.choose import target_python
    from seatrial.targets import find_overrides, load_target

    chosen = load_target(target, find_overrides(Path.cwd())).target
    interpreter = python or target_python(chosen)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        empty = not any(folder.iterdir())
    except OSError as exc:
        raise UsageError(f"the folder {folder} cannot be used: {exc.strerror}", mend="Name another one.") from exc
    if not empty:
        raise UsageError(f"the folder {folder} is not empty", mend="Name a new or an empty one.")

    def say(line: str) -> None:
        err().print(line, markup=False)

    with tempfile.TemporaryDirectory(prefix="seatrial-") as scratch:
        log = Path(scratch) / "probe.log"
        request = {"family": family, "folder": str(folder.resolve()), "seed": seed}
        with ProbeSession(interpreter, log=log, env=chosen.launch.env) as session:
            reply = session.call(
                "tiny_checkpoint", request, timeout_s=300.0, progress=lambda line: err().print(line, markup=False)
            )
    if reply.status == "raised" and reply.error is not None and reply.error.type.endswith("ValueError"):
        raise UsageError(reply.error.message, mend="See `seatrial tiny --help`.")
    if reply.status != "answered":
        raise EngineError(f"no checkpoint was made: {reply.trouble()}", mend="See `seatrial engine doctor`.")
    if as_json:
        print_json(reply.answer)
        return
    answer = reply.answer
    size = sum(answer["files"].values())
    out().print(
        f"{answer['architectures'][0]}: {answer['parameters']:,} parameters, {answer['vocabulary']} tokens, "
        f"{size / 1e6:.1f} MB in {folder}"
    )
