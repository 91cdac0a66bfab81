"""Lines that are no failure but falsify a claim: a feature that was asked for is off."""

from __future__ import annotations

from seatrial.triage.signature import Kind, Signature
from seatrial.triage.signatures._make import other

E = Kind.EVIDENCE
SIGNATURES: tuple[Signature, ...] = (
    other(E, "evidence.graph-mode-none", r"cudagraph_mode is not support on NPU\. falling back to NONE",
          "Graph mode was asked for and is off.", "Report the graph feature as unsupported.",
          matches=("WARNING 09-01 10:00:00 [platform.py:1] cudagraph_mode is not support on NPU. falling back to NONE",)),
    other(E, "evidence.eager", r"Compilation disabled, using eager mode by default", "Graphs are off.",
          matches=("INFO 09-01 10:00:00 [platform.py:1] Compilation disabled, using eager mode by default",)),
    other(E, "evidence.flashcomm", r"FlashComm is deprecated; remove enable_flashcomm1", "The option does nothing on this version.",
          matches=("WARNING FlashComm is deprecated; remove enable_flashcomm1",)),
    other(E, "evidence.xlite-graph", r"ACLGraph has been disabled when speculation is disabled in xlite full mode",
          "xlite replaces ACL graphs.", matches=("ACLGraph has been disabled when speculation is disabled in xlite full mode",)),
    other(E, "evidence.capture-truncated", r"npugraph_ex is not supported on Ascend 310P|npugraph_ex is not supported|Truncating max_cudagraph_capture_size",
          "Graph sizes were cut.", matches=("npugraph_ex is not supported on Ascend 310P",)),
    other(E, "evidence.quant-flag", r"user explicitly specified '--quantization", "The flag and the checkpoint disagree; the flag is used.",
          matches=("WARNING the user explicitly specified '--quantization ascend'",)),
    other(E, "evidence.custom-ops-off", r"Failed to register custom ops, all custom ops will be disabled|Import error msg:|"
          r"\[KunlunPlugin\] Failed to load",
          "The plugin's native operators are not there; it goes on without them.",
          "Rebuild the plugin against the installed torch, torch_npu and CANN.",
          matches=("WARNING 02-10 08:00:00 [utils.py:1] Failed to register custom ops, all custom ops will be disabled.",)),
)  # fmt: skip
