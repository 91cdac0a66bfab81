"""Stands in for a device's own Python modules, as `platforms/<name>/stubs.toml` lists them, so that a plugin imports.

What the data does not list does not exist: reading it raises with MARK in the message and is kept in `LACKS`, so that a
gap in the stubs is never taken for a fault of the model or the plugin. A listed operation raises when it is called, as
no kernel runs here; those in `same` give their first argument back (casts of the storage format).
A module that is really installed is left alone.
"""

import ast
import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import re
import sys
import types

MARK = "is not in seatrial's stub"
CALLED = "was called on seatrial's stub: no kernel runs in a dry run"
CONSTRUCTORS = ("arange", "empty", "empty_strided", "eye", "full", "linspace", "ones", "rand", "randn", "zeros")
LACKS = {}  # "module.attribute" that was read and is not listed -> the files that read it, in order
NEAR = 2  # files that count as readers: the one that asks, and the one that called its helper
STUBBED = []
CALLS = {}  # operation -> how often it was called
NOTES = []


class StubModule(types.ModuleType):
    def __getattr__(self, name):
        full = f"{self.__name__}.{name}"
        if name.startswith("__"):
            raise AttributeError(name)
        LACKS.setdefault(full, set()).update(readers(sys._getframe(1)))
        raise AttributeError(f"{full} {MARK}")


def readers(frame):
    """The nearest files of the code that reads a stub, without the import machinery."""
    found = []
    while frame is not None and len(found) < NEAR:
        name = frame.f_code.co_filename
        if name not in found and not name.startswith("<frozen importlib"):
            found.append(name)
        frame = frame.f_back
    return found


class StubCall:
    """An operation; its overloads (`.out`, `.default`) are operations too."""

    def __init__(self, name, same=False):
        self.__name__ = name.rpartition(".")[2]
        self.__qualname__ = self._name = name
        self._same = same

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return StubCall(f"{self._name}.{name}", self._same)

    def __call__(self, *args, **kwargs):
        CALLS[self._name] = CALLS.get(self._name, 0) + 1
        if self._same and args:
            return args[0]
        if self._same:
            return None
        raise RuntimeError(f"{self._name} {CALLED}")


class StubDistribution(importlib.metadata.Distribution):
    def __init__(self, name, version):
        self._text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"

    def read_text(self, filename):
        return self._text if filename == "METADATA" else None

    def locate_file(self, path):
        raise FileNotFoundError(f"{path}: the package {MARK}")


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, modules):
        self.modules = modules

    def find_spec(self, name, path=None, target=None):
        if name not in self.modules:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def find_distributions(self, context=None):
        """The package's metadata, for code that asks which version is installed; only where the data gives one."""
        name = getattr(context, "name", None)
        version = self.modules.get(name or "", {}).get("version", "")
        return [StubDistribution(name, version)] if version else []

    def create_module(self, spec):
        return StubModule(spec.name)

    def exec_module(self, module):
        fill(module, self.modules)
        STUBBED.append(module.__name__)


def fill(module, modules):
    """Give a stub module what the data lists for it, submodules too."""
    name = module.__name__
    fill_with(module, modules[name])
    for other in modules:
        parent, _, leaf = other.rpartition(".")
        if parent == name:
            child = sys.modules.get(other)
            if child is None:
                child = sys.modules[other] = StubModule(other)
                child.__path__ = []
                fill(child, modules)
            setattr(module, leaf, child)


def fill_with(module, listed):
    name = module.__name__
    for kind in ("calls", "same"):
        for entry in listed.get(kind, ()):
            setattr(module, entry, StubCall(f"{name}.{entry}", same=kind == "same"))
    for entry in listed.get("types", ()):
        *outer, leaf = entry.split(".")
        owner = module
        for part in outer:
            owner = getattr(owner, part)
        setattr(owner, leaf, type(leaf, (), {"__module__": name}))
    for entry, value in listed.get("values", {}).items():
        setattr(module, entry, (lambda v: lambda *a, **k: v)(value["returns"]) if is_answer(value) else value)


def is_answer(value):
    return isinstance(value, dict) and set(value) == {"returns"}


def absent(name):
    """Whether the top of this module, or the module itself inside a plugin, is not really installed."""
    try:
        return importlib.util.find_spec(name) is None
    except (ImportError, ValueError):
        return True


