"""Which operators the built model's forward calls, and whether this platform has them: rows for the account.

The calls are read from source (`dry_reader.py`). Whether an operator is there is asked of torch's own registry; behind
stubs, where the device's libraries are absent, of what the engine and the plugin register in Python and of the plugin's
C++ sources, if they are beside it. What neither can say is "unknown", never "missing".
"""

import os
import re
import sys
import types

BINDING = re.compile(
    r"TORCH_LIBRARY(?:_FRAGMENT|_EXPAND)?\(\s*(?:CONCAT\(\s*(\w+)\s*,\s*(\w+)\s*\)|(\w+))\s*,\s*\w+\s*\)"
    r"|\b\w+\.def\(\s*(?:\w+\(\s*)?R?\"(?:\w*\()?\s*(\w+)\s*[(\"]"
)
MOST_SOURCE = 4_000_000  # characters of one C++ file
NOTE = "the reading of the model's calls was cut short; operators that it calls may be absent from the list"


def helper(name):
    return sys.modules["seatrial_probe_dry"].sibling(name)


def calls(model, config, request):
    """Rows: name, state, why, certain, at, asker. `certain`: on every way through the model's forward."""
    import vllm

    roots = [os.path.dirname(vllm.__file__) + os.sep]
    stubs = request.get("stubs")
    if stubs:
        plugin = sys.modules.get(stubs["plugin"])
        roots += [os.path.dirname(plugin.__file__) + os.sep] if getattr(plugin, "__file__", None) else []
    registry = Registry(stubs, roots)
    errors = helper("dry_errors")
    rows = {}

    def found(name, certain, at, asker):
        if name.startswith(("aten::", "prims::", "prim::")):
            return
        row = rows.get(name)
        if row is None or (certain and not row["certain"]):
            state, why = registry.state(name)
            place = errors.place(*at) if at else None
            rows[name] = {"state": state, "why": why, "certain": certain, "at": place, "asker": asker}

    reader = helper("dry_reader").Reader(
        ours=lambda file: file.startswith(tuple(roots)),
        found=found,
        layers=config.compilation_config.static_forward_context,
        state=lambda name: registry.state(name)[0],
        functions=registry.function,
    )
    read(model, reader)
    cut = reader.steps > helper("dry_values").MOST_STEPS
    return {"calls": rows, "calls_notes": [NOTE] if cut else []}


def read(model, reader):
    """From the model's forward on; then every module that was not reached, which may be called or not."""
    reader.read(model)
    if callable(getattr(type(model), "compute_logits", None)):
        reader.read(model, "compute_logits")
    for module in map(reader.canonical, model.modules()):
        if id(module) not in reader.reached and type(module).__module__.partition(".")[0] != "torch":
            reader.reached.add(id(module))
            reader.read(module, certain=False)
        for held in (getattr(module, "impl", None), getattr(module, "quant_method", None)):
            # Called by the engine around the module's forward: an attention kernel, a layer's method.
            for method in ("forward", "apply", "process_weights_after_loading"):
                if held is not None and callable(getattr(type(held), method, None)):
                    reader.read(held, method, certain=False)
            for value in list(getattr(held, "__dict__", {}).values()):
                if isinstance(value, type):  # a kernel's class that was chosen, to be made after loading
                    reader.made(value, reader.name_of(held))


