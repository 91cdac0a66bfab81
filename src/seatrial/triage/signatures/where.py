"""Where it was raised, when the text says nothing that another family knows: the module alone tells the subject.

Declared after the other families (the order of the files), so that these only win where nothing of the same tier does.
"""

from __future__ import annotations

from seatrial.triage.signature import Signature
from seatrial.triage.signatures._make import PLUGIN, SHAPE, root

SIGNATURES: tuple[Signature, ...] = (
    root("where.speculative", "mtp-speculative", r"(?:ValueError|NotImplementedError|AssertionError|AttributeError|KeyError|TypeError): ", SHAPE,
         "The check of --speculative-config refused a value.", "Change the value the message names; serve without --speculative-config to confirm.",
         raised=r"ValueError|NotImplementedError|AssertionError|AttributeError|KeyError|TypeError", innermost=r"vllm/config/speculative\.py", unless=r"out of memory",
         matches=('  File "/x/vllm/config/speculative.py", line 9, in verify\n    raise ValueError(\n'
                  "ValueError: prompt_lookup_min=7 must be <= prompt_lookup_max=3",)),
    root("where.config", "config-validation", r"(?:ValueError|TypeError|NotImplementedError|AssertionError|IndexError): ", SHAPE,
         "The engine's configuration check refused a value or a combination.", "Change the value or drop one of the flags the message names.",
         raised=r"ValueError|TypeError|NotImplementedError|AssertionError", innermost=r"vllm/(?:config/(?!utils)|config\.py|engine/arg_utils)",
         unless=r"out of memory|[Qq]uantization|recognize|tokenizer|LoRA|Attention backend|multimodal|multi-modal|[Tt]orch dtype|quantization_config",
         matches=('  File "/x/vllm/config/vllm.py", line 9, in _verify\n    raise ValueError(\n'
                  "ValueError: HiSparse does not support pipeline parallelism.",)),
    root("where.plugin-config", "config-validation", r"(?:ValueError|TypeError|RuntimeError|AssertionError): ", SHAPE,
         "The plugin's configuration check refused a value or a combination.", "Change the value or drop one of the options the message names; the plugin's page of additional_config lists what goes together.",
         raised=r"ValueError|TypeError|RuntimeError|AssertionError", innermost=rf"(?:{PLUGIN})\w{{0,12}}/(?:ascend_config|platform|config)\.py", code=r"^(?:raise|assert)\b",
         unless=r"out of memory|NPU function error|torch|quantiz|UUID|not initialized",
         matches=('  File "/w/vllm_ascend/ascend_config.py", line 9, in __init__\n    raise RuntimeError(\n'
                  "RuntimeError: Xlite graph mode is not compatible with pipeline parallelism.",)),
    root("where.plugin-feature", "feature-flag-unsupported", r"NotImplementedError: .{0,200}(?:not (?:yet )?(?:support|implement)|only support|unsupported)", SHAPE,
         "The plugin has not written this path.", "Drop the flag or feature that leads there; the plugin's release notes say when it comes.",
         raised=r"NotImplementedError", innermost=rf"(?:{PLUGIN})[^\n]{{0,200}}/(?:worker|core|sample|platform|patch|engine)", unless=r"[Qq]uant|operator|dtype",
         matches=('  File "/w/vllm_ascend/worker/v2/pcp_manager.py", line 9, in check\n    raise NotImplementedError(\n'
                  "NotImplementedError: Ascend MRV2 does not support PCP and DCP simultaneously yet.",)),
    root("where.attention-check", "attention-backend", r"(?:Runtime|Assertion|Value|NotImplemented|Type)Error", SHAPE,
         "The attention code's own check refused what it was given: metadata, mask, cache or shape.",
         "Isolate with --enforce-eager, without prefix caching and without speculative decoding; the check names what is missing.",
         raised=r"RuntimeError|AssertionError|ValueError|NotImplementedError|TypeError", innermost=r"attention|attn", code=r"^(?:raise|assert)\b",
         unless=r"out of memory|unexpected keyword|required positional|No module|cannot import|divisible|device|captur|metadata is|config is not set", sources=("vllm-ascend#2071",),
         matches=('  File "/w/vllm_ascend/attention/attention_v1.py", line 311, in forward\n    assert attn_metadata.attn_mask is not None\nAssertionError',)),
    root("where.load-format", "config-validation", r"[Ll]oad[ _]format|[Uu]nexpected extra config keys|model_loader_extra_config|enable_multithread_load", SHAPE,
         "--load-format or --model-loader-extra-config has a value the loader does not take.", "Drop --model-loader-extra-config; use --load-format auto.",
         raised=r"ValueError|TypeError|NotImplementedError", innermost=r"model_loader/",
         matches=('  File "/x/vllm/model_executor/model_loader/default_loader.py", line 9, in __init__\n    raise ValueError(\n'
                  "ValueError: Unexpected extra config keys for load format auto: dict_keys(['a'])",)),
    root("where.platform-interface", "platform-plugin", r"NotImplementedError", SHAPE,
         "The base platform answered: no platform plugin is active in this process, or the plugin lacks this method.",
         "`python -c 'from vllm.platforms import current_platform as p; print(p)'` in the same environment; reinstall the plugin.",
         raised=r"NotImplementedError", innermost=r"vllm/platforms/interface\.py",
         matches=('  File "/x/vllm/platforms/interface.py", line 9, in get_device_name\n    raise NotImplementedError\nNotImplementedError',)),
    root("where.after-wake-up", "sleep-mode-race", r"(?:shape|size|dim)\w{0,3} .{0,120}(?:equal|match|same|mismatch|invalid)|illegal memory access|address .{0,40}(?:invalid|out of range)", SHAPE,
         "The first failure after /wake_up: weights or KV cache are not what they were before /sleep.",
         "Restart without --enable-sleep-mode to confirm; compare the weights' shapes before /sleep and after /wake_up.",
         context=r'"POST /wake_up', raised=r"RuntimeError|ValueError|AssertionError", unless=r"out of memory", sources=("vllm-ascend#11548", "vllm-ascend#12226"),
         matches=('INFO:     127.0.0.1:1 - "POST /wake_up HTTP/1.1" 200 OK\n  File "/x/vllm_ascend/ops/fused_moe/moe_mlp.py", line 9, in apply\n    x\n'
                  "RuntimeError: the k dim of x [2048] and the k dim of weight [768] should be equal",)),
)  # fmt: skip
