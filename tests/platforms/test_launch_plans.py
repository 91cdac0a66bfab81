"""Launch plans against the documents that prescribe them: environment, arguments, and every departure explained.

The prescriptions below are the seed documents' own commands (vllm-ascend's workflow checklist, section 7; vLLM-Kunlun's
manual, appendix A to C), kept here as data; where the documents are at hand, a test compares them with their source.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from seatrial.core.errors import UsageError
from seatrial.gates import gate_plan
from seatrial.platforms import PLATFORMS, LaunchRequest, launch_plan
from seatrial.platforms.cpu.launch import bind
from seatrial.targets import load_target

ASCEND_DUMMY = """
HCCL_OP_EXPANSION_MODE=AIV
VLLM_ASCEND_ENABLE_FLASHCOMM1=0
vllm serve "$MODEL_PATH"
  --served-model-name <served-name>
  --trust-remote-code
  --dtype bfloat16
  --max-model-len <practical-max-len-or-131072>
  --tensor-parallel-size <TP-size>
  --max-num-seqs 16
  --load-format dummy
  --port 8000
"""
KUNLUN_MOE = """
XPU_VISIBLE_DEVICES=0,1,2,3,4,5,6,7
XMLIR_FORCE_USE_XPU_GRAPH=1
KUNLUN_USE_MOE_FFN_BLOCK=True
XPU_USE_MOE_SORTED_THRES=120
python -m vllm.entrypoints.openai.api_server
    --host 0.0.0.0 --port 8888
    --model /path/to/moe-model-int8
    --trust-remote-code
    --dtype float16
    --max-model-len 32768
    --tensor-parallel-size 8
    --max_num_seqs 4
    --block-size 64
    --no-enable-chunked-prefill
    --distributed-executor-backend mp
    --no-enable-prefix-caching
"""
KUNLUN_MLA = """
XMLIR_ENABLE_MOCK_TORCH_COMPILE=false
USE_ORI_ROPE=1
XPU_VISIBLE_DEVICES=0,1,2,3,4,5,6,7
python -m vllm.entrypoints.openai.api_server
    --host 0.0.0.0 --port 8806
    --model /path/to/DeepSeek-V3-w8a8
    --gpu-memory-utilization 0.98
    --trust-remote-code
    --max-model-len 32768
    --tensor-parallel-size 8
    --dtype float16
    --max_num_seqs 4
    --block-size 64
    --no-enable-chunked-prefill
    --distributed-executor-backend mp
    --no-enable-prefix-caching
"""
KUNLUN_DENSE = """
XPU_VISIBLE_DEVICES=0
python -m vllm.entrypoints.openai.api_server
    --host 0.0.0.0 --port 8888
    --model /path/to/model
    --trust-remote-code
    --dtype float16
    --max-model-len 8192
    --block-size 64
