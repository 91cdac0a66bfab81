"""What the user or the checkpoint configures: flags, config.json, values that do not fit together."""

from __future__ import annotations

from seatrial.triage.signature import Signature
from seatrial.triage.signatures._make import EXACT, LITERAL, SHAPE, SUBJECTS, root

FIT = "Change the value named in the message; `seatrial assess CHECKPOINT` checks it against config.json before the next start."
SIGNATURES: tuple[Signature, ...] = (
    root("cli.argparse", "cli-flag", r"error: (?:unrecognized arguments|argument [-\w/,]{1,80}:|ambiguous option|the following arguments are required)|"
         r"No such option|unexpected keyword argument '\w{1,60}'(?=[^\n]{0,80}EngineArgs)|"
         r"EngineArgs\.__init__\(\) got an unexpected keyword argument|invalid choice: |"
         r"ERROR: unknown command line flag|[Uu]nknown (?:command[- ]line )?(?:flag|option|argument)s?\b|[Ii]nvalid (?:tool[ _-]call|reasoning|tool) parser|Error: --[\w-]{2,60} requires? --|zsh: no matches found: --", EXACT,
         "The installed version does not have this flag, or not with this value.", "`vllm serve --help=all` (or the server's --help) of the version that runs; rename or drop the flag.",
         matches=("api_server.py: error: unrecognized arguments: --enable-foo",
                  "vllm serve: error: argument --quantization/-q: invalid choice: 'w8a8' (choose from 'awq', 'gptq')",
                  "TypeError: EngineArgs.__init__() got an unexpected keyword argument 'enable_sleep'",
                  "ERROR: unknown command line flag 'enable_mla'")),
    root("cli.json-value", "cli-flag", r"argument [-\w/]{1,60}: Value .{1,200} cannot be converted to|Invalid JSON string|cannot be parsed as JSON|"
         r"Error parsing .{0,40}(?:--[\w-]{1,40}|additional[_-]config)", EXACT,
         "A flag's JSON value was broken, most often by the shell's quotes.", "Put the JSON in single quotes, or use the dotted form (--flag.key value).",
         matches=("vllm serve: error: argument --additional-config: Value {ascend_scheduler_config} cannot be converted to <function loads>.",)),
    root("config.invalid-json", "config-invalid-json", r"is not a valid JSON file|"
         r"(?:config|index|quant_model_description|tokenizer\w{0,10}|generation_config)[\w.]{0,40}\.json.{0,80}(?:JSONDecodeError|Expecting|invalid JSON|parse)", EXACT,
         "A JSON file of the checkpoint does not parse.", "python -m json.tool config.json names line and column; restore the file.",
         matches=("OSError: It looks like the config file at '/models/x/config.json' is not a valid JSON file.",)),
    root("config.json-decode", "config-invalid-json", r"JSONDecodeError|Expecting (?:value|property name enclosed|',' delimiter|':' delimiter)|"
         r"Extra data: line \d|Invalid control character at|Unterminated string starting at|parse_error\.\d{3}|nlohmann::\w{0,40}.{0,20}parse_error", SHAPE,
         "A JSON file of the checkpoint does not parse.", "python -m json.tool on each *.json of the checkpoint; restore the broken one.",
         raised=r"JSONDecodeError|JsonDecodeError|ValueError|OSError|", unless=r"argument|request body|tool",
         matches=("json.decoder.JSONDecodeError: Expecting ',' delimiter: line 12 column 3 (char 301)",)),
    root("config.executor-backend", "config-validation", r"Unrecognized distributed executor backend", LITERAL,
         "The value names no executor.", "Use mp, ray, uni or external_launcher.", sources=("vllm-ascend#287",),
         matches=("ValueError: Unrecognized distributed executor backend tp. Supported values are 'ray', 'mp' 'uni'.",)),
    root("config.heads-tp", "config-validation", r"attention heads \(\d{1,5}\) must be divisible by|num_heads \(\d{1,5}\) is not divisible by num_kv_heads|"
         r"(?:must be|is not|should be|not) (?:evenly )?(?:divisible|divided) by (?:the )?(?:tensor|tp|TP|num_kv|world|number)|num_attention_heads.{0,60}divisible", LITERAL,
         "Heads or sizes do not divide by the parallel size.", "Choose a tensor-parallel size that divides heads, KV heads, vocabulary and intermediate size.", rung="support", sources=("V24", "V25"),
         matches=("ValueError: Total number of attention heads (30) must be divisible by tensor parallel size (4).",
                  "AssertionError: num_heads (3) is not divisible by num_kv_heads (2)")),
    root("config.not-divisible", "config-validation", r"\b\d{1,9} is not divisible by \d{1,9}|assert .{1,80}total_num_(?:kv_)?heads % \w{0,10}tp_size == 0", SHAPE,
         "A size does not divide by the tensor-parallel size or the quantisation group.", "Change the tensor-parallel size, or pad; check the group size.", sources=("V25",),
         matches=("AssertionError: 100 is not divisible by 8",)),
    root("config.max-len", "config-validation", r"is greater than the derived max_model_len|max_num_batched_tokens \(\d{1,9}\) is smaller than max_model_len|"
         r"max_num_batched_tokens \(\d{1,9}\) must be greater than or equal to max_num_seqs|please reduce the length of the messages|"
         r"maximum context length is \d{1,9} tokens", LITERAL,
         "Length settings contradict each other or the model.", FIT, sources=("V28",),
         matches=("ValueError: User-specified max_model_len (131072) is greater than the derived max_model_len (max_position_embeddings=32768)",)),
    root("config.capture-sizes", "config-validation", r"customized max_cudagraph_capture_size|cudagraph_capture_sizes.{0,120}(?:does not contain|contains no|must be|should be)|"
         r"capture sizes?.{0,80}multiples? of", LITERAL,
         "The graph capture sizes contradict another setting.", "Give capture sizes that are multiples of TP and of num_speculative_tokens+1, or leave them out.", sources=("V35", "V68"),
         matches=("ValueError: customized max_cudagraph_capture_size(=512) should be consistent with the max value of cudagraph_capture_sizes(=256)",)),
    root("config.only-when", "config-validation", r"\b(?:only|can only) (?:be )?(?:supported|enabled|used|available|effective|valid|set|applied)\b.{0,12}\b(?:(?:when|if|together with)\b|in (?:the )?(?:\w{1,16} ){0,3}(?:scenario|node|mode)|with (?:--|\w{1,30}_\w{1,30}))", EXACT,
         "One setting is asked for without the other one that it needs.", FIT, raised=r"ValueError|AssertionError|RuntimeError|NotImplementedError|TypeError|", unless=r"INFO|WARNING|[Ss]peculat|MTP|Eagle|LoRA|lora|[Qq]uant|head|dtype|[Pp]ipeline|[Ee]xpert|recogni|persistent param",
         anchor="-", not_in=rf"{SUBJECTS}|/attention/|/mla|_mla|sfa_|/triton|/fla/|/kda/|quantization/|kernels/", matches=("RuntimeError: enable_foo_nz is only supported in pd scenario and can only be used in D node.", "AssertionError: enable_bar can only be enabled when tp_size > 1")),
    root("config.size-rule", "config-validation", r"\b\w{2,40}_size ?\(?=?\d{0,6}\)? (?:cannot|can not|must|should) (?:be |exceed|not )", LITERAL, "A parallel or block size is out of the range that another setting leaves.", FIT, raised=r"ValueError|AssertionError|",
         unless=r"INFO|WARNING|device|local_world|vocab_size|head_size|page_size|ep_size|expert|pipeline|draft|kernel_size|hidden_size|KV cache|swap|group_size|cache_size", anchor="-",
         not_in=rf"{SUBJECTS}|/attention/|/mla|_mla|sfa_|/triton|/fla/|/kda/|quantization/|kernels/", matches=("AssertionError: oproj_tensor_parallel_size (8) cannot exceed global tensor parallel size (4)",)),
    root("config.limit-rule", "config-validation", r"\b(?:max_model_len|max_num_\w{2,30}|max_num_seqs|block_size|gpu_memory_utilization|swap_space|cpu_offload_gb|\w{2,20}_token_threshold|chunked_prefill_size|max_\w{2,20}_tokens|\w{2,20}_capture_sizes?) ?(?:\([^)]{1,20}\))? ?must (?:not )?be (?:greater|less|at least|at most|positive|a multiple|divisible|between|>|<|set)|graph mode only works with", SHAPE, "A limit is out of the range that another setting leaves.", FIT, raised=r"ValueError|AssertionError|NotImplementedError|",
         unless=r"INFO|WARNING|multimodal|mm_|[Ss]pecul|hash", anchor="-", not_in=rf"{SUBJECTS}|/attention/|/mla|_mla|sfa_|/triton|/fla/|/kda/|quantization/|kernels/", matches=("ValueError: long_prefill_token_threshold (5000) must be less than max_model_len (4096)",)),
    root("config.no-model-type", "config-field-mismatch", r"Unrecognized model in .{1,200} Should have a `model_type` key", LITERAL, "config.json has no model_type: another format (Mistral's own, an adapter, a part of a pipeline), or not a checkpoint's folder.", "Look at config.json; for Mistral's own format --config-format mistral --load-format mistral --tokenizer-mode mistral; for an adapter serve its base model with --lora-modules.", anchor="-",
         unless=r"tokenizer\b.{0,20}$", matches=("ValueError: Unrecognized model in /models/foo. Should have a `model_type` key in its config.json, or contain one of the following strings in its name: albert",)),
    root("config.additional-config", "config-validation", r"(?:ascend|additional|torchair_graph|expert_map|eplb|xlite|weight_prefetch|finegrained_tp|ascend_scheduler)_config\w{0,30}"
         r".{0,120}(?:must|only|should|cannot|can not|invalid|not support|unexpected|has no)|recompute_scheduler_enable can only|enable_balance_scheduling only|fused mc2 op cannot be used|"
         r"Sequence parallelism (?:is only supported when|requires)|finegrained tp sizes can be enabled only|DYNAMIC_EPLB or EXPERT_MAP_RECORD", LITERAL,
         "additional_config asks for a combination that the plugin refuses.", FIT, sources=("A41", "A42", "A45", "A48", "A49", "A50", "A91"),
         unless=r"MiniMax|is not supported for this model",
         matches=("AssertionError: Sequence parallelism requires enable_expert_parallel=True for MoE models.",
                  "ValueError: recompute_scheduler_enable can only be enabled on kv_consumer")),
    root("config.launch-blocking-graph", "config-validation", r"ACL graph is incompatible with ASCEND_LAUNCH_BLOCKING=1", EXACT,
         "The debug variable excludes graph mode.", "Unset ASCEND_LAUNCH_BLOCKING, or add --enforce-eager.", sources=("A26",),
         matches=("RuntimeError: ACL graph is incompatible with ASCEND_LAUNCH_BLOCKING=1",)),
    root("config.broadcast-capture", "config-validation", r"could not broadcast input array from shape \(\d{1,9},\) into shape \(\d{1,9},\)", SHAPE,
         "A per-request buffer sized from the capture sizes is too small for the batch.", "Make cudagraph_capture_sizes multiples of both TP and num_speculative_tokens+1.",
         frames=r"attention|model_runner|spec_decode|graph",
         matches=('  File "/x/vllm_ascend/attention/attention_v1.py", line 301, in build\n    self.actual_seq_lengths_q[:n] = query_lens\n'
                  "ValueError: could not broadcast input array from shape (196,) into shape (14,)",)),
    root("config.pydantic", "config-validation", r"^\s{0,4}(?:(?:Value|Assertion) error|Assertion failed), |Input should be |Extra inputs are not permitted|Unexpected keyword argument \[type=|Field required \[type=", SHAPE,
         "The engine's configuration check refused a value.", FIT,
         unless=r"architectures|[Uu]nknown quantization|quantization|inspected|speculative|expert|pipeline|LoRA|lora|tokenizer|dtype|bfloat16|Free memory|chat template|not supported on|"
         r"does not support|recognize|sleep|[Dd]evice|kv_connector|connector|structured|attention backend|transformers|multimodal|mm_|prefix",
         matches=("  Value error, max_num_seqs must be greater than zero [type=value_error, input_value=ArgsKwargs]",)),
    root("config.world-size", "config-validation", r"data_parallel_size .{0,80}(?:must|should|is not)|(?:prefill|decode)_context_parallel_size|"
         r"nnodes.{0,60}(?:must|divis)|rope_scaling.{0,60}(?:must|should|invalid)|Unknown RoPE scaling type|`rope_scaling`'s", LITERAL,
         "A parallel or rope setting is out of range.", FIT,
         not_in=rf"{SUBJECTS}|/attention/|/mla|_mla|sfa_|/triton|/fla/|/kda/|quantization/|kernels/", matches=("AssertionError: tp_size 8 must be divisible by decode_context_parallel_size 3",)),
    root("config.verify", "config-validation", r"(?:ValueError|AssertionError): ", SHAPE,
         "The engine's configuration check refused a value.", FIT, raised=r"ValueError|AssertionError|TypeError",
         innermost=r"vllm/(?:config/(?!speculative)|config\.py|engine/arg_utils)|vllm_ascend/(?:ascend_config|platform)\.py|sglang/srt/server_args|sglang/srt/arg_groups",
         unless=r"[Qq]uantiz|[Ss]pecul|xpert|ipeline|LoRA|dtype|emory|rchitect|not supported|not support|tokenizer|device|recognize|connector|multimodal|attention backend|sleep",
         matches=('  File "/opt/venv/lib/python3.11/site-packages/vllm/config/cache.py", line 9, in _verify\n'
                  "ValueError: block_size must be a power of two",)),
    root("config.no-attribute", "config-field-mismatch", r"'\w{0,60}(?:Config|config)' object has no attribute '\w{1,80}'|\bKeyError: 'rope_(?:type|theta|scaling)|"
         r"missing (?:key|field)s? .{0,60}config|[Nn]o (?:such )?(?:key|field).{0,60}config\.json|type must be \w{1,12}, but is null", LITERAL,
         "The code reads a field that this checkpoint's config does not have, or has inside text_config or under another name.",
         "Compare config.json with the config class; set it with --hf-overrides, or read it through get_text_config().", rung="support",
         unless=r"rope_theta'|rope_scaling'$|VllmConfig|Ascend\w{0,30}Config|QuantConfig|'ModelConfig'|SchedulerConfig|ParallelConfig|CacheConfig|AscendConfig|CompilationConfig|SpeculativeConfig|KVTransferConfig|LoRAConfig",
         not_in=r"config/speculative|spec_decode", matches=("AttributeError: 'Glm4vMoeConfig' object has no attribute 'num_attention_heads'",)),
    root("config.engine-object", "version-mismatch-plugin", r"'(?:Vllm|Model|Scheduler|Parallel|Cache|Ascend\w{0,30}|\w{0,30}Quant\w{0,10}|Compilation|Speculative|KVTransfer|LoRA|Device|Load|Kernel|Attention|Multimodal|MultiModal)Config' object has no attribute", EXACT,
         "The plugin reads a field of the engine's own configuration that this version does not have.", "Use the vLLM version that the plugin's release names.",
         matches=("AttributeError: 'SchedulerConfig' object has no attribute 'chunked_prefill_enabled'",)),
    root("config.rope-expand", "config-field-mismatch", r"The expanded size of the tensor \(\d{1,9}\) must match the existing size|size of tensor a \(\d{1,9}\) must match the size of tensor b", SHAPE,
         "The rotary dimension the code derived is not that of the checkpoint (partial rotary factor, rotary_dim).",
         "Print rotary_dim, partial_rotary_factor and head_dim of config.json; the plugin must read the one this model uses.",
         innermost=r"rotary|rope", unless=r"triton",
         matches=('  File "/x/vllm_ascend/ops/rotary_embedding.py", line 211, in rope_forward_oot\n    cos = cos.expand(1, n, 1, d)\n'
                  "RuntimeError: The expanded size of the tensor (128) must match the existing size (64) at non-singleton dimension 3",)),
    root("config.none-arith", "config-field-mismatch", r"unsupported operand type\(s\) for .{1,12}: '(?:NoneType|int|float|dict)' and '(?:NoneType|int|float|dict)'|"
         r"'NoneType' object is not (?:subscriptable|iterable)|argument of type 'NoneType'|'NoneType' object has no attribute|'dict' object has no attribute '\w{1,60}'", SHAPE,
         "A config field the model code needs is null, absent, or a plain dict.", "Compare config.json with the config class; set the field with --hf-overrides.",
         innermost=r"config\w{0,30}\.py|/configs/|models/\w{1,60}\.py:__init__|vllm/config/\w{1,20}\.py|transformers_utils/\w{1,40}\.py",
         matches=('  File "/opt/x/vllm/model_executor/models/step3.py", line 9, in __init__\n    n = config.hidden // config.heads\n'
                  "TypeError: unsupported operand type(s) for //: 'int' and 'NoneType'",)),
    root("config.key-in-code", "config-field-mismatch", r"KeyError: '[\w.]{1,60}'", LITERAL, "The code reads a key that this checkpoint's config does not have (or has under another name).", "Compare config.json with the line of code in the frames; set the key with --hf-overrides, or use the versions the model card names.", raised=r"KeyError",
         code=r"(?:[Cc]onfig|cfg|rope_parameters|rope_scaling|hf_overrides|model_args)\w{0,20}(?:\.\w{1,40}){0,3}\[['\"]", unless=r"layers\.|weight'|kv_|speculat", rung="support", sources=("sglang#22739",), anchor="-",
         matches=('  File "/x/sglang/srt/models/foo.py", line 9, in __init__\n    theta = config.rope_parameters["rope_base"]\n' "KeyError: 'rope_base'",)),
    root("config.key", "config-field-mismatch", r"KeyError: '[\w.]{1,60}'", SHAPE, "A key is missing where the configuration is read.", "Compare config.json with what the code reads.",
         innermost=r"transformers_utils/config|/configs/|configuration_\w{1,60}\.py|config\.py|rotary_embedding",
         unless=r"layers\.|weight",
         matches=('  File "/opt/x/vllm/transformers_utils/configs/foo.py", line 9, in __init__\n    a = cfg["num_experts"]\n' "KeyError: 'num_experts'",)),
)  # fmt: skip
