"""Lines that look like failures in healthy logs. They never open a triage."""

from __future__ import annotations

from seatrial.triage.signature import Kind, Signature
from seatrial.triage.signatures._make import other

N = Kind.NOISE
SIGNATURES: tuple[Signature, ...] = (
    other(N, "noise.vllm-c", r"Failed to import from vllm\._\w{1,20} ?(?:with|:)|"
          r"Failed to import (?:from )?vllm\._C_stable|Failed to import from _moe_C",
          "On a plugin platform vLLM's CUDA extension is absent by design.",
          matches=("WARNING 02-10 08:00:00 [_custom_ops.py:20] Failed to import from vllm._C with "
                   "ModuleNotFoundError(\"No module named 'vllm._C'\")",),
          rejects=("ModuleNotFoundError: No module named 'vllm_ascend.vllm_ascend_C'",)),
    other(N, "noise.ulimit", r"Found ulimit of \d{1,9} and failed to automatically increase",
          "A hint on file limits; it quotes an error that did not happen.",
          matches=("WARNING 11-20 14:49:17 [system_utils.py:255] Found ulimit of 20000 and failed to automatically increase "
                   "with error current limit exceeds maximum limit. This can cause fd limit errors like "
                   "`OSError: [Errno 24] Too many open files`.",)),
    other(N, "noise.triton-absent", r"Triton is not installed|Triton is installed,? but|Triton not installed or not compatible|"
          r"Importing from triton|Failed to import Triton kernels",
          "Triton is optional on this platform until a model that needs it is loaded.",
          matches=("INFO 09-01 10:00:00 [importing.py:53] Triton is installed but 0 active driver(s) found (expected 1). "
                   "Disabling Triton to prevent runtime errors.",)),
    other(N, "noise.driver-version", r"Warning: Driver Version: .{0,40}is invalid or not supported yet",
          "torch_npu could not read the driver's version; harmless.",
          matches=("[rank0]:[W106 06:43:02.555922410 compiler_depend.ts:117] Warning: Driver Version:  is invalid or not "
                   "supported yet. (function operator())",)),
    other(N, "noise.deprecation", r"(?:Deprecation|Future|User|Resource|Syntax|Import)Warning: ",
          "A warning of the Python libraries.",
          matches=("x.py:24: DeprecationWarning: `vllm.entrypoints.openai.api_server` is deprecated and will likely be "
                   "unsupported in a future version.",)),
    other(N, "noise.already-registered", r"is already registered, and will be overwritten|Please check whether it is overwritten",
          "A plugin replaces an upstream model class: its purpose.",
          matches=("WARNING 09-01 10:00:00 [registry.py:1] Model architecture Qwen3NextForCausalLM is already registered, and "
                   "will be overwritten by the new model class vllm_ascend.models.qwen3_next:CustomQwen3Next.",)),
    other(N, "noise.shutdown", r"\[shutdown\]|leaked semaphore|leaked shared_memory|nanobind: leaked|destroy_process_group\(\) was not called|"
          r"process group has NOT been destroyed",
          "What processes say when they are stopped.",
          matches=("(EngineCore pid=2015) INFO 11-20 14:49:09 [core.py:1454] [shutdown] EngineCore: trigger received "
                   "signal=SIGTERM",)),
    other(N, "noise.usage-stats", r"usage_lib|Failed to collect usage|tcmalloc is not found|libiomp is not found|"
          r"owner does not match the current owner|File path .{1,200} does not match the current owner",
          "Side features; serving does not need them.",
          matches=("Warning: The /usr/local/Ascend/ascend-toolkit owner does not match the current owner.",)),
    other(N, "noise.input-dump", r"^Dumping (?:input data|scheduler output|scheduler stats)", "The engine's state at its death, not the reason.",
          matches=("(EngineCore pid=1) ERROR 11-20 14:26:05 [dump_input.py:72] Dumping input data for V1 LLM engine (v0.32.0) with config: model='/m'",)),
    other(N, "noise.route-table", r"Route: /|Available routes are",
          "The list of HTTP routes.",
          matches=("(APIServer pid=1961) INFO 11-20 14:49:07 [launcher.py:195] Route: /inference/v1/abort_requests, Methods: POST",)),
)  # fmt: skip
