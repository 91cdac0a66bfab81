"""What the engine's model registry holds, who put it there, and whether the classes asked for can be loaded.

Request: `{"architectures": [NAME, ...]}`, with `stubs` and `plugin_root` as the probe `dry` takes them if a plugin's
device is absent. Answer: `RegistryAnswer` in `seatrial.support.engine_registry`.
Plugins are loaded as the engine loads them, one by one, so that each registration has an owner. Classes are imported
in this process, not in the engine's inspection subprocess: the same code, seconds cheaper, and its own traceback.
"""

import importlib.metadata
import inspect
import os
import sys
import traceback

GROUPS = ("vllm.platform_plugins", "vllm.general_plugins")


def _line(exc):
    return type(exc).__name__ + ": " + " ".join(str(exc).split())


def _entry_points(group):
    return list(importlib.metadata.entry_points(group=group))


def _load(entry):
    """The plugin's function, or the reason why there is none."""
    try:
        return entry.load(), ""
    except BaseException as exc:
        if isinstance(exc, KeyboardInterrupt):
            raise
        traceback.print_exc()
        return None, _line(exc)


def _class_path(model):
    """`module:Class` of a registry entry, lazy or loaded."""
    cls = getattr(model, "model_cls", None)
    if cls is not None:
        return cls.__module__ + ":" + cls.__qualname__
    return str(model.module_name) + ":" + str(model.class_name)


def _upstream(registry_module):
    """The classes of vLLM's own table, as the engine spells them."""
    resolve = getattr(registry_module, "_resolve_module_name", None) or (
        lambda name: "vllm.model_executor.models." + name
    )
    table = getattr(registry_module, "_VLLM_MODELS", {})
    return {arch: resolve(place[0]) + ":" + place[1] for arch, place in table.items()}


def _plugins(registry, allowed, progress):
    """Load general plugins in order; which one registered what. A plugin that raises when called ends the engine."""
    import vllm.plugins

    already = bool(getattr(vllm.plugins, "plugins_loaded", False))
    vllm.plugins.plugins_loaded = True
    records, owners = [], {}
    for group in GROUPS:
        for entry in _entry_points(group):
            record = {
                "group": group,
                "name": entry.name,
                "target": entry.value,
                "distribution": entry.dist.name if getattr(entry, "dist", None) else "",
                "state": "loaded",
                "error": "",
                "registered": [],
            }
            records.append(record)
            if allowed is not None and entry.name not in allowed:
                record["state"] = "not-selected"
                continue
            progress("loading plugin " + entry.name)
            function, record["error"] = _load(entry)
            if function is None:
                record["state"] = "load-failed"
                continue
            if group == "vllm.platform_plugins":
                continue  # the engine called it when it chose its platform
            before = dict(registry.models)
            if not already:
                try:
                    function()
                except BaseException as exc:
                    if isinstance(exc, KeyboardInterrupt):
                        raise
                    traceback.print_exc()
                    record["state"], record["error"] = "raised", _line(exc)
            changed = [arch for arch, model in registry.models.items() if before.get(arch) is not model]
            record["registered"] = sorted(changed)
            for arch in changed:
                owners[arch] = entry.name
    return records, owners


def _owner(arch, class_path, owners, upstream, records):
    if arch in owners:
        return owners[arch]
    if upstream.get(arch) == class_path:
        return "vllm"
    # Registered before this probe looked (by a platform's hook, or in an earlier probe of the session).
    top = class_path.split(".")[0].split(":")[0]
    for record in records:
        if record["target"].split(".")[0].split(":")[0] == top:
            return record["name"]
    return top


def _inspect(arch, model, registry_module):
    """Import the class; its file and what the engine reads from it."""
    from vllm.platforms import current_platform

    try:
        cls = model.load_model_cls()
    except BaseException as exc:
        if isinstance(exc, KeyboardInterrupt):
            raise
        traceback.print_exc()
        return {"importable": False, "error": _line(exc), "traceback": traceback.format_exc()[-8000:]}
    found = {"importable": True, "error": "", "traceback": ""}
    try:
        current_platform.verify_model_arch(arch)
    except Exception as exc:
        found["platform_refusal"] = _line(exc)
    try:
        found["file"] = inspect.getsourcefile(cls) or ""
    except TypeError:
        found["file"] = ""
    try:
        info = registry_module._ModelInfo.from_model_cls(cls)
        plain = {}
        for name, value in vars(info).items():
            plain[name] = value if isinstance(value, (bool, int, float, str, type(None))) else str(value)
        found["info"] = {**plain, **_interfaces(cls)}
    except Exception as exc:
        traceback.print_exc()
        found["error"] = _line(exc)
    return found


