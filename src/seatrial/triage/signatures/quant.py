"""Quantised checkpoints: method, scheme, operator and hardware support."""

from __future__ import annotations

from seatrial.triage.signature import Signature
from seatrial.triage.signatures._make import EXACT, LITERAL, SHAPE, SUBJECTS, WEAK, root

Q = "quant-unsupported"
OTHER = "Use a checkpoint in a format this platform serves (Ascend A2/A3: BF16 or ModelSlim/compressed-tensors W8A8/W4A8; FP8 needs A5; Kunlun: INT8 compressed-tensors, AWQ)."
SIGNATURES: tuple[Signature, ...] = (
    root("quant.platform", Q, r"quantization is currently not supported in|no available ascend quantizer|[Qq]uantization (?:method|type|scheme|algo\w{0,8})?.{0,80}(?:is |are )?(?:currently )?not supported|"
         r"not support(?:ed)? .{0,40}quant(?:ization|_type)|Unknown quantization (?:method|type)|doesn't support quant_type|[Uu]nsupported (?:ModelSlim |compressed-tensors )?quant\w{0,10}|Invalid quantization|"
         r"No compressed-tensors compatible scheme|[Qq]uant(?:ization)? (?:config|algo).{0,80}not supported|fp8e4nv not supported|"
         r"(?:FP8|fp8|AWQ|awq|GPTQ|gptq|MXFP4|mxfp4|MXFP\d?|NVFP4|GGUF|gguf|W4A8|W4A4|w4a8|bitsandbytes|Marlin|marlin|auto-round).{0,60}(?:not supported|unsupported|not implemented|only supported on|requires)|Failed to find a kernel that can implement|weight quantization block_[nk]|(?:Marlin|Machete|Exllama|AllSpark)\w{0,20} (?:does not|doesn't|cannot) support|in features size is not multiple|not divisible by (?:min_thread|tile)_\w|weight_bits? ?= ?\S{1,20} .{0,40}support", LITERAL,
         "The platform has no implementation for this quantisation.", OTHER, rung="support", sources=("V21", "V22", "A34"),
         unless=r"kv[-_ ]cache[-_ ]dtype|compute capability|must be|does not match the quant",
         not_in=rf"{SUBJECTS}|/attention/|/attn", matches=("ValueError: fp8 quantization is currently not supported in npu.",
                  "NotImplementedError: Currently, vLLM Ascend doesn't support quant_type=W4A16 for linear")),
    root("quant.not-described", Q, r"KeyError: '(?:model\.)?(?:language_model\.|visual\.)?(?:model\.)?(?:layers|blocks)\.0\.(?:self_attn\.(?:q_proj|qkv_proj)|attn\.qkv)\.weight'", EXACT,
         "The quantisation description knows not even the first layer: the checkpoint was not made by this quantiser (AWQ, GPTQ, FP8), or every name has another prefix.", OTHER, sources=("vllm-ascend#6800",), frames=r"is_layer_skipped|get_quant_method",
         matches=('  File "/x/vllm_ascend/quantization/quant_config.py", line 1, in get_quant_method\n    if self.is_layer_skipped_ascend(prefix,\n' "KeyError: 'model.layers.0.self_attn.q_proj.weight'",)),
    root("quant.conflict", Q, r"Quantization method specified in the model config \(|does not match the quantization method specified in", EXACT,
         "--quantization contradicts the checkpoint's quantization_config.", "Drop the flag, or give the checkpoint's method.", rung="support", sources=("V20",),
         matches=("ValueError: Quantization method specified in the model config (fp8) does not match the quantization method specified in the `quantization` argument (ascend).",)),
    root("quant.dtype", Q, r"is not supported for quantization method \S{1,40}\. Supported dtypes", EXACT, "The quantisation method needs another dtype.", "--dtype bfloat16 or float16, as the message lists.", sources=("V23",),
         matches=("ValueError: torch.float32 is not supported for quantization method ascend. Supported dtypes: [x]",)),
    root("quant.config-file", Q, r"Cannot find the config file for \S{1,40}|ModelSlim Quantization Config Not Found|quant_model_description\w{0,20}\.json.{0,80}(?:not found|No such file|missing)|No such file.{0,200}quant_model_description", LITERAL,
         "The quantisation's description file is not in the checkpoint folder.", "Copy quant_model_description.json (ModelSlim) or quantize_config.json, or drop --quantization.", rung="support", sources=("V29", "A30"),
         matches=("ValueError: ModelSlim Quantization Config Not Found", "ValueError: Cannot find the config file for awq")),
    root("quant.mixed", Q, r"Not all shards of .{1,160} are quantized with same quant type|Detected some but not all shards of|Could not determine quantization type for layer", EXACT,
         "A fused layer holds parts of different quantisation.", "Quantise q/k/v (gate/up) alike, or exclude them together.", sources=("A32", "A33", "A35"),
         matches=("ValueError: Not all shards of model.layers.0.self_attn.qkv_proj are quantized with same quant type.",)),
    root("quant.cuda-op", Q, r"'_OpNamespace' '_C' object has no attribute '\w{0,30}(?:marlin|gptq|awq|fp8|scaled_mm|cutlass|scaled_fp|dynamic_scaled|static_scaled|quant)\w{0,30}'", EXACT,
         "A CUDA-only quantisation kernel was chosen.", OTHER, sources=("K10",),
         matches=("AttributeError: '_OpNamespace' '_C' object has no attribute 'gptq_marlin_repack'",)),
    root("quant.cuda-capability", Q, r"minimum capability.{0,60}[Cc]urrent capability|not supported for the current GPU", LITERAL, "The method needs newer hardware.", OTHER,
         matches=("ValueError: The quantization method awq_marlin is not supported for the current GPU. Minimum capability: 80. Current capability: 75.",)),
    root("quant.matmul-op", Q, r"aclnn(?:Quant|Weight|DynamicQuant|GroupedMatmul\w{0,20}Quant|DequantSwiglu)\w{0,40}.{0,80}(?:failed|not support|error)|npu_(?:quant_matmul|weight_quant|dynamic_quant)\w{0,30}.{0,80}(?:not support|failed|error)|"
         r"Float8_e4m3fn.{0,120}not (?:support|implemented)|DT_FLOAT8|HIFLOAT8.{0,60}not", LITERAL,
         "The quantised matmul operator refuses type, shape or layout.", OTHER,
         matches=("RuntimeError: call aclnnQuantMatmulV4 failed, detail:EZ1001: x1 dtype is not supported",
                  '  File "/w/vllm_ascend/quantization/methods/w8a8_mxfp8.py", line 9, in apply\n    output = torch_npu.npu_quant_matmul(\n'
                  "RuntimeError: npu_quant_matmul: call aclnnQuantMatmulV5 failed, error code is 161002")),
    root("quant.place", Q, r"(?:NotImplementedError|ValueError): ", SHAPE, "The quantisation code refused this layer, type or platform.", OTHER, raised=r"NotImplementedError|ValueError",
         innermost=r"layers/quantization/|_ascend/quantization/|_kunlun/quantization/|srt/layers/quantization|quant_config\.py", unless=r"broadcast|shape mismatch|load weight",
         matches=('  File "/x/vllm/model_executor/layers/quantization/awq.py", line 3, in __init__\n    raise ValueError(x)\n' "ValueError: Currently, only 4-bit weights are here",)),
    root("quant.platform-table", Q, r"KeyError: <PlatformEnum\.\w{1,20}: \d{1,3}>", LITERAL, "The table of quantised kernels has no entry for this platform.", OTHER, raised=r"KeyError", innermost=r"quantization/|kernels/(?:linear|scaled_mm|mixed_precision)|scaled_mm|mixed_precision", sources=("vllm-gaudi#567",), anchor="-",
         matches=('  File "/x/vllm/model_executor/layers/quantization/kernels/scaled_mm/__init__.py", line 3, in choose_kernel\n    for kernel in _POSSIBLE[current_platform._enum]:\nKeyError: <PlatformEnum.HPU: 4>',)),
    root("quant.assert", Q, r"AssertionError", SHAPE, "The quantisation code's own check refused this layer's size, type or scheme.", OTHER, raised=r"AssertionError", innermost=r"layers/quantization/|_ascend/quantization/|_ascend/_310p/quantization|_kunlun/quantization/|srt/layers/quantization",
         code=r"^assert\b", unless=r"[Ee]xpert|loaded_weight|shape mismatch|topk|router|flash_common|context is required",
         matches=('  File "/x/vllm_ascend/quantization/methods/w4a16.py", line 3, in get_weight\n    assert size % self.pack_factor == 0, (\nAssertionError: Expecting `size` 100 can be divided by `pack_factor` 8',)),
    root("quant.layer-weight", Q, r"'\w{0,60}(?:Linear|FusedMoE|Embedding|LMHead|MLP)\w{0,30}' object has no attribute '(?!\w{0,20}loader)\w{0,30}(?:weight|scale|zeros|offset)\w{0,20}'", SHAPE,
         "A layer has no parameter of this name: its quantisation stores the weight under another one, and this code does not know that scheme.", OTHER, raised=r"AttributeError|RuntimeError|", sources=("vllm-ascend#4487",), anchor="-",
         matches=("AttributeError: 'AscendQKVParallelLinear' object has no attribute 'weight'",)),
    root("quant.scheme", Q, r"(?:get_quant_method|get_scheme|create_scheme|process_weights_after_loading)", WEAK, "The quantisation layer refused this layer.", OTHER, raised=r"NotImplementedError|ValueError|AssertionError|AttributeError",
         innermost=r"quantization/", unless=r"'Parameter' object",
         matches=('  File "/x/vllm_ascend/quantization/utils.py", line 3, in get_quant_method\n    x.get_quant_method()\n' "AttributeError: x",)),
    root("quant.group-size", Q, r"group_size.{0,80}(?:divisible|not support|must)|input size is not aligned with the quantized weight shape|not aligned with the quantized", LITERAL,
         "The group size does not divide the cut of the layer.", "Use a smaller TP, or a checkpoint with a smaller group size.",
         not_in=r"/attention/", matches=("ValueError: The input size is not aligned with the quantized weight shape. This can be caused by too large tensor parallel size.",)),
    root("quant.tensor-layout", Q, r"NotImplementedError|not implemented|not support", SHAPE, "The quantisation code has no path for this case.", OTHER, raised=r"NotImplementedError|ValueError|RuntimeError", innermost=r"quantization/|/quant",
         matches=('  File "/x/vllm_ascend/quantization/w8a8.py", line 3, in apply\n    raise NotImplementedError("not implemented")\n' "NotImplementedError: only per-channel, others not implemented",)),
)  # fmt: skip
