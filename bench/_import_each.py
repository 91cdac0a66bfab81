"""Runs in the engine's interpreter: imports each module of a plugin in a child of its own, and says what happened.

    ENGINE_PYTHON bench/_import_each.py < request.json > answer.json

Request: {"modules": [...], "built": [...], "base": [...], "bare": bool}. Libraries that are not installed (device
runtimes) and the modules a build of the plugin makes (`built`) are stood in for by objects that give one for every
attribute; vLLM and the plugin are real. `base` is imported once before the children split off; `bare` leaves out the
plugin's top `__init__`. Answer: per module [kind, text, file, line] of the innermost place in the plugin, with
kind "there", "missing" (something vLLM or the plugin itself does not have), "order" (a cycle of imports) or "not known"
(it failed by a stand-in or by a device that is not here).
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import signal
import sys
import traceback
import types

SLOT = 60.0


class _Meta(type):
    def __getattr__(cls, name):
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return _new(name)

    def __iter__(cls):
        return iter(())

    def __or__(cls, other):
        return cls

    __ror__ = __or__


def _new(name):
    return _Meta(name, (_Thing,), {})


class _Thing(metaclass=_Meta):
    """A class whose every attribute is another one; as a decorator it hands back what it decorates."""

    def __new__(cls, *args, **kwargs):
        if len(args) == 1 and not kwargs and isinstance(args[0], (types.FunctionType, type)):
            return args[0]
        return object.__new__(cls)

    def __init__(self, *args, **kwargs):
        pass

    def __call__(self, *args, **kwargs):
        return args[0] if len(args) == 1 and callable(args[0]) else self

    def __getattr__(self, name):
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return _new(name)

    def __getitem__(self, key):
        return self

    def __iter__(self):
        return iter(())

    def __mul__(self, other):
        return self

    def __int__(self):
        return 1

    __index__ = __int__

    def __enter__(self):
        return self

    def __exit__(self, *args):
        return None


class _Module(types.ModuleType):
    __path__: list = []  # noqa: RUF012 (a package with no folder)
    __version__ = "9.9.9"

    def __getattr__(self, name):
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return _new(name)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Last on the path: what nobody else has, unless it belongs to vLLM or to the plugin."""

    def __init__(self, real, built):
        self.real, self.built = set(real), set(built)
        self.used = set()

    def find_spec(self, name, path=None, target=None):
        inside = any(name == b or name.startswith(b + ".") for b in self.built)
        if name.split(".")[0] in self.real and not inside:
            return None
        if path is not None and name.split(".")[0] not in self.used and not inside:
            return None  # a submodule an installed library does not have
        self.used.add(name.split(".")[0])
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        return _Module(spec.name)

    def exec_module(self, module):
        if module.__name__ == "torch_npu":
            import torch

            torch.npu = _Module("torch.npu")


def judge(error, plugin, real):
    """Kind of a failure: only names that the real sources do not have count as missing.

    A cycle between the plugin's modules, or a submodule nobody has imported yet, is a matter of the order in which
    modules are imported, not of what the sources have.
    """
    chain = error
    while chain is not None:
        text = f"{type(chain).__name__}: {chain}"
        if "partially initialized module" in text or is_submodule(chain):
            return "order", text
        name = getattr(chain, "name", None) or ""
        if isinstance(chain, ImportError) and name.split(".")[0] in real:
            return "missing", text
        if isinstance(chain, AttributeError):
            owner = getattr(chain, "obj", None)
            where = getattr(owner, "__module__", None) or getattr(owner, "__name__", "")
            module = owner.__name__ if isinstance(owner, types.ModuleType) else str(where)
            if module.split(".")[0] in real and not isinstance(owner, (_Module, _Meta, _Thing)):
                return "missing", text
        chain = chain.__cause__ or chain.__context__
    return "not known", f"{type(error).__name__}: {error}"


def is_submodule(error):
    owner, name = getattr(error, "obj", None), getattr(error, "name", None)
    if not isinstance(error, AttributeError) or not isinstance(owner, types.ModuleType) or not name:
        return False
    return hasattr(owner, "__path__") and importlib.util.find_spec(f"{owner.__name__}.{name}") is not None


def place(error, plugin):
    found = ["", 0]
    for frame in traceback.extract_tb(error.__traceback__):
        if f"/{plugin}/" in frame.filename:
            found = [frame.filename[frame.filename.rindex(f"/{plugin}/") + 1 :], frame.lineno]
    return found


def child(name, first, plugin, real):
    signal.setitimer(signal.ITIMER_REAL, SLOT)
    try:
        for other in first:
            importlib.import_module(other)
        importlib.import_module(name)
    except BaseException as error:  # noqa: BLE001 (whatever an import does is the answer)
        kind, text = judge(error, plugin, real)
        return [kind, text[:400], *place(error, plugin)]
    return ["there", "", "", 0]


def main():
    request = json.load(sys.stdin)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    plugin = request["modules"][0].split(".")[0]
    real = {"vllm", plugin}
    finder = _Finder(real, request["built"])
    for name in request["base"]:
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001
            print(f"base {name}: {type(error).__name__}: {error}", file=sys.stderr)
    sys.meta_path.append(finder)
    if request["bare"]:
        root = sys.modules[plugin] = types.ModuleType(plugin)
        root.__path__ = list(importlib.machinery.PathFinder.find_spec(plugin).submodule_search_locations)
    answers = {}
    for name in request["modules"]:
        first = []
        while True:
            answer = answers[name] = in_child(name, first, plugin, real)
            before = answer[2].removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            if answer[0] != "order" or not before or before in first or len(first) > 5:
                break
            first = [before, *first]  # the cycle's other end, as the plugin's own order would have it
    json.dump(answers, out)
    out.close()


def in_child(name, first, plugin, real):
    """The answer of one module, imported after `first` in a process of its own."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        answer = child(name, first, plugin, real)
        with os.fdopen(writer, "w") as pipe:
            pipe.write(json.dumps(answer))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    return json.loads(text) if text else ["not known", f"the child ended with status {status}", "", 0]


main()