"""
DENSE = {"model_type": "qwen3", "num_hidden_layers": 2}
MOE = {"model_type": "qwen3_moe", "num_experts": 8}
MLA = {"model_type": "deepseek_v3", "kv_lora_rank": 512, "n_routed_experts": 256}


def parsed(line: str) -> tuple[dict[str, str], list[str], dict[str, str | bool]]:
    """Environment, entry point, flags (underscores as dashes) of a shell line."""
    words = shlex.split(line)
    env = {}
    while re.fullmatch(r"[A-Z_0-9]+=.*", words[0]):
        name, _, value = words.pop(0).partition("=")
        env[name] = value
    first = next(i for i, w in enumerate(words) if w.startswith("--"))
    flags: dict[str, str | bool] = {}
    rest = words[first:]
    while rest:
        name = rest.pop(0)[2:].replace("_", "-")
        flags[name] = rest.pop(0) if rest and not rest[0].startswith("--") else True
    return env, words[:first], flags


@pytest.fixture
def plan(tmp_path):
    def make(target, config, **more):
        checkpoint = tmp_path / "the-model"
        checkpoint.mkdir(exist_ok=True)
        (checkpoint / "config.json").write_text(json.dumps(config))
        more.setdefault("stage", "real")
        python = more.pop("python", Path("/nowhere/bin/python"))
        return gate_plan(checkpoint, load_target(target).target, python=python, check=False, **more)

    return make


@pytest.mark.parametrize(("target", "size"), [("ascend-a2", "8"), ("ascend-a3", "16")])
@pytest.mark.parametrize("stage", ["dummy", "real"])
def test_ascend_is_the_checklist_but_for_the_explained(plan, target, size, stage):
    made = plan(target, DENSE, stage=stage)
    env, entry, flags = parsed(made.command.shell().split(" && ", 1)[1])
    want_env, _, want = parsed(ASCEND_DUMMY)
    assert made.command.cwd == "/workspace"
    assert env == want_env
    assert entry[-2:] == ["serve", entry[-1]]
    want |= {"served-model-name": "the-model", "max-model-len": "131072", "tensor-parallel-size": size}
    if stage == "real":
        del want["load-format"]
    assert want.pop("trust-remote-code") is True
    assert flags.pop("host") == "127.0.0.1"
    assert flags == want
    assert [d.what for d in made.deviations] == [
        "--trust-remote-code is left out",
        "--host 127.0.0.1 is added",
        "the module of `vllm serve` is run by its interpreter",
    ]
    assert all(d.why and d.source for d in made.deviations)


def test_ascend_with_trust_said_by_the_user_has_no_such_deviation(plan):
    made = plan("ascend-a3", DENSE, extra_args=("--trust-remote-code",))
    assert "--trust-remote-code" in made.command.argv
    assert not any("trust" in d.what for d in made.deviations)


@pytest.mark.parametrize(
    ("version", "kept", "said"),
    [
        ("0.10.2rc1", False, "does not know it"),
        ("0.13.0", True, ""),
        ("0.25.1rc1", True, ""),
        ("0.28.0", True, "newer than the releases"),
        ("0.19.1rc2.dev1637+g182b75ea8", True, "a build between releases"),
        ("", True, "version is not known"),
    ],
)
def test_flashcomm_is_left_out_for_plugins_that_have_none(plan, tmp_path, version, kept, said):
    site = tmp_path / "env" / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True)
    if version:
        (site / f"vllm_ascend-{version}.dist-info").mkdir()
    made = plan("ascend-a2", MOE, python=tmp_path / "env" / "bin" / "python")
    assert ("VLLM_ASCEND_ENABLE_FLASHCOMM1" in made.command.env) == kept
    told = [d.why for d in made.deviations if "FLASHCOMM1" in d.what] + [n for n in made.notes if "FLASHCOMM1" in n]
    assert len(told) == bool(said)
    assert all(said in text for text in told)


def test_the_plugins_source_goes_before_its_number(plan, tmp_path):
    package = tmp_path / "env" / "lib" / "python3.11" / "site-packages" / "vllm_ascend"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "config.py").write_text(
        'if "enable_flashcomm1" in config or os.getenv("VLLM_ASCEND_ENABLE_FLASHCOMM1") is not None:\n'
        '    logger.warning("it is deprecated")\n'
    )
    (package.parent / "vllm_ascend-0.25.1.dist-info").mkdir()
    made = plan("ascend-a3", DENSE, python=tmp_path / "env" / "bin" / "python")
    assert "VLLM_ASCEND_ENABLE_FLASHCOMM1" not in made.command.env
    [why] = [d.why for d in made.deviations if "FLASHCOMM1" in d.what]
    assert why == f"the plugin only warns about it (the source in {package})"


@pytest.mark.parametrize(
    ("config", "template", "tp", "length", "changed"),
    [
        (DENSE, KUNLUN_DENSE, 1, 8192, {}),
        (MOE, KUNLUN_MOE, 8, 32768, {}),
        (MLA, KUNLUN_MLA, 8, 32768, {"port": "8888"}),
    ],
)
def test_kunlun_is_the_manuals_template_but_for_the_explained(plan, config, template, tp, length, changed):
    made = plan("kunlun-p800", config, tp=tp, max_model_len=length)
    env, entry, flags = parsed(made.command.shell())
    want_env, want_entry, want = parsed(template)
    assert env == want_env
    assert entry[1:] == want_entry[1:]
    assert flags.pop("served-model-name") == "the-model"
    assert flags.pop("model").endswith("/the-model")
    assert flags.pop("host") == "127.0.0.1"
    for name in ("trust-remote-code", "host", "model"):
        want.pop(name)
    assert flags == {**want, **changed}
    told = {d.what.split()[0] for d in made.deviations}
    assert told == {"--trust-remote-code", "--host", "--served-model-name", *(f"--{name}" for name in changed)}
    assert all(d.why and d.source for d in made.deviations)


def test_kunlun_says_what_of_a_template_was_not_asked_for(plan):
    told = [d.what for d in plan("kunlun-p800", MOE).deviations]
    assert "--tensor-parallel-size 1 instead of 8" in told
    assert "--max-model-len 32768 is left out" in told
    assert "--max-model-len 8192 is left out" in [d.what for d in plan("kunlun-p800", DENSE).deviations]
    assert not any("parallel" in d.what for d in plan("kunlun-p800", DENSE).deviations)


def test_kunlun_uses_vllm_serve_where_the_old_entry_is_deprecated(plan, tmp_path):
    (tmp_path / "env/lib/python3.11/site-packages/vllm-0.32.0.dist-info").mkdir(parents=True)
    made = plan("kunlun-p800", DENSE, python=tmp_path / "env/bin/python")
    assert "vllm.entrypoints.cli.main" in made.command.argv
    assert any("deprecated" in d.why for d in made.deviations)


def test_cpu_ranks_get_cores_of_their_own(plan, monkeypatch):
    import os

    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {4, 5, 6, 7, 8})
    assert plan("cpu", DENSE, tp=2).command.env["VLLM_CPU_OMP_THREADS_BIND"] == "4,5|6,7"
    staged = plan("cpu", DENSE, extra_args=("--pipeline-parallel-size", "2"))
    assert staged.command.env["VLLM_CPU_OMP_THREADS_BIND"] == "4,5|6,7"
    assert "VLLM_CPU_OMP_THREADS_BIND" not in plan("cpu", DENSE).command.env
    with pytest.raises(UsageError, match="6 ranks need as many cores"):
        plan("cpu", DENSE, tp=6)
    assert bind([0, 1], 2) == "0|1"


@pytest.mark.parametrize(
    "words", [("--tensor-parallel-size", "4"), ("--tensor_parallel_size=4",), ("-tp", "2", "--tensor-parallel-size=4")]
)
def test_a_size_among_the_further_arguments_is_the_plans_too(plan, monkeypatch, words):
    import os

    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)))
    made = plan("cpu", DENSE, extra_args=(*words, "--max-model-len=512"))
    assert (made.tp, made.max_model_len) == (4, 512)
    assert made.command.env["VLLM_CPU_OMP_THREADS_BIND"] == "0|1|2|3"
    assert plan("kunlun-p800", DENSE, tp=1, extra_args=words).command.env["XPU_VISIBLE_DEVICES"] == "0,1,2,3"
    assert plan("cpu", DENSE, tp=2, extra_args=("--tensor-parallel-size", "auto")).tp == 2


def test_extra_arguments_come_last_and_untouched(plan):
    made = plan("cpu", MOE, extra_args=("--enable-expert-parallel", "--override", '{"a": 1}'))
    assert made.command.argv[-3:] == ("--enable-expert-parallel", "--override", '{"a": 1}')


def test_every_platform_has_a_launch_and_an_unknown_one_is_refused():
    request = LaunchRequest(
        checkpoint="/m", served_name="m", stage="real", host="127.0.0.1", port=1, python="/nowhere/python"
    )
    for name in PLATFORMS:
        assert launch_plan(name, request).command.argv
    with pytest.raises(UsageError, match="unknown platform 'gpu'"):
        launch_plan("gpu", request)


def test_the_prescriptions_here_are_those_of_the_documents(shared_data):
    seeds = shared_data.parent / "seeds"
    if not seeds.is_dir():
        pytest.skip("the seed documents are not beside the shared data")
    text = "\n".join(f.read_text(errors="replace") for f in sorted(seeds.glob("00[0-3]*.txt")))
    squeezed = " ".join(text.replace("\\\n", " ").split())
    for template in (ASCEND_DUMMY, KUNLUN_MOE, KUNLUN_MLA, KUNLUN_DENSE):
        assert " ".join(template.split()) in squeezed