def _interfaces(cls):
    """What the class declares beyond the engine's own summary; a question this engine does not know is left out."""
    from vllm.model_executor.models import interfaces

    answers = {}
    for name in ("supports_lora", "supports_eagle3", "supports_mrope"):
        ask = getattr(interfaces, name, None)
        if callable(ask):
            answers[name] = bool(ask(cls))
    return answers


def _base_of(arch, registry):
    """The registered architecture the engine would convert from (`FooForSequenceClassification` from a causal one)."""
    try:
        from vllm.config.model import iter_architecture_defaults, try_match_architecture_defaults
    except ImportError:
        try:
            from vllm.config import iter_architecture_defaults, try_match_architecture_defaults
        except ImportError:
            return ""
    match = try_match_architecture_defaults(arch)
    if not match:
        return ""
    for suffix, _ in iter_architecture_defaults():
        base = arch.replace(match[0], suffix)
        if base in registry.models:
            return base
    return ""


def _transformers(arch):
    """State of the Transformers library's own class: absent, compatible with vLLM's Transformers backend, or not."""
    import transformers

    try:
        cls = getattr(transformers, arch, None)
    except Exception as exc:
        return "absent", _line(exc)
    if cls is None:
        return "absent", ""
    for name in ("is_backend_compatible", "_can_set_attn_implementation"):
        check = getattr(cls, name, None)
        try:
            if check is not None and check():
                return "compatible", ""
        except Exception as exc:
            return "incompatible", _line(exc)
    if getattr(cls, "_supports_attention_backend", False):
        return "compatible", ""
    return "incompatible", ""


def _one(arch, registry, registry_module, owners, upstream, records):
    answer = {
        "architecture": arch,
        "registered": arch in registry.models,
        "class_path": "",
        "owner": "",
        "upstream_class_path": upstream.get(arch, ""),
        "importable": None,
        "error": "",
        "traceback": "",
        "file": "",
        "info": {},
        "platform_refusal": "",
        "converted_from": "",
        "previously_supported_until": getattr(registry_module, "_PREVIOUSLY_SUPPORTED_MODELS", {}).get(arch, ""),
        "out_of_tree_plugin": getattr(registry_module, "_OOT_SUPPORTED_MODELS", {}).get(arch, ""),
        "transformers_class": "absent",
        "transformers_error": "",
    }
    served = arch
    if not answer["registered"]:
        served = answer["converted_from"] = _base_of(arch, registry)
        answer["transformers_class"], answer["transformers_error"] = _transformers(arch)
    model = registry.models.get(served) if served else None
    if model is not None:
        answer["class_path"] = _class_path(model)
        answer["owner"] = _owner(served, answer["class_path"], owners, upstream, records)
        answer.update(_inspect(served, model, registry_module))
    return answer


def _stand_in(request):
    """Stubs for a device's packages, before vLLM is imported; where those are installed they are left alone."""
    import importlib.util

    place = os.path.join(os.path.dirname(os.path.abspath(__file__)), "dry_stubs.py")
    spec = importlib.util.spec_from_file_location("seatrial_probe_dry_stubs", place)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.install(request["stubs"], request.get("plugin_root") or "")


def probe(request, progress):
    if request.get("stubs"):
        _stand_in(request)
    progress("importing vLLM")
    import vllm
    from vllm.model_executor.models import registry as registry_module
    from vllm.platforms import current_platform

    registry = registry_module.ModelRegistry
    upstream = _upstream(registry_module)
    names = os.environ.get("VLLM_PLUGINS")
    allowed = None if names is None else names.split(",")
    platform = type(current_platform).__module__ + "." + type(current_platform).__qualname__
    device_type = current_platform.device_type or ""
    records, owners = _plugins(registry, allowed, progress)
    architectures = []
    for arch in request.get("architectures", []):
        progress("importing the class of " + arch)
        architectures.append(_one(arch, registry, registry_module, owners, upstream, records))
    classes = {arch: _class_path(model) for arch, model in registry.models.items()}
    return {
        "vllm_version": vllm.__version__,
        "platform_class": platform,
        "device_type": device_type,
        "platform_quantization": [str(q) for q in getattr(current_platform, "supported_quantization", None) or []],
        "plugins": records,
        "architectures": architectures,
        "supported": {arch: classes[arch] for arch in sorted(classes)},
        "owners": {arch: _owner(arch, classes[arch], owners, upstream, records) for arch in sorted(classes)},
    }
