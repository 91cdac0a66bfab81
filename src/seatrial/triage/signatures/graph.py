"""Graph capture and replay (ACL graph, CUDA graph, torchair, torch.compile)."""

from __future__ import annotations

from seatrial.triage.signature import Signature
from seatrial.triage.signatures._make import EXACT, LITERAL, SHAPE, WEAK, root

G = "graph-capture-failure"
FEWER = "Fewer or smaller cudagraph_capture_sizes, HCCL_OP_EXPANSION_MODE=AIV; confirm by running once with --enforce-eager."
EAGER = "Run once with --enforce-eager: if it serves, move the operation out of the graph (splitting_ops, PIECEWISE) or upgrade the plugin."
SIGNATURES: tuple[Signature, ...] = (
    root("graph.streams", G, r"[Ss]tream resources are insufficient|Insufficient_Stream_Resources|\b207008\b|\bEL0009\b|insufficient available streams|Alloc sq cq fail|"
         r"known stream-resource exhaustion|error code is 207005|stream wait event|[Nn]o (?:available|free) streams?", LITERAL,
         "Captured graphs times communication streams exceed the device's streams. The text about memory or storage is misleading.", FEWER, rung="real", sources=("A20", "A21", "A22", "A24"),
         matches=("EE9999: Inner Error!  [SqCqManage]Alloc sq cq fail, stream_id=1984, retCode=0x7020023",
                  "ACLgraph has insufficient available streams to capture the configured number of sizes.")),
    root("graph.capture-call", G, r"[Aa]clmdlRI\w{0,40}(?:Capture|Execute|Debug|Destroy)\w{0,20}|\b1070(?:25|27|30)\b.{0,120}captur|captur.{0,160}\b1070\d\d\b|not joined to the original capture stream|"
         r"capture_begin|capture_end|(?:ACL ?[Gg]raph|cuda ?graph|CUDAGraph|NPUGraph|npugraph\w{0,4}).{0,80}(?:fail|error|not support|invalid|unsupported)|[Gg]raph capture (?:failed|error)|"
         r"Input addresses for (?:acl|cuda)graphs are different|(?:operation|op) not permitted when stream is capturing|cudaErrorStreamCapture\w{0,30}|[Cc]apture (?:cuda|npu|acl) graph failed|"
         r"update_graph_params|graph replay (?:failed|error)|persistent param only supports decode|VllmBackend can only be called once", LITERAL,
         "An operation that cannot be captured, or a replay with other addresses or shapes than captured.", EAGER, rung="real", sources=("A23", "A25", "A27"), unless=r"npugraph_ex is not supported",
         matches=("RuntimeError: AclmdlRICaptureEnd(model_ri) error code is 107025", "E20260826 15:04:11.773 acl_graph_executor.cpp:413] stream is not joined to the original capture stream (HCCL internal stream)")),
    root("graph.task-update", G, r"RuntimeError", EXACT, "Updating the parameters of an operator inside a captured graph failed: the operator refuses what the replay gives it.", EAGER, rung="real",
         frames=r":_?graph_task_(?:update|group)\w{0,20}", raised=r"RuntimeError", unless=r"out of memory", sources=("sglang#9925",),
         matches=('  File "/x/torch_npu/npu/graphs.py", line 75, in graph_task_update_end\n    _graph_task_update_end(stream)\n'
                  "RuntimeError: The Inner error is reported as above, and the current working operator name is aclnnFusedInferAttentionScoreV3.",)),
    root("graph.capture-mode", G, r"current capture mode does not support this operation", SHAPE,
         "A synchronous call was made during capture. Often it follows an earlier failure.", EAGER, yields="peer", sources=("A25",), anchor="-",
         matches=("RuntimeError: the current capture mode does not support this operation",)),
    root("graph.place", G, r"Error", SHAPE, "The failure was raised while a graph was captured or replayed.", EAGER, rung="real",
         innermost=r"(?:acl_?graph|cuda_?graph|npu_?graph)[^:]{0,40}\.py:|compilation/(?:piecewise|graph|acl|pass|npugraph|compiler)|torchair|:capture_model|:_capture|:update_\w{0,20}graph|graph_runner|xlite",
         unless=r"out of memory|No module named|unexpected keyword|cannot import|required positional|OutOfMemory",
         matches=('  File "/w/vllm_ascend/compilation/acl_graph.py", line 311, in update_graph_params\n'
                  "AttributeError: 'GDNAttentionMetadata' object has no attribute 'seq_lens_list'",)),
    root("graph.dynamo", G, r"torch\._dynamo\.exc\.|BackendCompilerFailed|InternalTorchDynamoError|TorchRuntimeError|Unsupported: |InductorError|LoweringException|GuardOnDataDependentSymNode|ConstraintViolationError|graph break|"
         r"Ascend graph compil|GE_COMPILE|ge compile|[Dd]ynamo failed", SHAPE,
         "torch.compile could not trace or lower the model.", "TORCHDYNAMO_DISABLE=1 or --enforce-eager to confirm; then exclude the function from compilation.",
         raised=r"\w{1,80}|", matches=("torch._dynamo.exc.Unsupported: Attempted to call function marked as skipped",)),
    root("graph.glm-spec", G, r"with speculative decoding currently do not support graph mode", EXACT, "A limit of this model's speculative decoding.", "enforce_eager in speculative_config.", sources=("A76",),
         matches=("GLM series models with speculative decoding currently do not support graph mode",)),
    root("graph.during-capture", G, r"Error", WEAK, "The failure was raised while graphs were captured.", EAGER,
         frames=r":capture_model|acl_?graph\w{0,10}\.py|cuda_graph_runner|npu_graph_runner|:_warmup_and_capture|:capture_graph", unless=r"out of memory|No module named|unexpected keyword|cannot import|required positional|OutOfMemory|has no attribute",
         raised=r"RuntimeError|AssertionError|ValueError|IndexError",
         matches=('  File "/w/vllm_ascend/worker/model_runner_v1.py", line 311, in capture_model\n    a()\n  File "/w/vllm_ascend/ops/foo.py", line 2, in bar\n    x\n' "RuntimeError: NPU function error",)),
)  # fmt: skip
