"""Loading a checkpoint: missing files, damaged files, names and shapes that do not fit."""

from __future__ import annotations

from seatrial.triage.signature import Signature
from seatrial.triage.signatures._make import EXACT, LITERAL, SHAPE, WEAK, root

KEYS = "weight-key-mismatch"
SHAPES = "weight-shape-mismatch"
TP = "weight-shape-mismatch-tp"
DRY = "`seatrial dry CHECKPOINT` lists every tensor without a parameter and every parameter without a tensor; then fix hf_to_vllm_mapper, packed_modules_mapping or skip_prefixes."
LOADER = r"load_weights|weight_loader|weight_utils|model_loader|weights_loader|load_model|loader\.py"
SIGNATURES: tuple[Signature, ...] = (
    root("weights.corrupt", "corrupt-weights", r"SafetensorError|Error while deserializing header|[Hh]eader ?[Tt]oo ?(?:Large|Small|large|small)|InvalidHeader|MetadataIncompleteBuffer|"
         r"incomplete metadata, file not fully covered|PytorchStreamReader failed|unpickling stack underflow|invalid load key|[Cc]hecksum mismatch|"
         r"(?:is|seems|may be) (?:corrupt|truncated)|unexpected EOF, expected \d|[Ii]nvalid magic number|EOFError: Ran out of input|invalid header or archive is corrupted|Consistency check failed: file should be|BadZipFile", LITERAL,
         "A shard is cut short, is a git-LFS pointer, or is not what its name says.", "`ls -l` and sha256 of every shard against the hub; `git lfs pull` or download again.", rung="dryrun", unless=r"does not contain tensor", sources=("V48",), anchor="-",
         matches=('EOFError: Ran out of input', "safetensors._safetensors_rust.SafetensorError: Error while deserializing header: incomplete metadata, file not fully covered",
                  "_pickle.UnpicklingError: invalid load key, 'v'.")),
    root("weights.none-found", "weights-missing", r"Cannot find any model weights with|no file named .{0,120}(?:safetensors|pytorch_model)|Error no file named|"
         r"[Nn]o (?:safetensors|weights?|checkpoint|model) files? (?:was |were )?found|Unable to load weights from|Weight files referenced in index but missing|Cannot find any (?:safetensors )?model weights|does not appear to have (?:a file named|files named) .{0,60}(?:safetensors|model|bin)|"
         r"No such file or directory: '?[^'\n]{0,200}\.(?:safetensors|bin|pt|gguf)\b|Failed to open .{0,200}\.safetensors|[Ff]ailed to find (?:\w{1,20} ){0,2}(?:weights?|safetensors|checkpoint) files?", LITERAL,
         "The folder has no weights in the expected format, or a shard of the index is missing.", "Compare model.safetensors.index.json with the files; point --model to the folder that holds them.", rung="dryrun", sources=("V45",),
         matches=("FileNotFoundError: Weight files referenced in index but missing: ['model-00003-of-00008.safetensors']", "RuntimeError: Cannot find any model weights with `/models/x`",
                  "FileNotFoundError: No such file or directory: \"/models/x/model-00003-of-00008.safetensors\"",)),
    root("weights.no-folder", "weights-missing", r"(?:OSError|ValueError|HFValidationError): ['\"]?(?:\.{1,2})?/[^ ]{1,300} is not a local folder", EXACT, "The path does not exist in this container.", "`ls` the path inside the container; mount the folder.", anchor="-",
         matches=("OSError: /models/foo is not a local folder and is not a valid model identifier listed on 'https://huggingface.co/models'",), rejects=("OSError: Qwen/Foo is not a local folder and is not a valid model identifier listed on 'https://huggingface.co/models'",)),
    root("weights.no-config", "weights-missing", r"(?:does not appear to have a file named|is not the path to a directory containing a file named) config\.json|"
         r"Invalid repository ID or local directory specified|Repo id must be in the form .{0,80}: [\'\"][./~]|No such file or directory: '?[^'\n]{0,200}(?:config\.json|index\.json)|"
         r"model path .{1,200}(?:does not exist|not exist)|[Mm]odel (?:path|dir\w{0,10}) .{0,200} not (?:found|exist)", LITERAL,
         "The model path is not a checkpoint folder (inside the container).", "`ls` the path inside the container; mount the folder.", unless=r"huggingface\.co|connect",
         matches=("huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or 'namespace/repo_name': '/models/a/b'. Use `repo_type` argument if needed.", "OSError: /models/x does not appear to have a file named config.json. Checkout 'https://x' for available files.",
                  "ValueError: Invalid repository ID or local directory specified: '/models/x'.")),
    root("weights.silently", "weights-silently-missing", r"[Ff]ollowing weights were not (?:loaded|initialized) from (?:the )?checkpoint|(?:[Ss]ome )?weights are not (?:loaded|initialized) from (?:the )?(?:model )?checkpoints?|not found in params_dict, skip|"
         r"parameters? (?:were|was) not loaded|(?:missing|unloaded) (?:keys|weights|parameters): ?[\[{'\w]|"
         r"Skip(?:ping|ped)? (?:loading )?(?:weight|param)\w{0,10} |[Ww]eights? not loaded|Ignoring (?:unexpected )?(?:weight|key)", LITERAL,
         "Parameters kept their random or zero initial values; the server starts and answers nonsense.", DRY, rung="dryrun", sources=("K19",),
         unless=r"load_weights_from",
         matches=("WARNING 05-01 10:00:00 [x.py:1] Some weights are not initialized from checkpoints: {'layers.0.x'}",
                  "WARNING 05-01 10:00:00 [x.py:1] Parameter layers.0.x not found in params_dict, skip loading")),
    root("weights.refused-missing", KEYS, r"[Ff]ollowing weights were not (?:loaded|initialized) from (?:the )?checkpoint", EXACT,
         "The loader refuses to go on: parameters of the model have no tensor in the checkpoint, or have it under another name.", DRY, rung="dryrun", raised=r"ValueError|RuntimeError|KeyError", sources=("V40",),
         matches=("ValueError: Following weights were not initialized from checkpoint: {'layers.0.x'}",), rejects=("WARNING 05-01 10:00:00 [x.py:1] Following weights were not initialized from checkpoint: {'a'}",)),
    root("weights.newly-initialized", "weights-silently-missing", r"Some weights of .{1,200} were not initialized from", LITERAL,
         "transformers gave some parameters fresh random values. Right for a head that is to be trained, wrong for serving.", DRY, rung="dryrun", yields="any", anchor="-",
         matches=("Some weights of LlamaForSequenceClassification were not initialized from the model checkpoint at m and are newly initialized: ['score.weight']",)),
    root("weights.no-module-named", KEYS, r"There is no module or parameter named|Attempted to load nested weight|[Uu]nexpected key\(?s?\)? in (?:source )?state_dict|Missing key\(s\) in state_dict|"
         r"[Ww]eight .{1,120} (?:not found|does not exist) in (?:the )?(?:model|checkpoint|state)|Cannot find weight|[Cc]an(?:not|'t) find tensor|tensor .{1,120}not found in (?:file|checkpoint|safetensors)|"
         r"has no tensor named|[Ff]ailed to find (?:tensor|weight)(?!\w{0,2} files?)|is not found in (?:the )?state[_ ]dict|[Uu]nexpected weight(?:s| name| key)?\b|File does not contain tensor", LITERAL,
         "A name in the checkpoint has no place in the model, or the other way round.", DRY, rung="dryrun", sources=("V41", "V42"),
         matches=("ValueError: There is no module or parameter named 'model' in Mamba2ForCausalLM",)),
    root("weights.key-tensor", KEYS, r"KeyError: ['\"](?:[\w/-]{1,80}[./]){0,12}\w{0,60}(?:(?<![a-z])(?:w\d|w\d\d|lm_head)|weight|bias|weight_scale|weight_offset|qweight|input_scale|scales|_proj|layernorm|embed_tokens|A_log|dt_bias)[\w.]{0,60}['\"]",
         LITERAL, "A tensor name is looked up that the parameters, or the quantisation description, do not have: a prefix or packed-module mapping is missing.", DRY, rung="dryrun", sources=("V46", "A31"), anchor="-",
         unless=r"specul|self_attn\.attn'", matches=("KeyError: 'model.layers.5.self_attn.v_proj.weight'", "KeyError: 'lm_head.weight'", "KeyError: 'layers.0.mlp.experts.w2_weight'")),
    root("weights.key-layer", KEYS, r"KeyError: ['\"](?:[\w-]{1,40}\.){0,6}(?:layers|blocks|h|model|visual|vision_tower|language_model|transformer|backbone|mtp|decoder|encoder)\.[\w.]{1,160}['\"]", SHAPE,
         "A tensor name has no parameter: a prefix or packed-module mapping is missing.", DRY, frames=LOADER + r"|quant|models/", rung="dryrun",
         unless=r"\.attn'|layers\.\d{1,4}\.self_attn'",
         matches=('  File "/x/vllm/model_executor/models/q.py", line 3, in load_weights\n    param = params_dict[name]\n' "KeyError: 'layers.0.mlp.w2'",)),
    root("weights.key-in-loader", KEYS, r"KeyError: ", SHAPE, "The weight loader looks up a name that is not there.", DRY, raised=r"KeyError", innermost=r":load_weights|:_load_module|weight_utils|default_loader|:load_\w{0,30}weights?\w{0,10}$", rung="dryrun",
         matches=('  File "/x/vllm/model_executor/models/q.py", line 3, in load_weights\n    param = params_dict[name]\n' "KeyError: 'foo'",)),
    root("weights.key-load", KEYS, r"KeyError: |AttributeError: '\w{1,60}' object has no attribute '\w{0,40}(?:weight|scale|proj|param)\w{0,40}'", WEAK,
         "The weight loader looks up a name that is not there.", DRY, innermost=LOADER, rung="dryrun",
         matches=('  File "/x/vllm/model_executor/models/q.py", line 3, in load_weights\n    param = params_dict[name]\n' "AttributeError: 'Foo' object has no attribute 'weight_packed'",)),
    root("weights.shape-tp", TP, r"shape mismatch between model and checkpoint|narrow\(\).{0,80}(?:start|length|exceed)|start \(\d{1,12}\) \+ length \(\d{1,12}\) exceeds dimension size", LITERAL,
         "A tensor is cut for tensor parallelism in another way than the checkpoint stores it (KV heads fewer than ranks, fused or grouped parts).",
         "Try the smallest TP; where the number of KV heads is below TP the KV part must be replicated, not divided.", rung="dryrun",
         matches=("AssertionError: transformer.h.0.attn.c_attn.weight shape mismatch between model and checkpoint: torch.Size([3200, 6144]) != torch.Size([3328, 6144])",
                  "RuntimeError: start (0) + length (2048) exceeds dimension size (1024).")),
    root("weights.qk-norm-tp", TP, r"The size of tensor a \((?:128|64|256|512|1024|2048|4096)\) must match the size of tensor b \(\d{1,6}\)", SHAPE,
         "A normalisation weight was sharded although its heads are replicated (TP above the number of KV heads).", "Replicate the k_norm shard; try TP equal to the number of KV heads.", sources=("V69",),
         innermost=r"norm|qk", anchor="-", matches=('  File "/x/vllm_ascend/ops/layernorm.py", line 3, in forward_qk\n    x = a * b\n'
                  "RuntimeError: The size of tensor a (128) must match the size of tensor b (64) at non-singleton dimension 1",)),
    root("weights.shape-under-tp", TP, r"assert (?:\w{1,20}\.)?(?:param\w{0,6}|data|\w{0,10}_slice)\.(?:shape|size\(\)) == loaded_weight\.(?:shape|size\(\))", EXACT,
         "Under tensor parallelism a tensor's cut is not the size of its parameter's: heads fewer than ranks, a fused part, or quantised packing that does not divide.",
         "Try --tensor-parallel-size 1: if it loads, the cut is wrong for this layer; then compare the parameter's packing and head counts with the TP size.", rung="dryrun",
         context=r"tensor[_-]parallel[_-]size[\s=':]{1,4}[2-9]|-tp[ =][2-9]|--tp(?:-size)?[ =][2-9]", raised=r"AssertionError|", sources=("vllm#52480", "vllm#1631"),
         matches=('vllm serve m --tensor-parallel-size 2\n  File "/x/vllm/model_executor/models/gpt_j.py", line 245, in load_weights\n    assert param_slice.shape == loaded_weight.shape\nAssertionError',)),
    root("weights.shape", SHAPES, r"Attempted to load weight \(|Tried to load weights of size|size mismatch for [\w.]{1,200}: copying a param|"
         r"assert (?:\w{1,20}\.)?(?:param|param_data|self\.data|self_data)\.(?:shape|size\(\)) == loaded_weight\.(?:shape|size\(\))|[Ww]eight (?:shape|size) mismatch|"
         r"(?:tensor|weight|param\w{0,10}) .{1,120}(?:shape|size)s? (?:mismatch|does ?n[o']t match|not match)", LITERAL,
         "A tensor's shape differs from its parameter's: wrong TP cut, fused layout, transposition or quantised packing.", DRY, rung="dryrun", sources=("V43", "V44"),
         unless=r"between model and checkpoint",
         matches=("AssertionError: Attempted to load weight (torch.Size([6144])) into parameter (torch.Size([3072]))",
                  "ValueError: Tried to load weights of size torch.Size([1])to a parameter of size torch.Size([2])")),
    root("weights.shape-loader", SHAPES, r"size of tensor a \(\d{1,9}\) must match|must match the (?:existing )?size|shape '\[.{1,80}\]' is invalid for input|AssertionError\s*(?:\n|$)|loaded_weight\.(?:shape|size)|mat1 and mat2|copy_.{0,80}(?:size|shape)", SHAPE,
         "A tensor's shape differs from its parameter's while weights are loaded.", DRY, innermost=r"weight_loader|load_weights|load_\w{0,30}weight|load_merged|load_qkv|load_column|load_row|process_weights", rung="dryrun",
         matches=('  File "/x/vllm/model_executor/layers/linear.py", line 3, in weight_loader\n    assert param_data.shape == w.shape\n' "AssertionError",)),
    root("weights.meta", "weights-missing", r"Cannot copy out of meta tensor", SHAPE, "A module was built on the meta device and never filled.", DRY, sources=("V47",),
         anchor="-", matches=("NotImplementedError: Cannot copy out of meta tensor; no data!",)),
    root("weights.experts-name", KEYS, r"expert.{0,80}(?:not found|missing|KeyError)|params_dict\[name\]|quant_description\[", EXACT, "A tensor name has no parameter.", DRY,
         raised=r"KeyError", rung="dryrun", unless=r"params_dict.{0,30}skip",
         matches=('  File "/x/vllm_ascend/quantization/modelslim_config.py", line 3, in get\n    quant_type = quant_description[prefix + ".weight"]\n'
                  "KeyError: 'model.layers.5.mixer'",)),
)  # fmt: skip