class Registry:
    """`state(name)` of an operator, with the reason."""

    def __init__(self, stubs, roots):
        import torch

        self.stubs, self.roots = stubs, roots
        self.named = {name.partition(".")[0] for name in torch._C._dispatch_get_all_op_names()}
        self.spaces = {name.partition("::")[0] for name in self.named}
        defined = getattr(torch.library, "_defs", set())
        self.python = {str(name).partition(".")[0] for name in defined}
        self.bound = bindings(roots[1]) if stubs and len(roots) > 1 else {}
        self.bound_spaces = {name.partition("::")[0] for name in self.bound}
        self.texts = {}

    def state(self, name):
        space, colons, leaf = name.partition("::")
        if not colons:
            return "unknown", f"{name.rpartition('.')[0]} is not installed here; a stub stands in for it"
        if name in self.python or (not self.stubs and name in self.named):
            return "present", "registered here"
        if name in self.bound:
            return "present", f"the plugin's own source registers it: {self.bound[name]}"
        if self.stubs and space in self.bound_spaces:
            return "missing", f"the plugin's sources register operators in {space}, but not this one"
        if space in ("vllm", "vllm_ir") or space in {p.partition("::")[0] for p in self.python}:
            place = self.written(leaf)
            if place:
                return "present", f"registered when {place} is imported"
        if self.stubs and space.startswith("_"):
            if self.stubs.get("engine_library") == "none":
                return "missing", f"vLLM has no compiled library {space} beside this plugin, which does not register it"
            return "unknown", f"whether {space} has it is not known without the device's build of vLLM"
        if space not in self.spaces:
            return "unknown", f"no library of {space} is loaded here"
        if self.stubs and name in self.named:
            return "present", "registered here"
        if self.stubs and space not in ("vllm", "vllm_ir"):
            return "unknown", f"whether {space} has it is not known without the device's libraries"
        return (
            "missing",
            f"the libraries loaded here register {self.count(space)} operators in {space}, but not this one",
        )

    def count(self, space):
        return sum(name.startswith(space + "::") for name in self.named)

    def written(self, leaf):
        """The engine's or plugin's file that registers an operator of this name in Python once it is imported."""
        wanted = re.compile(
            rf"(?:op_name *= *|register_custom_op\(\s*|custom_op\(\s*)[\"'](?:\w+::)?{re.escape(leaf)}[\"']"
        )
        for root in self.roots:
            for folder, _, files in os.walk(root):
                for file in files:
                    if file.endswith(".py"):
                        path = os.path.join(folder, file)
                        if path not in self.texts:
                            self.texts[path] = text_of(path)
                        if leaf in self.texts[path] and wanted.search(self.texts[path]):
                            return helper("dry_errors").short_path(path)
        return ""

    def function(self, name):
        """The Python function behind an operator of the engine or the plugin: by its name, as they name them."""
        space, _, leaf = name.partition("::")
        if not leaf or (space not in ("vllm", "vllm_ir") and name not in self.python):
            return None
        tops = ("vllm.", self.stubs["plugin"] + ".") if self.stubs else ("vllm.",)
        for wanted in (leaf, "_" + leaf, f"_{leaf}_impl", f"{leaf}_impl"):
            for module_name, module in list(sys.modules.items()):
                if module_name.startswith(tops[::-1]):
                    function = getattr(module, "__dict__", {}).get(wanted)
                    function = getattr(function, "_init_fn", function)
                    if isinstance(function, types.FunctionType) and function.__module__ == module_name:
                        return function
        return None


def text_of(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(MOST_SOURCE)
    except OSError:
        return ""


def bindings(package):
    """`namespace::name` of the operators that the C++ sources beside a plugin's package define -> file:line."""
    found = {}
    root = os.path.join(os.path.dirname(package.rstrip(os.sep)), "csrc")
    for folder, folders, files in os.walk(root):
        folders[:] = [f for f in folders if f != "third_party"]
        for file in sorted(files):
            if not file.endswith((".cpp", ".cc", ".cu", ".h", ".hpp")):
                continue
            text = text_of(os.path.join(folder, file))
            if "TORCH_LIBRARY" not in text:
                continue
            space = ""
            for match in BINDING.finditer(text):
                if match[4] is None:
                    space = match[3] or match[1] + match[2]
                elif space:
                    place = os.path.relpath(os.path.join(folder, file), os.path.dirname(root))
                    line = text.count("\n", 0, match.start()) + 1
                    found.setdefault(f"{space}::{match[4]}", f"{place}:{line}")
    return found