def install(stubs, plugin_root):
    """Once per process, before vLLM is imported: paths, modules, the device in torch."""
    if STUBBED or any(isinstance(finder, Finder) for finder in sys.meta_path):
        return
    if plugin_root:
        sys.path.insert(0, plugin_root)
    if stubs.get("device_package") and not absent(stubs["device_package"]):
        NOTES.append(
            f"{stubs['device_package']} is installed: this is the device's own environment, nothing is stubbed"
        )
        return
    os.environ.update(stubs.get("env", {}))
    modules = stubs["modules"]
    own = stubs["plugin"] + "."
    tops = {name.partition(".")[0] for name in modules if not name.startswith(own)}
    real = {top for top in tops if top != "torch" and not absent(top)}
    kept = {}
    for name, listed in modules.items():
        top, _, rest = name.partition(".")
        # A part of a package that is really there: only one that this build of it leaves out or empty.
        left_out = bool(rest) and (name.rpartition(".")[0] in kept or absent(name) or has_no_code(name))
        if (top not in real or left_out) and not (name.startswith(own) and not absent(name)):
            kept[name] = listed
    modules = kept
    for top in sorted(real):
        NOTES.append(f"{top} is installed and not stubbed")
    finder = Finder({name: listed for name, listed in modules.items() if not name.startswith("torch.")})
    sys.meta_path.insert(0, finder)
    device = stubs.get("device", "")
    if device:
        import torch

        name = f"torch.{device}"
        module = sys.modules[name] = StubModule(name)
        module.__path__ = []
        fill(module, modules)
        torch.utils.rename_privateuse1_backend(device)
        torch._register_device_module(device, module)
        stay(torch, device)
        collectives(torch, device, stubs.get("backend", {}))
    for name, listed in stubs.get("added", {}).items():
        # What the device's package adds to modules that are really there.
        module = importlib.import_module(name)
        fill_with(module, {kind: given for kind, given in listed.items() if kind != "values"})
        fill_with(module, {"values": {k: v for k, v in listed.get("values", {}).items() if not hasattr(module, k)}})
    for name, listed in stubs.get("replaced", {}).items():
        fill_with(importlib.import_module(name), listed)
    if stubs.get("pretends"):
        stay(importlib.import_module("torch"), stubs["pretends"])
    for name in stubs.get("torch_ops", ()):
        namespace, _, schema = name.partition("::")
        define(namespace, schema)
    only_plugins()


def only_plugins():
    """Beside a hardware plugin vLLM is built for no device; here it may be a CPU build, whose platform must not win."""
    platforms = importlib.import_module("vllm.platforms")
    table = getattr(platforms, "builtin_platform_plugins", None)
    if table is None:
        NOTES.append("vllm.platforms.builtin_platform_plugins is absent; vLLM's own platforms were not taken out")
    else:
        table.clear()
    # Now, and not in the middle of the import of a module that the plugin's registration looks into.
    getattr(platforms, "current_platform", None)


def stay(torch, device):
    """`tensor.to(device)` leaves it where it is, what is made from data is made on the host, and what is made empty
    where everything is (on meta): torch looks for the device's own library before any dispatch. A bare number is a
    device too: the one that the stub's `current_device` gives."""
    move = torch.Tensor.to

    def is_device(value):
        if type(value) is int:
            return True
        if isinstance(value, torch.device):
            return value.type == device
        return isinstance(value, str) and value.partition(":")[0] == device

    def to(self, *args, **kwargs):
        args = [self.device if type(value) is not int and is_device(value) else value for value in args]
        kwargs = {key: self.device if key == "device" and is_device(value) else value for key, value in kwargs.items()}
        return move(self, *args, **kwargs)

    make = torch.tensor

    def tensor(*args, **kwargs):
        return make(*args, **{k: "cpu" if k == "device" and is_device(v) else v for k, v in kwargs.items()})

    def without(function):
        def made(*args, **kwargs):
            if "device" in kwargs and is_device(kwargs["device"]):
                del kwargs["device"]
            return function(*args, **kwargs)

        return made

    torch.Tensor.to = to
    torch.tensor = tensor
    for name in CONSTRUCTORS:
        setattr(torch, name, without(getattr(torch, name)))


