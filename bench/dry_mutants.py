"""Mutation score: single seeded faults in passing header-only checkpoints. Are they caught, is the right tensor named?

    python bench/dry_mutants.py ENGINE_PYTHON [--each 36] [--seed 1] [--only MODEL ...]

Must hold: at least 12 models of different kinds and 500 faults; 99 % caught (any verdict but pass), the faulty tensor
named (its old or new name in a finding's place or message, or in an account's trouble) in 95 %, and no false alarm on
the unmutated models. A fault that changes nothing (a square matrix transposed) is not a fault and is drawn again.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from dry_models import (
    QUANTIZATION,
    SMALL_DEEPSEEK,
    SMALL_GPT_OSS,
    SMALL_MOE,
    SMALL_QWEN3,
    deepseek_v3,
    gpt_oss,
    quantised_config,
    qwen3_dense,
    qwen3_moe,
    unquantised_gates,
)

from seatrial.core.step import StepResult
from seatrial.core.verdict import Verdict
from seatrial.dryrun import HeaderTensor, dry
from seatrial.engine.border import ProbeSession

Tensors = list[HeaderTensor]
SMALL = {"num_experts": 4, "num_local_experts": 4, "n_routed_experts": 8, "num_experts_per_tok": 2}
ZOO = [
    "LlamaForCausalLM",
    "Qwen2ForCausalLM",
    "MixtralForCausalLM",
    "DeepseekV2ForCausalLM",
    "Qwen3NextForCausalLM",
    "Mamba2ForCausalLM",
    "Qwen2_5_VLForConditionalGeneration",
    "Qwen3VLForConditionalGeneration",
    "Gemma3ForCausalLM",
    "Phi3ForCausalLM",
    "GPT2LMHeadModel",
    "FalconForCausalLM",
    "BertModel",
    "WhisperForConditionalGeneration",
]


class Model:
    def __init__(self, name: str, config: dict[str, object], tensors: Tensors, tp: int = 1) -> None:
        self.name, self.config, self.tensors, self.tp = name, config, tensors, tp
        self.loaded: set[str] = set()


def own_models() -> list[Model]:
    tied = {**SMALL_QWEN3, "tie_word_embeddings": True}
    found = [Model("qwen3 tied", tied, qwen3_dense("", tied), tp=2)]
    for form in QUANTIZATION:
        found.append(Model(f"qwen3 {form or 'bf16'}", quantised_config(form), qwen3_dense(form), tp=2))
    fp8 = quantised_config("fp8", SMALL_MOE)
    fp8["quantization_config"] = {**QUANTIZATION["fp8"], "modules_to_not_convert": unquantised_gates(SMALL_MOE)}
    found.append(Model("qwen3-moe", SMALL_MOE, qwen3_moe(SMALL_MOE), tp=2))
    found.append(Model("qwen3-moe fp8", fp8, qwen3_moe(SMALL_MOE, block=128), tp=2))
    found.append(Model("gpt-oss mxfp4", SMALL_GPT_OSS, gpt_oss(), tp=2))
    found.append(Model("deepseek fp8 mla", SMALL_DEEPSEEK, deepseek_v3(SMALL_DEEPSEEK), tp=2))
    return found


def zoo_model(session: ProbeSession, name: str) -> Model | None:
    made = session.call("dry_headers", {"architecture": name, "layers": 3, "overrides": SMALL}, timeout_s=300)
    if made.status != "answered" or "error" in made.answer:
        print(f"{name}: not made: {made.trouble() or made.answer['error']}")
        return None
    tensors = [HeaderTensor(name=n, dtype=d, shape=tuple(s)) for n, d, s in made.answer["tensors"]]
    return Model(name, made.answer["config"], tensors)


def run(session: ProbeSession, model: Model, tensors: Tensors) -> StepResult:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(model.config))
        options = {"runner": "pooling"} if model.name.endswith("Model") and "GPT2" not in model.name else {}
        return dry(Path(folder), tensors, session=session, tp=model.tp, engine_args=options, timeout_s=300)


# Each fault: the tensors changed and the names any of which is the right one to name; None: it cannot be made here.
Fault = Callable[[random.Random, Tensors, int], "tuple[Tensors, set[str]] | None"]


def replaced(tensors: Tensors, at: int, **fields: object) -> tuple[Tensors, set[str]]:
    old = tensors[at]
    new = HeaderTensor(**{"name": old.name, "dtype": old.dtype, "shape": old.shape, **fields})
    return [*tensors[:at], new, *tensors[at + 1 :]], {old.name, new.name}


def rename(rng: random.Random, tensors: Tensors, at: int) -> tuple[Tensors, set[str]] | None:
    parts = tensors[at].name.split(".")
    where = rng.randrange(len(parts))
    if parts[where].isdigit() or len(parts[where]) < 3:
        return None
    parts[where] = parts[where][:-1] if rng.random() < 0.5 else parts[where] + "x"
    return replaced(tensors, at, name=".".join(parts))


def drop(rng: random.Random, tensors: Tensors, at: int) -> tuple[Tensors, set[str]] | None:
    return [*tensors[:at], *tensors[at + 1 :]], {tensors[at].name}


def duplicate(rng: random.Random, tensors: Tensors, at: int) -> tuple[Tensors, set[str]] | None:
    return [*tensors, tensors[at]], {tensors[at].name}


def transpose(rng: random.Random, tensors: Tensors, at: int) -> tuple[Tensors, set[str]] | None:
    shape = tensors[at].shape
    return replaced(tensors, at, shape=shape[::-1]) if len(shape) > 1 and shape != shape[::-1] else None


def halve(rng: random.Random, tensors: Tensors, at: int) -> tuple[Tensors, set[str]] | None:
    shape = list(tensors[at].shape)
    wide = [i for i, n in enumerate(shape) if n > 1]
    if not wide:
        return None
    chosen = rng.choice(wide)
    shape[chosen] //= 2
    return replaced(tensors, at, shape=tuple(shape))


def double(rng: random.Random, tensors: Tensors, at: int) -> tuple[Tensors, set[str]] | None:
    shape = list(tensors[at].shape)
    if not shape:
        return None
    shape[rng.randrange(len(shape))] *= 2
    return replaced(tensors, at, shape=tuple(shape))


def dtype(rng: random.Random, tensors: Tensors, at: int) -> tuple[Tensors, set[str]] | None:
    others = [d for d in ("BF16", "F16", "F32", "I8", "F8_E4M3", "I32") if d != tensors[at].dtype]
    return replaced(tensors, at, dtype=rng.choice(others))


def swap_experts(rng: random.Random, tensors: Tensors, at: int) -> tuple[Tensors, set[str]] | None:
    if ".experts." not in tensors[at].name:
        return None
    expert = re.sub(r"(.*\.experts\.\d+\.).*", r"\1", tensors[at].name)
    others = [
        i for i, t in enumerate(tensors) if t.name.startswith(expert) and t.shape != tensors[at].shape and i != at
    ]
    others = [i for i in others if len(tensors[i].shape) == len(tensors[at].shape)]
    if not others:
        return None
    other = rng.choice(others)
    first, names = replaced(tensors, at, shape=tensors[other].shape)
    second, more = replaced(first, other, shape=tensors[at].shape)
    return second, names | more


def lose_scale(rng: random.Random, tensors: Tensors, at: int) -> tuple[Tensors, set[str]] | None:
    return drop(rng, tensors, at) if "scale" in tensors[at].name else None


def shift_layer(rng: random.Random, tensors: Tensors, at: int) -> tuple[Tensors, set[str]] | None:
    parts = tensors[at].name.split(".")
    numbers = [i for i, part in enumerate(parts) if part.isdigit()]
    if not numbers:
        return None
    parts[numbers[0]] = str(int(parts[numbers[0]]) + rng.choice((1, 100)))
    return replaced(tensors, at, name=".".join(parts))


FAULTS: dict[str, Fault] = {
    "rename": rename,
    "drop": drop,
    "duplicate": duplicate,
    "transpose": transpose,
    "halve": halve,
    "double": double,
    "dtype": dtype,
    "swap experts": swap_experts,
    "lose scale": lose_scale,
    "shift layer": shift_layer,
}


def named(result: StepResult, names: set[str]) -> bool:
    text = [f"{f.place} {f.message}" for f in result.findings]
    account = result.facts
    text += [t.name for t in account.tensor_troubles] + [n for t in account.parameter_troubles for n in t.likely]
    words = set(re.findall(r"[^\s,;()'\"]+", " ".join(text).replace(": ", " ")))
    return bool(names & words)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("python", type=Path)
    parser.add_argument("--each", type=int, default=36, help="faults per model")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*")
    options = parser.parse_args()
    totals, caught, right = Counter(), Counter(), Counter()
    used = alarms = 0
    with (
        tempfile.TemporaryDirectory() as scratch,
        ProbeSession(options.python, log=Path(scratch) / "dry.log") as session,
    ):
        models = own_models() + [m for m in (zoo_model(session, n) for n in ZOO) if m is not None]
        for model in models:
            if options.only and model.name not in options.only:
                continue
            sound = run(session, model, model.tensors)
            used += 1
            if sound.outcome.verdict is not Verdict.PASS:
                alarms += 1
                print(f"{model.name}: FALSE ALARM or unfit: {sound.outcome.reason[:200]}", flush=True)
                continue
            places = [line.kind for line in sound.facts.tensors if line.state in ("loaded", "fused")]
            kinds = set(places)
            # The MTP layer (number num_hidden_layers) is dropped by the engine, so nothing in it is a fault.
            past = f".layers.{model.config.get('num_hidden_layers')}."
            fit = [
                i
                for i, t in enumerate(model.tensors)
                if re.sub(r"(?<![^.])\d+(?![^.])", "*", t.name) in kinds and past not in t.name
            ]
            rng = random.Random(f"{options.seed} {model.name}")
            done = 0
            while done < options.each:
                kind = rng.choice(list(FAULTS))
                mutated = FAULTS[kind](rng, model.tensors, rng.choice(fit))
                if mutated is None:
                    continue
                tensors, names = mutated
                result = run(session, model, tensors)
                done += 1
                totals[kind] += 1
                if result.outcome.verdict is Verdict.PASS or result.facts is None:
                    print(f"{model.name}: MISSED {kind} {sorted(names)}", flush=True)
                    continue
                caught[kind] += 1
                if named(result, names):
                    right[kind] += 1
                else:
                    print(f"{model.name}: misnamed {kind} {sorted(names)}: {result.outcome.reason[:160]}", flush=True)
            print(f"{model.name}: {done} faults", flush=True)
    print(f"\n{'fault':<14}{'made':>6}{'caught':>8}{'named':>8}")
    for kind in FAULTS:
        print(f"{kind:<14}{totals[kind]:>6}{caught[kind]:>8}{right[kind]:>8}")
    made = sum(totals.values())
    seen, told = sum(caught.values()), sum(right.values())
    print(f"{'all':<14}{made:>6}{seen:>8}{told:>8}")
    share = 100 / max(made, 1)
    print(f"{seen * share:.1f} % caught, {told * share:.1f} % named; {used} models, {alarms} false alarms")


if __name__ == "__main__":
    main()
