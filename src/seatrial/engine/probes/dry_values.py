"""Values of the partial evaluation of a model's forward (`dry_reader.py`), and what an attribute of one is.

What is not known stays UNKNOWN. Attributes that are assigned outside of initialisation (weights are repacked after
loading) count as unknown. Attributes are looked up without running any code of the engine, properties included.
"""

import enum
import functools
import linecache
import re
import sys
import types

MOST_STEPS = 600_000  # nodes that one model's reading may visit
SCALARS = (int, float, str, bytes, bool, type(None), enum.Enum, frozenset)
INITIAL = re.compile(r"__init__|__new__|__post_init__|create_weights|_?init_|_init|_?set_up|_?setup")
# Functions, and assignments to an attribute of the object itself or of a layer; a parameter's are its own affair.
DEFINED = re.compile(
    r"^[ \t]*(?:async +)?def +(\w+)|^[ \t]*(?:self|layer|module|mod|m)\.(?:\w+\.)*(\w+)(?: *:[^=\n]+)? *=(?!=)", re.M
)


class Word:
    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text


UNKNOWN = Word("unknown")
SOME = Word("some")  # unknown, but not None: tensors, and what torch gives back
TRUTHY, FALSY = Word("true"), Word("false")  # unknown but for what a test makes of it: `x or 1`, `x and None`
ABSENT = Word("absent")


class Op:
    """An operator by name: `namespace::name` of torch.ops, or `module.name` of a device's own package."""

    def __init__(self, name):
        self.name = name


class Bound:
    def __init__(self, function, receiver, owner):
        self.function, self.receiver, self.owner = function, receiver, owner


class Super:
    def __init__(self, receiver, owner):
        self.receiver, self.owner = receiver, owner


class Closure:
    def __init__(self, node, frame):
        self.node, self.frame = node, frame


class Made:
    """An object of the engine's own class that would be made; of what it holds nothing is known."""

    def __init__(self, kind):
        self.kind = kind


class Context:
    """vLLM's forward context: the layers by name are the real ones, the rest has no value here."""

    def __init__(self, layers):
        self.layers = layers


class Frame:
    def __init__(self, names, scope, owner, receiver, file, first, function, asker):
        self.names, self.scope, self.owner, self.receiver = names, scope, owner, receiver
        self.file, self.first, self.function, self.asker = file, first, function, asker
        self.returns = []

    def inner(self, names, asker):
        """A function or comprehension inside this one."""
        place = (self.file, self.first, self.function)
        return Frame(names, self.scope, self.owner, self.receiver, *place, asker)


class Listed(list):
    """A list that the code which is read makes. `grown`: a method or an assignment changed it, so it holds anything."""

    grown = False


def is_module(value):
    return not isinstance(value, type) and "_modules" in getattr(value, "__dict__", ())


def is_torch(value, *names):
    kind = type(value)
    return kind.__module__ in ("torch._ops", "torch._library.custom_ops") and kind.__name__ in names


def is_plain(value):
    if isinstance(value, Listed) and value.grown:
        return False
    if isinstance(value, (tuple, list, set)):
        return len(value) < 1000 and all(is_plain(v) for v in value)
    return isinstance(value, SCALARS) or type(value).__name__ == "dtype"


def is_known(value):
    return not any(value is word for word in (UNKNOWN, SOME, TRUTHY, FALSY))


def truth(value):
    """True, False or None for unknown."""
    if not is_known(value):
        return None if value is UNKNOWN or value is SOME else value is TRUTHY
    if is_module(value) and hasattr(type(value), "__len__"):
        # torch's own containers are as true as a list.
        is_container = type(value).__name__ in ("ModuleList", "Sequential", "ModuleDict")
        return bool(vars(value)["_modules"]) if is_container else None
    if isinstance(value, (Op, Bound, Closure, Made, types.FunctionType, types.MethodType, type)) or is_module(value):
        return True
    return bool(value) if is_plain(value) or isinstance(value, dict) else None


def merged(one, other):
    """What a name is after two branches."""
    if one is other:
        return one
    if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        return tuple(map(merged, one, other))
    if is_plain(one) and is_plain(other) and type(one) is type(other) and one == other:
        return one
    return UNKNOWN if any(v is UNKNOWN or v is FALSY or v is None for v in (one, other)) else SOME


def either(one, other):
    """The names after code that may have run or not: `one` without it, `other` with it."""
    return {k: merged(one.get(k, UNKNOWN), other.get(k, UNKNOWN)) for k in one.keys() | other.keys()}


