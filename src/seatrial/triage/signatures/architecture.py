"""Models that the engine does not know, or knows by an outdated interface; and transformers too old or too new."""

from __future__ import annotations

from seatrial.triage.signature import Signature
from seatrial.triage.signatures._make import EXACT, LITERAL, PLUGIN, SHAPE, root

ARCH = "architecture-not-registered"
TF = "transformers-version"
REGISTER = (
    "Ask the engine that fails: `python -c 'from vllm import ModelRegistry; print(ModelRegistry.get_supported_archs())'`; "
    'register the class through a vllm.general_plugins entry point as "module:Class", so that every process loads it.'
)
PIN = "Compare the installed transformers with the version the model card and the engine name; install that one in the engine's environment."
SIGNATURES: tuple[Signature, ...] = (
    root("arch.not-supported", ARCH, r"Model architectures .{0,200}are not supported for now|Unsupported architectures?: \[?'?\w{1,80}For\w{1,40}",
         LITERAL, "config.json names an architecture that neither the engine nor a plugin has registered in this process.", REGISTER,
         rung="support", sources=("V01",),
         matches=("  Value error, Model architectures ['FooBarForCausalLM'] are not supported for now. Supported architectures: "
                  "dict_keys(['A'])",)),
    root("arch.no-implementation", ARCH, r"has no vLLM implementation and the Transformers implementation is not compatible|"
         r"The Transformers implementation of .{1,120} is not compatible with vLLM|has no SGlang implementation",
         LITERAL, "No class for this architecture in this process, and the Transformers backend cannot host it.", REGISTER, sources=("V07",),
         matches=("ValueError: MyModelForCausalLM has no vLLM implementation and the Transformers implementation is not "
                  "compatible with vLLM. Try setting VLLM_USE_V1=0.",)),
    root("arch.removed", ARCH, r"was supported in vLLM until v[\d.]{1,12}", LITERAL,
         "The architecture was removed upstream.", "Use the older engine, or port the model as a plugin.", sources=("V05",),
         matches=("Model architecture X was supported in vLLM until v0.9.2, and is not supported anymore.",)),
    root("arch.bad-entry", ARCH, r"Expected a string in the format `<module>:<class>`", LITERAL,
         "register_model was given a string without a colon.", 'Use "package.module:Class".', sources=("V06",),
         matches=("ValueError: Expected a string in the format `<module>:<class>`",)),
    root("arch.no-module", ARCH, r"Cannot find model module|Cannot find model class|is not a registered model in the Transformers library", LITERAL,
         "The architecture is unknown and the checkpoint brings no code (auto_map).", REGISTER, sources=("V08",),
         matches=("ValueError: Cannot find model module. 'X' is not a registered model in the Transformers library",)),
    root("arch.none-given", ARCH, r"No model architectures are specified|architectures.{0,20}is (?:None|empty|missing)", LITERAL,
         "config.json has no `architectures`.", "Add it, or pass --hf-overrides '{\"architectures\": [\"...\"]}'.",
         matches=("ValueError: No model architectures are specified",)),
    root("arch.xllm", ARCH, r"[Uu]nsupported model type|[Mm]odel type .{1,60} (?:is )?not (?:supported|registered)|No model registered|"
         r"[Cc]annot find model (?:creator|factory)|Unknown model type|"
         r"(?:[Ff]ailed to find|[Cc]annot find|[Cc]ould not find|[Uu]nable to find|\b[Nn]o) (?:a |any )?(?:\w{1,20} ){0,3}(?:loader|factory|creator|builder|class|implementation|parser)s? (?:found )?for (?:the )?(?:model|arch\w{0,10})|[Nn]ot found (?:\w{1,20} ){0,3}(?:creator|factory|loader|builder)s?\b", LITERAL,
         "The server has no builder for this model_type.", "Look for the model_type in the server's registry; upgrade it or port the model.",
         unless=r"does not recognize|quantiz",
         matches=("F20260826 15:04:04.118 master.cpp:30] Unsupported model type: glm9",
                  "E20251204 10:48:24.700490 228069 hf_model_loader.cpp:312] Failed to find model args loader for model type glm9")),
    root("arch.vllm-interface", "version-mismatch-plugin",
         r"is missing the `(?:embed_input_ids|get_input_embeddings)` method|missing vLLM-specific keywords from its", LITERAL,
         "The model class was written for another vLLM's model interface.", "Rename to this vLLM's interface (VllmModel in interfaces_base.py).",
         sources=("V15", "V16"),
         matches=("The model (<class 'X'>) is missing the `embed_input_ids` method.",)),
    root("tf.unknown-model-type", TF, r"does not recognize this architecture|Unrecognized configuration class|KeyError: '(?:qwen|glm|deepseek|llama|gemma|mistral|minimax|kimi|ernie|hunyuan|internlm|bailing|step|phi|mimo)\w{0,30}'$",
         LITERAL, "The installed transformers does not know this model_type.", PIN, sources=("V36",), anchor="-",
         matches=("ValueError: Unrecognized configuration class <class 'transformers_modules.x.XConfig'> for this kind of AutoModel: AutoModelForCausalLM.", "ValueError: The checkpoint you are trying to load has model type `qwen3_moe` but Transformers does not "
                  "recognize this architecture. This could be because of an issue with the checkpoint, or because your "
                  "version of Transformers is out of date.", "KeyError: 'qwen2_5_vl'")),
    root("tf.cannot-import", TF, r"cannot import name '[\w.]{1,80}' from '(?:transformers|huggingface_hub|tokenizers)\b|"
         r"No module named 'transformers\.|module '?transformers[\w.]{0,80}'? has no attribute|"
         r"Could not import module '\w{1,60}'\. Are this object's requirements defined correctly", LITERAL,
         "Code was written against another transformers version.", PIN,
         matches=("ImportError: cannot import name 'Qwen3VLVideoProcessor' from 'transformers' (/opt/venv/x/__init__.py)",
                  "ModuleNotFoundError: No module named 'transformers.models.qwen3_next'",
                  "AttributeError: module 'transformers.processing_utils' has no attribute '_validate_images_text_input_order'")),
    root("tf.requires", TF, r"(?:transformers|huggingface-hub|tokenizers) ?(?:[<>=!~]{1,2} ?[\d.]{1,16}[a-z\d]{0,8},?){1,4} is required|"
         r"requires? (?:the )?transformers ?(?:version )?(?:>=|==|<)|[Pp]lease (?:upgrade|update|install) (?:the )?transformers|"
         r"upgrade (?:your )?transformers", LITERAL,
         "The installed transformers is outside of the range that is asked for.", PIN,
         unless=r"does not recognize",
         matches=("ImportError: huggingface-hub>=0.34.0,<1.0 is required for a normal functioning of this module, but found "
                  "huggingface-hub==1.1.4.",)),
    root("tf.config-registered", TF, r"is already used by a Transformers (?:config|model), pick another name", LITERAL,
         "vLLM or a plugin registers a config that this transformers already has.", PIN,
         matches=("ValueError: 'aimv2' is already used by a Transformers config, pick another name.",)),
    root("tf.rope-parameters", TF, r"Config' object has no attribute '(?:rope_scaling|rope_theta|rope_parameters|max_position_embeddings_?)'$|"
         r"rope_parameters.{0,40}(?:missing|must contain|has no)|Missing required keys in `rope_\w{1,20}`|Unrecognized keys in `rope_(?:scaling|parameters)`", SHAPE,
         "transformers 5 moved rope fields into rope_parameters; one side expects the other spelling.", PIN,
         matches=("AttributeError: 'Qwen3Config' object has no attribute 'rope_theta'",)),
    root("tf.auto-key", TF, r"KeyError: '[\w.-]{1,60}'", LITERAL, "The installed transformers does not know this model_type.", PIN, raised=r"KeyError", innermost=r"transformers/models/auto/", anchor="-",
         matches=('  File "/x/site-packages/transformers/models/auto/configuration_auto.py", line 10, in __getitem__\n    raise KeyError(key)\nKeyError: \'foo_moe_lite\'',)),
    root("tf.shape", TF, r"(?:unexpected keyword argument|missing \d{1,2} required|has no attribute|takes \d{1,2} positional|cannot import name)", SHAPE,
         "A call between the checkpoint's or engine's code and transformers does not fit.", PIN,
         innermost=r"site-packages/transformers/", unless=rf"{PLUGIN}|Config' object has no attribute|NoneType|Processor|Tokenizer|Config\w{{0,10}}\.__init__|module '",
         matches=('  File "/opt/venv/lib/python3.11/site-packages/transformers/modeling_utils.py", line 10, in __call__\n'
                  "TypeError: convert() got an unexpected keyword argument 'skip'",)),
    root("tf.config-is-dict", TF, r"'dict' object has no attribute '(?:model_type|to_dict|architectures)'", LITERAL,
         "transformers hands on a plain dict where its other versions hand on a config object.", PIN, raised=r"AttributeError", anchor="-", sources=("vllm-ascend#4423",),
         innermost=r"/transformers/|tokenization_auto|configuration_auto|transformers_utils",
         matches=('  File "/x/site-packages/transformers/models/auto/tokenization_auto.py", line 10, in from_pretrained\n    x\nAttributeError: \'dict\' object has no attribute \'model_type\'',)),
    root("tf.skip-tensor-conversion", TF, r"unexpected keyword argument 'skip_tensor_conversion'", EXACT,
         "The checkpoint's remote processor code and transformers differ.", PIN, sources=("A83",), anchor="-",
         matches=("TypeError: BatchFeature.convert_to_tensors() got an unexpected keyword argument 'skip_tensor_conversion'",)),
)  # fmt: skip