def collectives(torch, device, answers):
    """A process group's backend for the device, of which a plugin may ask the name of its communicator."""
    group = torch.distributed.ProcessGroup
    real = group._get_backend
    backend = types.SimpleNamespace(**{name: (lambda v: lambda *a, **k: v)(value) for name, value in answers.items()})
    group._get_backend = lambda self, on: backend if on.type == device else real(self, on)


def define(namespace, schema):
    """An operator of the plugin's compiled library, by its schema; it has no implementation."""
    import torch

    try:
        torch.library.define(f"{namespace}::{schema.partition('(')[0]}", schema[schema.index("(") :])
    except RuntimeError as exc:
        NOTES.append(f"torch.ops.{namespace}: {' '.join(str(exc).split())[:200]}")


def worker_setup(stubs, config, when):
    """What the plugin's worker does before a model is built, in its order: the steps `before` or `after` the groups.

    A step's `arguments` are names: `config`, or a field of it (`parallel_config`).
    """
    from vllm.config import set_current_vllm_config

    with set_current_vllm_config(config, check_compile=False):
        for step in stubs.get("worker", ()):
            if step["when"] == when:
                function = getattr(importlib.import_module(step["module"]), step["function"])
                function(*(config if name == "config" else getattr(config, name) for name in step["arguments"]))


def lacking(exc):
    """The missing stub attribute that an exception (or what it came from) is about; "" if it is about none.

    Names it in full, or by its last part where that cannot be another's: a failed `from stub import name`, or words of
    the very file that had asked for it (with hasattr, say). A last part may be `config`, which any message has.
    """
    seen = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        text = str(exc)
        if MARK in text:
            return text.partition(" " + MARK)[0].rpartition(" ")[2]
        raised = raised_in(exc)
        for full in reversed(LACKS):
            module, _, leaf = full.rpartition(".")
            if re.search(rf"(?<![\w.]){re.escape(full)}(?!\w)", text):
                return full
            if not re.search(rf"\b{re.escape(leaf)}\b", text):
                continue
            imported = isinstance(exc, ImportError) and exc.name == module
            if imported or raised in LACKS[full]:
                return full
        exc = exc.__cause__ or exc.__context__
    return ""


def raised_in(exc):
    """The file that raised it; "" for an exception that was never raised."""
    step = exc.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    return step.tb_frame.f_code.co_filename if step is not None else ""


def missing_module(exc):
    """The module that this environment lacks and that an exception is about; "" if it is about none.

    Behind stubs the environment is not the device's: what it lacks is neither the model's fault nor the plugin's. A
    plugin may also swallow the ImportError and fail later on the name (NameError) that the import would have made.
    """
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        return ""
    seen = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        names = [getattr(exc, "name", "") or ""] if isinstance(exc, ImportError) else []
        if type(exc) is NameError and exc.__traceback__ is not None:
            names = sources(exc)
        for name in names:
            if has_no_code(name):
                return name
        exc = exc.__cause__ or exc.__context__
    return ""


def sources(exc):
    """Modules from which the failing file would import the name that it lacks."""
    step = exc.__traceback__
    while step.tb_next is not None:
        step = step.tb_next
    wanted = getattr(exc, "name", "") or ""
    try:
        with open(step.tb_frame.f_code.co_filename, encoding="utf-8") as stream:
            tree = ast.parse(stream.read())
    except (OSError, SyntaxError, ValueError):
        return []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level and node.module:
            if any((alias.asname or alias.name) == wanted for alias in node.names):
                found.append(node.module)
        elif isinstance(node, ast.Import):
            found.extend(alias.name for alias in node.names if (alias.asname or alias.name.split(".")[0]) == wanted)
    return found


def has_no_code(name):
    """Whether the package is not installed, or the module is a folder that this build of the package left empty.

    A module that an installed package does not know at all is a plugin that does not fit its engine: that is a fault.
    """
    if not name:
        return False
    try:
        if importlib.util.find_spec(name.partition(".")[0]) is None:
            return True
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is None and not isinstance(spec.loader, Finder)


def facts(stubs):
    version = plugin_version(stubs)
    return {
        "stubbed": sorted(STUBBED),
        "lacks": list(LACKS),
        "calls": dict(CALLS),
        "notes": list(NOTES),
        "plugin_version": version,
        "proven": version in stubs["proven"],
    }


def plugin_version(stubs):
    from importlib import metadata

    try:
        return metadata.version(stubs["distribution"])
    except metadata.PackageNotFoundError:
        return ""
