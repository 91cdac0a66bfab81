"""From a checkpoint and a target to the exact command of a gate's server, without starting anything.

Refuses (EngineError): a port of the target that is taken, a work dir that does not exist. (`check=False` for a plan
that is only to be printed, perhaps on another machine.)
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from seatrial.core.command import Command
from seatrial.core.errors import EngineError, UsageError
from seatrial.core.record import replace
from seatrial.gates.features.base import Model
from seatrial.gates.owned import refuse_owned
from seatrial.gates.ports import demand_free, free_port
from seatrial.gates.requests import Medium
from seatrial.platforms import LaunchPlan, LaunchRequest, ModelTraits, launch_plan
from seatrial.targets import Target

UNSEEN = (
    "no config.json can be seen at {checkpoint}: the plan is that of any model there, without what hangs on its "
    "architecture (experts, latent attention)"
)
MOST_SHARDS = 64  # without an index
PLUGINS = {"ascend": "vllm_ascend", "kunlun": "vllm_kunlun"}


def gate_plan(
    checkpoint: Path,
    target: Target,
    *,
    python: Path,
    stage: Literal["dummy", "real"],
    tp: int | None = None,
    max_model_len: int | None = None,
    extra_args: Sequence[str] = (),
    env: dict[str, str] | None = None,
    drop: Sequence[str] = (),
    port: int | None = None,
    check: bool = True,
) -> LaunchPlan:
    """The platform's plan; `env` is laid over the target's, arguments in `drop` are left out.

    A port of 0 is replaced by a free one when checked.
    """
    refuse_owned(extra_args, stage)
    wanted = target.serve.port if port is None else port
    if check:
        demand_free(target.serve.host, wanted)
        wanted = wanted or free_port(target.serve.host)
        if target.roots.work_dir and not Path(target.roots.work_dir).is_dir():
            raise EngineError(
                f"the work dir {target.roots.work_dir} of target {target.name!r} does not exist",
                mend="Set roots.work_dir of the target in seatrial.toml.",
            )
    known = (checkpoint / "config.json").is_file()
    request = LaunchRequest(
        checkpoint=str(checkpoint.absolute()),
        served_name=served_name(checkpoint),
        stage=stage,
        host=target.serve.host,
        port=wanted,
        python=str(python),
        tp=tp,
        max_model_len=max_model_len,
        env={**target.launch.env, **(env or {})},
        args={name: value for name, value in target.serve.args.items() if name not in drop},
        extra_args=tuple(extra_args),
        visible_env=target.devices.visible_env,
        cwd=target.roots.work_dir,
        traits=read_traits(checkpoint),
        vllm_version=installed_version(python, "vllm"),
        plugin_version=installed_version(python, PLUGINS.get(target.platform, "")),
        plugin_source=plugin_source(python, target),
    )
    plan = launch_plan(target.platform, request)
    notes = list(plan.notes)
    notes += [] if known else [UNSEEN.format(checkpoint=checkpoint)]
    notes += [] if wanted else ["port 0 stands for a free one, which is chosen at the start"]
    return replace(plan, notes=tuple(notes))


def api_key(command: Command) -> str:
    """The key the server will ask for: the first of its flag, else vLLM's variable; "" for none."""
    argv = command.argv
    for place, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if name == "--api-key":
            return value if equals else argv[place + 1] if place + 1 < len(argv) else ""
    return command.env.get("VLLM_API_KEY") or os.environ.get("VLLM_API_KEY") or ""


def read_model(checkpoint: Path) -> Model:
    """The config and the tensor names (from the index, else the shards' headers): all of them, or none where one file
    cannot be read.
    """
    names: set[str] = set()
    index = checkpoint / "model.safetensors.index.json"
    try:
        if index.is_file() and index.stat().st_size < 256 << 20:
            names |= _names(json.loads(index.read_bytes()).get("weight_map", {}))
        shards = [] if names else sorted(f for f in checkpoint.glob("*.safetensors") if f.is_file())
        if len(shards) > MOST_SHARDS:
            raise ValueError("so many files without an index are not looked through")
        for shard in shards:
            with shard.open("rb") as stream:
                (length,) = struct.unpack("<Q", stream.read(8))
                if length >= 256 << 20:
                    raise ValueError("a header of that length is none")
                names |= _names(json.loads(stream.read(length))) - {"__metadata__"}
    except (OSError, ValueError, AttributeError, TypeError, struct.error, RecursionError):
        names = set()  # of some of the names it would follow that the others are missing
    return Model(config=_config(checkpoint) or {}, tensors=frozenset(names))


