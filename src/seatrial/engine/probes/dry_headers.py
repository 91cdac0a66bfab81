"""Header-only checkpoints in the hub's naming, made by transformers on the meta device from its default configs.

Request: `{"list": true}`, `{"folder": PATH}`, or `{"architecture": NAME, "layers": N, "overrides": {...}}`. Answer: the
architectures that the engine registers and whether transformers has a class of that name; the tensors for the config in
a folder; or a default config (as config.json has it) and its tensors: `[name, dtype, shape]` as `save_pretrained` would
write them. A default config is cut to N layers where it allows that; widths stay, unless overridden.
"""

import json
import os
import re

DEPTHS = (
    "num_hidden_layers",
    "num_layers",
    "n_layer",
    "n_layers",
    "encoder_layers",
    "decoder_layers",
    "num_encoder_layers",
    "num_decoder_layers",
    "depth",
)
NAMES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "float8_e4m3fn": "F8_E4M3",
}


def probe(request, progress):
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
    if request.get("list"):
        return listing()
    if request.get("folder"):
        return of_folder(request["folder"])
    return make(request["architecture"], request.get("layers", 4), request.get("overrides") or {})


def listing():
    import transformers
    from vllm.model_executor.models import registry

    return [
        {"name": name, "transformers": getattr(transformers, name, None) is not None}
        for name in sorted(registry.ModelRegistry.get_supported_archs())
    ]


def of_folder(folder):
    """The tensors that transformers would write for the config in `folder`; no remote code, no network."""
    import torch
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        if getattr(config, "quantization_config", None):
            return {"error": "the config declares a quantisation, whose tensors transformers does not lay out"}
        cls = getattr(transformers, (config.architectures or [""])[0], None)
        if cls is None:
            return {"error": "transformers has no class " + str(config.architectures)}
        dtype = getattr(config, "dtype", None) or torch.bfloat16
        with torch.device("meta"):
            return {"tensors": hub_tensors(cls._from_config(config, dtype=dtype))}
    except Exception as exc:
        return {"error": line_of(exc)}


def make(name, layers, overrides):
    import torch
    import transformers

    cls = getattr(transformers, name)
    try:
        default = cls.config_class()
    except Exception as exc:
        return {"error": "config: " + line_of(exc)}

    def smaller():
        plain = cut(json.loads(default.to_json_string(use_diff=False)), layers)
        return cls.config_class.from_dict(override(plain, overrides))

    tries = [("cut", smaller), ("default", lambda: default)]
    failure = ""
    for how, build in tries:
        try:
            config = build()
            config.dtype = torch.bfloat16
            with torch.device("meta"):
                model = cls._from_config(config, dtype=torch.bfloat16)
            tensors = hub_tensors(model)
            break
        except Exception as exc:
            failure = "model (%s): %s" % (how, line_of(exc))  # noqa: UP031
    else:
        return {"error": failure}
    config.architectures = [name]
    files = {}
    try:
        from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING

        extractor = FEATURE_EXTRACTOR_MAPPING[type(config)]
        files["preprocessor_config.json"] = json.loads(extractor().to_json_string())
    except Exception:
        pass  # most architectures have none
    return {"how": how, "files": files, "config": json.loads(config.to_json_string(use_diff=False)), "tensors": tensors}


def hub_tensors(model):
    try:
        from transformers.core_model_loading import revert_weight_conversion
    except ImportError:
        return older_hub_tensors(model)
    state = model.state_dict()
    tied = set(getattr(model, "all_tied_weights_keys", {}) or {})
    ignored = set(getattr(model, "_keys_to_ignore_on_save", None) or [])
    state = {key: value for key, value in state.items() if key not in tied and key not in ignored}
    state = revert_weight_conversion(model, state)
    return [[key, NAMES[str(t.dtype).replace("torch.", "")], list(t.shape)] for key, t in state.items()]


def older_hub_tensors(model):
    """As transformers 4 saves: no conversion but the renaming of prefixes; of tensors that are one, the first name."""
    ignored = set(getattr(model, "_keys_to_ignore_on_save", None) or [])
    back = {new: old for old, new in (getattr(model, "_checkpoint_conversion_mapping", None) or {}).items()}
    found, seen = [], set()
    for key, tensor in model.state_dict(keep_vars=True).items():
        if key in ignored or id(tensor) in seen:
            continue
        seen.add(id(tensor))
        names = (re.subn(new, re.sub(r"\(.*\)", "", old.lstrip("^")), key) for new, old in back.items())
        name = next((renamed for renamed, times in names if times), key)
        found.append([name, NAMES[str(tensor.dtype).replace("torch.", "")], list(tensor.shape)])
    return found


def cut(config, layers):
    """The same config with at most `layers` layers, in sub-configs too; lists with one entry per layer follow."""
    for value in config.values():
        if isinstance(value, dict) and any(key in value for key in DEPTHS):
            cut(value, layers)
    lengths = {config[key] for key in DEPTHS if isinstance(config.get(key), int) and config[key] > layers}
    for key in DEPTHS:
        if isinstance(config.get(key), int) and config[key] > layers:
            config[key] = layers
    for key, value in config.items():
        if isinstance(value, list) and len(value) in lengths:
            config[key] = value[:layers]
    return config


def override(config, changes):
    """Set fields wherever they occur, in sub-configs too."""
    for key, value in list(config.items()):
        if isinstance(value, dict):
            override(value, changes)
        elif key in changes:
            config[key] = changes[key]
    return config


def line_of(exc):
    return type(exc).__name__ + ": " + " ".join(str(exc).split())[:300]