class Values:
    """What attributes are. The reader that extends this has `ours`, `layers` and `call`, and the caches used here."""

    # ---- modules that are built alike are read once

    def canonical(self, value):
        if not is_module(value):
            return value
        return self.alike.setdefault(self.signature(value), value)

    def signature(self, module):
        known = self.signatures.get(id(module))
        if known is None:
            parts = [type(module)]
            for name, value in vars(module).items():
                if name == "_modules":
                    parts.append(tuple((k, self.signature(v)) for k, v in value.items() if v is not None))
                elif isinstance(value, (bool, enum.Enum, type(None))):
                    parts.append((name, value))
                elif not isinstance(value, (int, str, float, dict, set)):
                    inner = getattr(value, "__dict__", None) if not callable(value) else None
                    parts.append((name, type(value), tuple(sorted(inner)) if isinstance(inner, dict) else ()))
            parts.append(tuple(name for name, value in vars(module).get("_parameters", {}).items() if value is None))
            # Equal structures share one number, so that a parent's signature stays short.
            known = self.signatures[id(module)] = self.signatures.setdefault(tuple(parts), len(self.signatures))
        return known

    # ---- values

    def attribute(self, value, name):
        """What `value.name` is; ABSENT where the object has no such attribute yet."""
        if not is_known(value):
            return UNKNOWN
        if isinstance(value, Context):
            return self.layers if name == "no_compile_layers" else SOME
        if isinstance(value, Made):
            return UNKNOWN
        if isinstance(value, Op):
            return value if "::" in value.name else Op(f"{value.name}.{name}")
        if is_torch(value, "_Ops"):
            return vars(value).get(name) or Word(name)
        if isinstance(value, Word):
            return Op(f"{value.text}::{name}")
        if is_torch(value, "_OpNamespace"):
            return Op(f"{value.name}::{name}")
        if is_torch(value, "OpOverloadPacket", "OpOverload") or type(value).__name__ == "StubCall":
            return value  # an overload of it
        if isinstance(value, types.ModuleType):
            return self.of_module(value, name)
        if isinstance(value, Super):
            order = type(value.receiver).__mro__
            after = order[order.index(value.owner) + 1 :] if value.owner in order else ()
            return self.of_class(after, name, value.receiver)
        if isinstance(value, type):
            return self.of_class(value.__mro__, name, value)
        if type(value).__module__ == "seatrial_probe_dry_arrange":
            return UNKNOWN  # a placeholder for a kernel
        return self.of_instance(value, name)

    def of_module(self, module, name):
        found = vars(module).get(name, ABSENT)
        if found is ABSENT and type(module).__name__ == "StubModule":
            return Op(f"{module.__name__}.{name}")
        if found is ABSENT and module.__name__ == "vllm.envs":
            try:
                return getattr(module, name)
            except (AttributeError, ValueError):
                return UNKNOWN
        return UNKNOWN if found is ABSENT else found

    def of_class(self, order, name, receiver):
        for owner in order:
            if name in vars(owner):
                return self.bound(vars(owner)[name], receiver, owner)
        return ABSENT

    def bound(self, found, receiver, owner):
        is_class = isinstance(receiver, type)
        if isinstance(found, staticmethod):
            return found.__func__
        if isinstance(found, classmethod):
            return Bound(found.__func__, receiver if is_class else type(receiver), owner)
        if isinstance(found, (property, functools.cached_property)):
            getter = found.fget if isinstance(found, property) else found.func
            return UNKNOWN if is_class else self.call(Bound(getter, receiver, owner), [], {}, False, None, "")
        if callable(getattr(found, "__get__", None)) and hasattr(found, "__name__") and not isinstance(found, type):
            return found if is_class else Bound(found, receiver, owner)
        return found

    def of_instance(self, value, name):
        held = getattr(value, "__dict__", None)
        held = held if isinstance(held, dict) else {}
        shared = self.of_class(type(value).__mro__, name, value)
        if name in held and name not in ("_modules", "_parameters", "_buffers"):
            found = held[name]
        else:
            tables = (held.get(table) or {} for table in ("_modules", "_parameters", "_buffers"))
            found = next((table[name] for table in tables if name in table), shared)
        if isinstance(found, Bound) or is_module(found):
            return found
        if found is ABSENT and (name in getattr(value, "attribute_map", ()) or self.answers(value)):
            return UNKNOWN
        if found is not ABSENT and self.is_changed(value, name):
            return UNKNOWN
        return found

    @staticmethod
    def answers(value):
        """Whether the class makes attributes up (`__getattr__` of its own)."""
        return any("__getattr__" in vars(c) and not c.__module__.startswith("torch.") for c in type(value).__mro__)

    def is_changed(self, value, name):
        """Whether code that runs after initialisation assigns an attribute of this name, in the files of its class (or,
        for a layer, of its quantisation method)."""
        if (id(value), name) in self.assigned:
            return True
        classes = [*type(value).__mro__]
        method = getattr(value, "__dict__", {}).get("quant_method") or (
            (getattr(value, "__dict__", {}).get("_modules") or {}).get("quant_method")
        )
        if method is not None:
            classes += type(method).__mro__
        return any(name in self.changed(c.__module__) for c in classes)

    def changed(self, module_name):
        known = self.changed_in.get(module_name)
        if known is None:
            known = self.changed_in[module_name] = set()
            file = getattr(sys.modules.get(module_name), "__file__", None) or ""
            if self.ours(file):
                where = ""
                for match in DEFINED.finditer("".join(linecache.getlines(file))):
                    if match[1]:
                        where = match[1]
                    elif not INITIAL.match(where):
                        known.add(match[2])
        return known