def _names(table: Any) -> set[str]:
    """The keys of a JSON object; raises ValueError for anything else, whose parts are no names."""
    if not isinstance(table, dict):
        raise ValueError("a table of tensors that is none")
    return set(table)


# By the families vLLM 0.32 serves: a field that a model has only if it takes the medium.
DECLARES: dict[Medium, tuple[str, ...]] = {
    "image": ("vision_config", "vit_config", "vision_tower_config"),
    "video": ("video_token_id", "video_token_index", "video_start_token_id", "video_context_token_id"),
    "audio": ("audio_config", "audio_tower_config", "audio_token_id", "audio_token_index", "sound_config"),
}


def media_of(config: dict[str, Any]) -> dict[Medium, str]:
    """The media config.json declares, each with the field that says so; nested parts (a thinker) count too."""
    levels = [config, *(v for k, v in config.items() if isinstance(v, dict) and k.endswith("_config"))]
    found: dict[Medium, str] = {}
    for medium, names in DECLARES.items():
        field = next((n for n in names for level in levels if level.get(n) is not None), None)
        if field is not None:
            found[medium] = field
    return found


def takes_media(checkpoint: Path) -> tuple[Medium, ...]:
    """What config.json declares beside text, in the order it is asked for."""
    return tuple(media_of(_config(checkpoint) or {}))


def shrink(checkpoint: Path, layers: int) -> tuple[str, ...]:
    """Arguments that start the model with its first `layers` layers, for a quick look with dummy weights only.

    Raises UsageError when the checkpoint has no more layers than that.
    """
    document = _config(checkpoint) or {}
    where = next((k for k in ("text_config", "llm_config") if isinstance(document.get(k), dict)), "")
    inner = document[where] if where else document
    count = inner.get("num_hidden_layers")
    if not isinstance(count, int):
        raise UsageError(f"--layers {layers}: config.json gives no number of layers", mend="Leave --layers out.")
    if not 0 < layers < count:
        raise UsageError(f"--layers {layers}: the checkpoint has {count} layers", mend="Use fewer, at least one.")
    change: dict[str, Any] = {"num_hidden_layers": layers}
    # Kinds of layers are listed one by one in hybrid models.
    change |= {k: v[:layers] for k, v in inner.items() if isinstance(v, list) and len(v) == count}
    return ("--hf-overrides", json.dumps({where: change} if where else change))


def served_name(checkpoint: Path) -> str:
    """What the model is called in requests: the folder's name."""
    return checkpoint.absolute().name or "model"


def read_traits(checkpoint: Path) -> ModelTraits:
    """Experts and latent attention by config.json; nothing known if it cannot be read (the engine will say why)."""
    document = _config(checkpoint)
    if document is None:
        return ModelTraits()
    levels = [document, *(v for v in document.values() if isinstance(v, dict))]
    # vllm-ascend's own rule: a model has experts when a key of its config says "expert"; a count of 0 or 1 is dense.
    counts = [
        value
        for level in levels
        for key, value in level.items()
        if "expert" in key and isinstance(value, int) and not isinstance(value, bool)
    ]
    return ModelTraits(
        model_type=str(document.get("model_type") or ""),
        moe=any(count > 1 for count in counts),
        mla=any(isinstance(level.get("kv_lora_rank"), int) for level in levels),
    )


def installed_version(python: Path, module: str) -> str:
    """The version of a distribution beside an interpreter, by its metadata folder's name; "" if not seen."""
    if not module:
        return ""
    for folder in sorted(python.parent.parent.glob(f"lib/python3*/*-packages/{module}-*.dist-info")):
        return folder.name[len(module) + 1 : -len(".dist-info")]
    return ""


def plugin_source(python: Path, target: Target) -> str:
    """The folder of the plugin's package: in the target's root for it, else beside the interpreter; "" if not seen."""
    name = PLUGINS.get(target.platform, "")
    places = [Path(target.roots.plugin) / name] if target.roots.plugin and name else []
    places += python.parent.parent.glob(f"lib/python3*/*-packages/{name}") if name else []
    return next((str(place) for place in places if (place / "__init__.py").is_file()), "")


def _config(checkpoint: Path) -> dict[str, Any] | None:
    file = checkpoint / "config.json"
    try:
        # Only a regular file: opening a FIFO would wait for a writer.
        if not file.is_file() or file.stat().st_size > 16 << 20:
            return None
        document = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
