"""Which part of the Ascend plugin raised it, when the text says nothing more: one rule per sub-package with a subject."""

from __future__ import annotations

from seatrial.triage.signature import Signature
from seatrial.triage.signatures._make import LITERAL, SHAPE, root

ANY = r"(?:Runtime|Assertion|Value|NotImplemented|Type|Key|Index)Error"
RAISED = r"RuntimeError|AssertionError|ValueError|NotImplementedError|TypeError|KeyError|IndexError"
CHECK = r"^(?:raise|assert)\b"
PLAIN = r"out of memory|unexpected keyword|required positional|No module|cannot import|divisible|NPU function error|aclnn|same device"
SIGNATURES: tuple[Signature, ...] = (
    root("where.asc-experts", "expert-parallel", ANY, SHAPE, "The experts' code refused what it was given: routing, dispatch between ranks, or the experts' weights.", "Serve without --enable-expert-parallel to confirm; compare the number of experts, EP size and MC2 capacity.", raised=RAISED, code=CHECK,
         innermost=r"vllm_ascend/(?:_310p/|ops/)(?:fused_moe/|moe/)|vllm_ascend/eplb/", unless=rf"{PLAIN}|[Qq]uant|MXFP|mxfp|W\dA\d|LoRA|has no attribute|captur", anchor="-",
         matches=('  File "/w/vllm_ascend/ops/fused_moe/token_dispatcher.py", line 9, in token_dispatch\n    raise NotImplementedError("Dispatch function not implemented.")\nNotImplementedError: Dispatch function not implemented.',
                  '  File "/w/vllm_ascend/ops/fused_moe/moe_mlp.py", line 9, in unified_apply_mlp\n    raise ValueError(\nValueError: group_list_type should be in [0, 1, 2], but received 7',
                  '  File "/w/vllm_ascend/ops/fused_moe/experts_selector.py", line 9, in select_experts\n    raise ValueError(\nValueError: Unsupported scoring function: foo')),
    root("where.asc-experts-object", "expert-parallel", r"(?:Type|Key|Index)Error", SHAPE, "The experts' code was not given what it reads: its layers, its groups or its tables were set up otherwise.", "Serve without --enable-expert-parallel to confirm; compare the plugin's release with the engine's.", raised=r"TypeError|KeyError|IndexError",
         innermost=r"vllm_ascend/(?:_310p/|ops/)(?:fused_moe/|moe/)|vllm_ascend/eplb/", unless=rf"{PLAIN}|[Qq]uant|MXFP|mxfp|LoRA|captur", sources=("vllm-ascend#8620",), anchor="-",
         matches=("  File \"/w/vllm_ascend/ops/fused_moe/fused_moe.py\", line 618, in forward\n    if forward_context.moe_layer_index < len(forward_context.all_moe_layers):\nTypeError: object of type 'NoneType' has no len()",)),
    root("where.asc-quant", "quant-unsupported", r"(?:Runtime|Attribute|Type|Key|Index)Error", SHAPE, "The failure was raised in the plugin's quantisation code.", "Serve the unquantised checkpoint to confirm; compare the layer's scheme with the plugin's list.",
         raised=r"RuntimeError|AttributeError|TypeError|KeyError|IndexError", innermost=r"vllm_(?:ascend|kunlun)/(?:_310p/)?quantization/", unless=rf"{PLAIN}|[Ee]xpert|topk|captur|HCCL|\.weight['\"]", anchor="-",
         matches=('  File "/w/vllm_ascend/quantization/methods/w4a8.py", line 9, in apply\n    out = x.view(self.group_size, -1)\nRuntimeError: strides do not fit',
                  "  File \"/w/vllm_ascend/quantization/utils.py\", line 9, in get_rollback\n    return d['model']\nKeyError: 'model'")),
    root("where.asc-mla", "attention-backend-mla", ANY, SHAPE, "A check in the latent or sparse attention (MLA, SFA, DSA) refused what it was given.", "Isolate with --enforce-eager, without prefix caching, context parallelism and speculative decoding.", raised=RAISED,
         innermost=r"vllm_ascend/(?:attention|ops|models/layer/attention)/(?:context_parallel/)?(?:dsa|sfa|mla)\w{0,20}\.py", code=CHECK, unless=rf"{PLAIN}|captur|[Ss]pecul|Duplicate layer", anchor="-",
         matches=('  File "/w/vllm_ascend/attention/dsa_v1.py", line 9, in forward\n    raise RuntimeError(\nRuntimeError: IndexCache requires topk_indices_buffer when skip_topk is enabled.',
                  '  File "/w/vllm_ascend/attention/context_parallel/sfa_cp.py", line 9, in build\n    assert self.kv_cache is not None\nAssertionError')),
    root("where.kv-store", "kv-transfer-pd", ANY, LITERAL, "The failure was raised while KV blocks were moved to or from host memory, a store or another instance.", "Serve without --kv-transfer-config and KV offloading to confirm.", raised=RAISED,
         innermost=r"/kv_transfer/|kv_p2p|/kvpool/|kv_pool|kv_offload/|/cpu_offload/|mooncake|ascend_store|llmdatadist", unless=rf"{PLAIN}|[Aa]ddress already|[Pp]ort\b|[Ii]nstall", anchor="-",
         matches=('  File "/w/vllm_ascend/simple_kv_offload/npu_mem_ops.py", line 9, in copy\n    assert a == b, "src/dst block counts must match"\nAssertionError: src/dst block counts must match',
                  '  File "/w/vllm_ascend/kv_offload/npu.py", line 9, in transfer_async\n    self.events[job_id]\nKeyError: 12',
                  '  File "/w/vllm_ascend/distributed/kv_transfer/kv_pool/ascend_store/pool_worker.py", line 9, in register\n    assert self.store is not None\nAssertionError')),
    root("where.asc-hccl", "hccl-communication", ANY, SHAPE, "The plugin's communicator refused the group or the tensor.", "Check the ranks' devices and that every rank makes the same groups in the same order.", raised=RAISED,
         innermost=r"vllm_ascend/distributed/device_communicators/", unless=PLAIN, anchor="-",
         matches=('  File "/w/vllm_ascend/distributed/device_communicators/pyhccl.py", line 9, in __init__\n    assert dist.get_backend(group) != dist.Backend.HCCL, (\nAssertionError: PyHcclCommunicator should be attached to a non-HCCL group.',)),
    root("where.asc-mla-none", "attention-backend-mla", r"'NoneType' object (?:has no attribute|is not (?:iterable|subscriptable|callable))|unsupported operand type", SHAPE, "The latent or sparse attention (MLA, SFA, DSA) was not given something that this step needs.", "Isolate with --enforce-eager, without context parallelism and without speculative decoding.", raised=r"AttributeError|TypeError",
         innermost=r"vllm_ascend/(?:attention|ops|models/layer/attention)/(?:context_parallel/)?(?:dsa|sfa|mla)\w{0,20}\.py", sources=("vllm-ascend#11312",), anchor="-",
         matches=('  File "/w/vllm_ascend/attention/context_parallel/sfa_cp.py", line 176, in build_cp_metadata\n    num_computed_tokens_of_pcp_dcp.to(self.device)\n' "AttributeError: 'NoneType' object has no attribute 'to'",)),
)  # fmt: skip
