"""Images, audio and video: processors, encoder cache, vision towers."""

from __future__ import annotations

from seatrial.triage.signature import Signature
from seatrial.triage.signatures._make import LITERAL, SHAPE, root

MM = "multimodal"
PROC = "mm-processor-mismatch"
SIGNATURES: tuple[Signature, ...] = (
    root("mm.placeholders", PROC, r"Attempted to assign .{1,120} (?:multimodal tokens|embeddings) to|Expected there to be \d{1,6} prompt (?:updates|placeholders)|Expected there to be \d{1,6} \w{1,20} items|Failed to apply (?:prompt replacement|\w{1,60}(?:Processor|processor))|(?:image|video|audio|placeholder|multimodal) (?:tokens?|features?|placeholders?).{0,60}(?:do not match|mismatch|not match|!=)|"
         r"[Mm]ismatch (?:in|between) .{0,60}(?:image|video|placeholder|multimodal)|number of (?:image|video|placeholder|multimodal).{0,80}(?:not|does|mismatch|!=|should)|Invalid (?:image|video) (?:token|type)|get_num_\w{0,10}_?(?:image|video|multimodal)_tokens|_?get_num_multimodal_tokens", LITERAL,
         "The processor's placeholder count and the encoder's output differ, or the processor's interface is another version's.", "Compare the processor config (min/max pixels, merge size) with get_num_image_tokens; pin transformers to the version of the model card.", sources=("V60",), raised=r"\w{1,80}|",
         matches=("ValueError: Attempted to assign 1024 = 1024 multimodal tokens to 1025 placeholders",)),
    root("mm.processor-type", PROC, r"Invalid type of HuggingFace processor|Received an? \w{1,60} for argument \w{0,20}(?:processor|feature_extractor)\w{0,10}, but|Expected type: .{1,120}but found type|does not have a (?:processor|chat template for)|file named (?:pre)?processor_config\.json|preprocessor_config\.json.{0,80}(?:not|missing|No such)|Can't load (?:image processor|feature extractor|processor)|Unrecognized (?:image processor|processing class|feature extractor|video processor)|"
         r"'\w{0,60}(?:Processor|ImageProcessor\w{0,8})' object has no attribute|\w{1,60}Processor\w{0,10}(?:\.__\w{1,12}__|\.\w{1,40})?\(\) (?:got|missing|takes)|[Uu]nused or unrecognized kwargs|Processor.{0,60}(?:not (?:found|callable|subscriptable))|'ProcessorInputs'", LITERAL,
         "The checkpoint's processor is not the class, or not the version, that the engine's model expects.", "Keep preprocessor_config.json and processor code of the checkpoint; pin transformers to the version of the model card.", raised=r"\w{1,80}|",
         unless=r"vllm_gaudi|LogitsProcessor|logits_processor",
         matches=("TypeError: Invalid type of HuggingFace processor. Expected type: <class 'A'>, but found type: <class 'B'>",)),
    root("mm.encoder-cache", "mm-encoder-cache", r"encoder[_ ]cache|Chunked MM input disabled but max_tokens_per_mm_item|Expected a cached item for mm_hash|mm_hash|mm[_ -](?:processor|feature|encoder|receiver)[_ -]cache|encoder (?:compute )?budget|exceeds the (?:pre-?allocated )?encoder|max_tokens_per_mm_item|encoder_cache_size|[Ee]ncoder cache miss", LITERAL,
         "The multimodal encoder's budget or cache is too small for one item, or out of step between processes.", "Raise --max-num-batched-tokens above the largest item's tokens, or limit pixels with --mm-processor-kwargs; --mm-processor-cache-gb 0 to confirm.", sources=("V34",), raised=r"\w{1,80}|",
         unless=r"will be initialized|Encoder cache will|budget of \d|has no attribute",
         matches=('AssertionError: Encoder cache miss for 8f3a9c.', "ValueError: Chunked MM input disabled but max_tokens_per_mm_item (16384) is larger than max_num_batched_tokens (8192). Please increase max_num_batched_tokens.", "AssertionError: Expected a cached item for mm_hash='x'")),
    root("mm.limits", MM, r"At most \d{1,6} \w{1,12}\(?s?\)? may be provided|[Mm]ultimodal (?:input|data|model)s?.{0,60}(?:not support|unsupported|not enabled)|is not a multimodal model|does not support (?:image|video|audio|multimodal)\w{0,4}|(?:cannot|failed to) (?:identify|decode|load|open) (?:the )?(?:image|video|audio)|Failed to load (?:image|video|audio)|limit[-_]mm[-_]per[-_]prompt|UnidentifiedImageError|"
         r"Unknown (?:part|modality) type|[Uu]nsupported (?:modality|image|video|audio)", LITERAL,
         "The request's images, audio or video exceed what the model or server takes.", "--limit-mm-per-prompt; check the media reachable and of a known format.", raised=r"\w{1,80}|",
         matches=("ValueError: At most 1 image(s) may be provided in one prompt.",)),
    root("mm.contiguous", MM, r"NPU contiguous operator only supported contiguous memory format|interpolate.{0,60}(?:not support|fail|error)|upsample_\w{1,20}.{0,60}(?:not (?:support|implement)|fail)", LITERAL,
         "The vision tower uses an operation that does not compile on this device.", "TORCHDYNAMO_DISABLE=1 to confirm; then replace the operation in the vision tower.", sources=("A75",),
         matches=("RuntimeError: NPU contiguous operator only supported contiguous memory format.",)),
    root("mm.place", MM, r"Error", SHAPE, "The failure was raised in the vision, audio or multimodal code.", "Serve text only (--limit-mm-per-prompt '{\"image\":0}') to confirm; then compare the vision config with what the model code reads.",
         innermost=r"^(?!.*(?:token|/config/|spec_decode|transformers/|/transformers_utils/processors?/|multimodal/processing|(?:image|video)_processing_|feature_extraction_)).*(?:/multimodal/|_vl\.py|_vl_|vision|visual|_vit|siglip|clip|audio|whisper|image_process|video_process|mm_utils|_omni|qwen2_5_vl|internvl|minicpmv|pixtral|ocr)[^:]*(?:\.py|):",
         raised=r"RuntimeError|AssertionError|ValueError|IndexError|TypeError|NotImplementedError|KeyError|AttributeError", unless=r"out of memory|unexpected keyword|required positional|No module|cannot import|same device|Config' object|aclnn|weight|module '",
         matches=('  File "/w/vllm_ascend/models/qwen2_5_vl.py", line 1, in forward\n    x\n' "RuntimeError: shape '[1, 2]' is invalid for input of size 3",)),
    root("mm.proc-place", PROC, r"(?:TypeError|KeyError|ValueError|AttributeError|IndexError|RuntimeError)", SHAPE, "The multimodal processor failed.", "Pin transformers to the version of the model card; compare processor configs.",
         frames=r"multimodal/processing|:_call_hf_processor|multimodal/profiling|:_get_dummy_mm|processing_\w{1,60}\.py|feature_extraction_\w{1,60}\.py|transformers_utils/processors?/", unless=r"out of memory|Config' object",
         matches=('  File "/x/transformers/models/qwen2_vl/image_processing_qwen2_vl.py", line 1, in __init__\n    x\nValueError: size must contain \'shortest_edge\' and \'longest_edge\' keys.', '  File "/w/vllm/multimodal/processing.py", line 1, in _call_hf_processor\n    x\n' "TypeError: call() got an unexpected keyword argument 'do_pan'",)),
)  # fmt: skip
