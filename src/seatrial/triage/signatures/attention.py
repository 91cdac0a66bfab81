"""Attention operators and back ends, and their limits on heads, layouts and types."""

from __future__ import annotations

from seatrial.triage.signature import Signature
from seatrial.triage.signatures._make import EXACT, KV_PARTS, LITERAL, SHAPE, WEAK, root

A = "attention-backend"
M = "attention-backend-mla"
SIGNATURES: tuple[Signature, ...] = (
    root("mla.heads", M, r"[Nn]o valid (?:\w{1,8} )?MLA prefill backend|MLA only supports? ?\{|only support \{32, ?64, ?128\}|numHeads ?/ ?numKvHeads|CheckMla\w{0,20}|(?:num_)?heads?.{0,60}(?:for|in) MLA|\bMLA\b.{0,80}(?:only supports?|not support|must be|should be|unsupported|failed|requires?)|(?:not (?:yet )?supported|unsupported) (?:with|for|by|in|on|under) (?:\w{1,20} ){0,2}MLA\b", LITERAL,
         "The MLA kernel takes only certain head counts per rank; this TP leaves another.", "Choose TP so that heads per rank are 32, 64 or 128; or leave graph mode for this model.", rung="support", sources=("A70",), anchor="-",
         raised=r"\w{1,80}|", unless=r"^\s{0,4}(?:INFO|Using)",
         not_in=KV_PARTS, matches=('ValueError: No valid MLA prefill backend found with head size 576.', "EZ9999: [PID: 62938] 2025-05-27-06:52:12.455.807 numHeads / numKvHeads = 8, MLA only support {32, 64, 128}.[FUNC:CheckMlaAttrs][FILE:incre_flash_attention_tiling_check.cc][LINE:1218]",)),
    root("mla.refused", M, r"(?:ValueError|NotImplementedError|AssertionError|RuntimeError): .{0,300}(?:not (?:yet )?support|unsupported|only supports?|must be|[Nn]o valid|requires?|should be)", EXACT,
         "The back end of multi-head latent attention refuses this head size, type, block size or feature.", "Leave the back end to the platform; compare kv_lora_rank + qk_rope_head_dim, heads per rank, block size and KV cache dtype with what the message lists.", rung="support",
         raised=r"ValueError|NotImplementedError|AssertionError|RuntimeError", innermost=r"/mla/|mla_v1|_mla\.py|/sfa_\w{1,20}\.py|/dsa_\w{1,20}\.py|flashmla", code=r"^(?:raise|assert)\b",
         unless=r"out of memory|LoRA|[Qq]uantization method|aclnn|device_type",
         matches=('  File "/x/vllm/v1/attention/backends/mla/common.py", line 301, in validate_head_size\n    raise ValueError(\n' "ValueError: Head size 40 is not supported by FooMLA. Supported head sizes are: [576].",)),
    root("mla.op", M, r"(?:Atb)?RingMLA|npu_(?:multi_head_latent|mla_|kv_rmsnorm_rope|ring_mla)\w{0,40}|aclnn\w{0,10}(?:Mla|MLA)\w{0,40}|mla_preprocess|[Mm]laProlog|paged_mla|[Ss]parseFlash(?:Attention|Mla)\w{0,20}|[Ll]ightning[Ii]ndexer\w{0,20}", LITERAL,
         "An operator of multi-head latent attention failed or refuses its input.", "Match CANN, NNAL and the plugin's release; check heads per rank, block size 128 and dtype.", sources=("A73",),
         raised=r"\w{1,80}|", unless=r"has no attribute|object has no|Using|enable|^\s{0,8}export",
         matches=("RuntimeError: call AtbRingMLAGetWorkspaceSize failed",)),
    root("mla.place", M, r"Error", SHAPE, "The failure was raised in the MLA attention code.", "Try --enforce-eager and another TP size; compare kv_lora_rank, qk_rope_head_dim and heads with what the back end accepts.",
         innermost=r"mla_v1|/mla|_mla\.py|mla/|/sfa_\w{1,20}\.py|/dsa_\w{1,20}\.py|mla_cp|multi_head_latent", raised=r"RuntimeError|AssertionError|ValueError|NotImplementedError|IndexError|TypeError", unless=r"out of memory|unexpected keyword|required positional|divisible|No module",
         matches=('  File "/w/vllm_ascend/attention/mla_v1.py", line 311, in forward\n    x\n' "RuntimeError: shape '[1, 2]' is invalid for input of size 3",)),
    root("attn.fia", A, r"aclnn(?:Fused|Incre|Prompt|Ring)\w{0,40}Attention\w{0,20}|(?:Fused|fused)_?[Ii]nfer_?[Aa]ttention_?[Ss]core|When layout is TND|TND layout'?s? limit|npu_fused_infer_attention|_npu_(?:paged|flash)_attention\w{0,20}(?!')|"
         r"PagedAttentionOperation|SelfAttentionOperation|paged_attention.{0,60}(?:failed|error|not support)|incre_flash_attention|prompt_flash_attention|FlashAttention.{0,80}(?:only support|not support|failed)|unpad_flash_attention", LITERAL,
         "The fused attention operator refuses head size, layout, block size or mask of this model.", "Check head_dim (64/128/192 for TND), block size 128 and heads per rank; isolate with --enforce-eager.", rung="support", sources=("A71", "A72", "A74"),
         raised=r"\w{1,80}|", unless=r"has no attribute|draft|MLA|^\s{0,8}export|cannot import",
         matches=("RuntimeError: call aclnnFusedInferAttentionScoreV3 failed, error code is 561002",)),
    root("attn.backend-name", A, r"[Nn]o valid attention backend|[Ii]nvalid attention backend|[Uu]nknown attention backend|attention[ _-]backend.{0,60}(?:not (?:supported|available|valid|found)|invalid|is not)|"
         r"(?:head[_ ]size|[Hh]ead dim\w{0,8}|head_dim|block_size|kv_cache_dtype|dtype) .{0,60}(?:is )?not supported by .{0,40}(?:[Aa]ttention|backend)|Selected backend .{1,80} is not valid|\w{0,60}Attention\w{0,20}(?:Backend|Impl)'?>? is not (?:yet )?supported|"
         r"does not support block-sparse attention|[Aa]ttention (?:type|backend|impl).{0,80}(?:not implemented|not support)|Only support --kv-cache-dtype|Attention backend reorders decodes with threshold|\b(?:Flash\w{2,20}|FLASH\w{2,20}|[Tt]riton|TRITON_\w{2,12}|[Aa]scend\w{0,30}|[Tt]orch ?SDPA|[Xx]Formers|XFORMERS|FlexAttention) (?:attention )?backend (?:currently |yet )?(?:does not|doesn't|cannot) support|[Ss]inks? (?:are|is) only supported|(?:[Ee]ncoder|[Ss]liding window|ALiBi|alibi|attention sink|logits_soft_cap|cross.attention).{0,80}(?:not (?:yet )?(?:implemented|supported)|unsupported)|"
         r"[Hh]ead (?:size|dim)\w{0,12}[ :=]{0,3}\d{1,4}.{0,60}(?:not support|unsupported|only support|must be)|[Uu]nsupported (?:attention )?head[_ ](?:size|dim)", LITERAL,
         "The attention back end does not take this head size, type or feature.", "Leave the back end to the platform (unset VLLM_ATTENTION_BACKEND/--attention-backend), or use one that the message lists.", rung="support", sources=("K17", "K18", "vllm-ascend#8525"), unless=r"MLA prefill",
         matches=("NotImplementedError: <class 'vllm_ascend.attention.attention_v1.AscendAttentionBackend'> is not yet supported.", "ValueError: No valid attention backend from priority list.", "NotImplementedError: kunlunAttention does not support block-sparse attention.")),
    root("attn.refused", A, r"(?:NotImplementedError|ValueError): ", SHAPE, "The attention back end refuses this model or setting.", "Try another --attention-backend; compare head_dim, KV heads, KV cache dtype and mask with what it takes.",
         raised=r"NotImplementedError|ValueError", innermost=r"attention/backends|attention/selector|attention_v1|/attention/(?!ops)|kunlun_attn|ascend_backend", unless=r"broadcast|triton",
         matches=('  File "/x/vllm/v1/attention/backends/foo.py", line 3, in __init__\n    raise NotImplementedError(x)\n' "NotImplementedError: sinks are for later",)),
    root("attn.place", A, r"Error", WEAK, "The failure was raised in the attention code.", "Isolate with --enforce-eager, no prefix caching, no speculative decoding; compare head_dim and KV heads with the back end's limits.",
         innermost=r"attention|attn", raised=r"RuntimeError|AssertionError|ValueError|NotImplementedError|IndexError", unless=r"out of memory|unexpected keyword|required positional|No module|cannot import|divisible|same device",
         matches=('  File "/w/vllm_ascend/attention/attention_v1.py", line 311, in forward\n    x\n' "RuntimeError: shape '[1, 2]' is invalid for input of size 3",)),
    root("attn.kernel-image", A, r"FlashAttention only supports|flash_attn.{0,60}(?:not support|requires)|only supports (?:Ampere|fp16 and bf16)", EXACT, "The attention kernel does not run on this device or type.", "Choose another back end with --attention-backend.",
         matches=("RuntimeError: FlashAttention only supports Ampere GPUs or newer.",)),
)  # fmt: skip
