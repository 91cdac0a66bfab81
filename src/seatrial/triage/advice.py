# ruff: noqa: E501 (one line per category, as in the families)
"""What each category means and what to try first, for answers that no single signature stands behind."""

from __future__ import annotations

from typing import NamedTuple


class Advice(NamedTuple):
    cause: str
    next_step: str


ADVICE: dict[str, Advice] = {
    name: Advice(cause, step)
    for name, cause, step in (
        ("accuracy-garbled", "The server answers, but the text or the numbers are wrong.", "Compare stage by stage with one fixed prompt: HF, eager, graph, TP1/TPn, with and without MTP and prefix caching."),
        ("architecture-not-registered", "The model's class is not known in this process.", "`python -c 'from vllm import ModelRegistry; print(ModelRegistry.get_supported_archs())'`; register it through vllm.general_plugins."),
        ("attention-backend", "The attention back end does not take this model's heads, layout, mask or cache.", "Leave the back end to the platform; confirm with --enforce-eager; compare head size, block size and KV dtype with its limits."),
        ("attention-backend-mla", "The back end of multi-head latent (or sparse) attention does not take this model.", "Compare heads per rank, kv_lora_rank, block size and KV dtype with its limits; try another TP size."),
        ("chat-template-missing", "The chat template is missing or cannot be rendered.", "--chat-template FILE with the model's own template, or /v1/completions."),
        ("cli-flag", "The command line has an option or a value that this version does not take.", "Compare with `--help` of the version that runs."),
        ("collective-mismatch", "The ranks of a collective call do not agree on operation, size or type.", "Find the rank that took another path (uneven batches, DP padding); same versions and flags on every rank."),
        ("config-field-mismatch", "config.json lacks a field the code reads, or has it under another name or type.", "Compare config.json with the line of code in the frames; --hf-overrides sets a field."),
        ("config-invalid-json", "A JSON file or a JSON option does not hold what it should.", "python -m json.tool on the file; quote a JSON option in single quotes."),
        ("config-validation", "The engine's or plugin's check of the settings refused a value or a combination.", "Change the value or drop one of the flags the message names."),
        ("corrupt-weights", "A weight file is cut short or damaged.", "Compare sizes and sha256 with the publisher's; download that file again (git lfs pull)."),
        ("dependency-conflict", "Installed Python packages do not fit each other.", "`pip check`; install the versions the release names into a fresh environment."),
        ("device-placement", "A tensor lies on another device than the operation needs.", "Create it on the layer's device, or register it as a buffer; map_location when loading."),
        ("device-visibility", "The process sees no device, or fewer or others than it was told to use.", "npu-smi info inside the container; the visible-devices variable against TP x PP x DP."),
        ("dtype-unsupported", "The device or an operator has no kernel for this data type.", "--dtype float16 where bf16 is missing; cast at the operator the message names."),
        ("environment-torch-npu", "torch_npu is missing, does not fit torch, or its CANN environment is not set.", "`python -c 'import torch, torch_npu'`; source set_env.sh; the torch that torch_npu names."),
        ("evaluation-config", "The measurement's own settings (prompt, sampling, length, extraction) make the difference.", "Pin the request body; compare raw predictions, then extraction, then score."),
        ("expert-parallel", "Experts cannot be spread or dispatched this way.", "Without --enable-expert-parallel and EPLB to confirm; an EP size that divides the experts."),
        ("false-ready-first-request", "The server said it was ready and failed on a request.", "Repeat with --enforce-eager and one request; gate on a completion request, not on /health."),
        ("feature-flag-unsupported", "A feature that was asked for is not there on this platform or in this version.", "Drop the flag or request field the message names."),
        ("graph-capture-failure", "The model could not be traced, compiled, captured or replayed as a graph.", "Run once with --enforce-eager; then fewer capture sizes or a PIECEWISE graph."),
        ("hardware-image-mismatch", "The image, wheel or operator package was built for another chip or CPU.", "`npu-smi info` for the chip; the image tag of that chip."),
        ("hbm-oom", "The device had no memory left.", "Lower --gpu-memory-utilization, --max-num-batched-tokens or the capture sizes; `seatrial plan` does the sum."),
        ("hccl-communication", "The ranks could not connect to each other, or a peer stopped answering.", "Same network interface on all (HCCL_SOCKET_IFNAME, GLOO_SOCKET_IFNAME), hccn_tool link check; the first rank that failed has the reason."),
        ("kernel-limit", "A device kernel refuses this size or shape, or left its memory.", "Read the detail after the E-code in plog; reduce --max-num-seqs or --max-num-batched-tokens; --enforce-eager to isolate."),
        ("kv-cache-init", "The KV cache could not be laid out for this mix of layers.", "Drop prefix caching and hybrid options to confirm; compare the layers' KV cache specs."),
        ("kv-cache-oom", "Nothing or too little is left for the KV cache.", "Raise --gpu-memory-utilization, lower --max-model-len; `seatrial plan` does the sum."),
        ("kv-transfer-pd", "The transfer of KV cache between instances failed.", "Check both connectors' settings and addresses; serve without kv-transfer-config to confirm."),
        ("lora", "The adapter does not fit the model or the LoRA kernels.", "Serve without --enable-lora to confirm; compare rank and target modules with the limits."),
        ("memory-budget", "Free memory of the device or the host is below what was asked for at the start.", "npu-smi info and `free -h`: end stale processes, lower --gpu-memory-utilization or raise the container's limit."),
        ("missing-native-library", "A native library or compiled extension is not found or does not load.", "`ldd` on the file named; source set_env.sh of CANN and NNAL; rebuild the plugin."),
        ("mm-encoder-cache", "The cache of encoded images failed or is too small.", "Raise --max-num-batched-tokens; --mm-processor-cache-gb 0 to confirm."),
        ("mm-processor-mismatch", "The multimodal processor and the model do not agree.", "Compare preprocessor_config.json and the transformers version with the model card."),
        ("mtp-speculative", "Speculative decoding failed or was configured wrongly.", "Serve without --speculative-config to confirm."),
        ("multimodal", "The multimodal input, its limits or the vision/audio tower failed.", "A text-only request to confirm; --limit-mm-per-prompt; a smaller image."),
        ("multiprocessing-start-method", "Worker processes were started in a way that they cannot be.", "VLLM_WORKER_MULTIPROCESSING_METHOD=spawn and an `if __name__ == \"__main__\":` guard."),
        ("namespace-shadowing", "A folder or file of the same name hides the installed package.", "Start from another directory; `python -c 'import vllm; print(vllm.__file__)'`."),
        ("network-offline-hub", "A hub cannot be reached or refuses the repository.", "Give a local path; or HF_ENDPOINT/VLLM_USE_MODELSCOPE=True; HF_HUB_OFFLINE=1 with a filled cache."),
        ("operator-unsupported", "The platform has no (working) implementation of an operator.", "Find the call in the frames; use the plugin's operator or torch's own; check the chip against the operator's list."),
        ("optional-dependency", "An optional package is not installed.", "pip install the package that the message names."),
        ("out-of-shm-disk", "Shared memory, disk or file handles are used up.", "`df -h /dev/shm` and the cache folders; --shm-size or --ipc=host."),
        ("pipeline-parallel", "Pipeline parallelism is not supported here, or a stage lacks what the one before should send.", "PP=1 to confirm."),
        ("platform-plugin", "No platform plugin, or the wrong one, is active in this process.", "`python -c 'from vllm.platforms import current_platform as p; print(p)'` in the same environment."),
        ("port-bind", "A port or address is taken or may not be bound.", "`ss -ltnp` shows the holder; choose another port."),
        ("quant-unsupported", "This quantisation is not supported here, or the checkpoint's description of it does not fit.", "Compare the quantisation config with what the platform lists."),
        ("sleep-mode-race", "Memory was used while the engine slept, or sleep and wake-up went wrong.", "Turn sleep mode off to confirm; wait for running requests before /sleep."),
        ("structured-output", "Guided decoding failed: the grammar, its back end, or its bitmask.", "Send the request without response_format to confirm; another back end."),
        ("thread-binding", "Threads could not be bound to cores.", "Turn binding off to confirm; give the container its cores."),
        ("tokenizer", "The tokenizer's files or class do not fit.", "All tokenizer files of the checkpoint; the transformers version of the model card."),
        ("transformers-version", "The installed transformers does not fit the model or the engine.", "Install the version the model card and the engine name."),
        ("triton-kernel", "A triton kernel does not compile or launch on this device.", "The plugin's non-triton path to confirm; smaller blocks and grids; a newer triton-ascend."),
        ("triton-missing", "triton is missing, too old, or the build for another device.", "pip uninstall triton; install the build of this device last of all."),
        ("version-mismatch-cann", "CANN, NNAL, driver and torch_npu do not fit each other.", "Install the tuple of the release notes; `seatrial doctor` prints what is installed."),
        ("version-mismatch-plugin", "The plugin was written for another version of the engine.", "Use the vLLM version the plugin's release names; `seatrial doctor` prints what is installed."),
        ("version-mismatch-tool", "A tool beside the engine was written for other versions.", "Install the versions that the tool names, or a newer tool."),
        ("weight-key-mismatch", "A tensor's name has no place in the model, or the other way round.", "`seatrial dry CHECKPOINT` accounts for every tensor."),
        ("weight-shape-mismatch", "A tensor's shape is not that of its parameter.", "`seatrial dry CHECKPOINT` compares every shape."),
        ("weight-shape-mismatch-tp", "A tensor cannot be cut this way for tensor parallelism.", "TP 1 to confirm; `seatrial dry CHECKPOINT` at this TP."),
        ("weights-missing", "The weights or config are not where they were looked for.", "List the folder; compare with the index file."),
        ("weights-silently-missing", "Parameters kept their initial values without a failure.", "`seatrial dry CHECKPOINT` accounts for every weight."),
    )
}  # fmt: skip
