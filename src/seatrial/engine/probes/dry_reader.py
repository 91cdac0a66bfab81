"""Reads, without running it, which operators a built model's forward would call: a partial evaluation of its source.

In: a built module (or any bound method of it). Out: calls of `found(name, certain, place, asker)`. The source of the
functions is walked with the real objects: attributes of the model as it was built, module globals, the platform, the
configuration. A test that these decide leaves one branch; any other leaves both, and what lies in them (or after a
return in them) is "not certain". Nothing of the engine is executed: properties and small helpers are walked too.

A call on what is not known (`dry_values.py`) is not followed, so the reading is a lower bound. Calls are here,
statements in `dry_statements.py`, expressions in `dry_expressions.py`.
"""

import ast
import functools
import inspect
import linecache
import sys
import textwrap
import types

V = sys.modules["seatrial_probe_dry"].sibling("dry_values")
E = sys.modules["seatrial_probe_dry"].sibling("dry_expressions")
S = sys.modules["seatrial_probe_dry"].sibling("dry_statements")
MOST_DEPTH = 60
MOST_INSIDE = 2  # readings of one function inside each other: recursion whose arguments differ


class Reader(V.Values, E.Expressions, S.Statements):
    """`ours(filename)` says whose source is read; `layers` are the attention layers by name; `state(op)` is "present",
    "missing" or "unknown", for code that asks with hasattr; `functions(name)` finds the Python function of an op."""

    def __init__(self, ours, found, layers, state, functions):
        self.ours, self.found, self.state, self.functions = ours, found, state, functions
        self.layers = layers
        self.seen = {}
        self.reached = set()
        self.depth = self.steps = 0
        self.nodes, self.signatures, self.alike, self.changed_in, self.assigned = {}, {}, {}, {}, set()
        self.held, self.inside = [], {}

    # ---- entry

    def read(self, module, method="forward", certain=True):
        """Read `module.method` as the engine calls it: arguments without a default are there."""
        target = self.attribute(self.canonical(module), method)
        if isinstance(target, V.Bound):
            self.call(target, [], {}, certain, None, self.name_of(module), fill=True)

    @staticmethod
    def name_of(value):
        kind = value if isinstance(value, type) else type(value)
        return f"{kind.__module__}.{kind.__qualname__}"

    # ---- calls

    def call(self, target, args, named, certain, at, asker, fill=False):
        """What a call gives back; operators in it are told to `found`. `fill`: absent arguments are there."""
        if isinstance(target, V.Op):
            return self.operator(target.name, args, named, certain, at, asker)
        if V.is_torch(target, "OpOverloadPacket", "OpOverload", "CustomOpDef"):
            packet = getattr(target, "_overloadpacket", target)
            name = getattr(packet, "_qualified_op_name", None) or getattr(packet, "_qualname", None) or str(packet)
            return self.operator(name, args, named, certain, at, asker)
        if type(target).__name__ == "StubCall":
            return self.operator(target._name, args, named, certain, at, asker)
        if isinstance(target, functools.partial):
            return self.call(target.func, [*target.args, *args], {**target.keywords, **named}, certain, at, asker)
        if isinstance(target, types.MethodType):
            owner = next((c for c in type(target.__self__).__mro__ if target.__name__ in vars(c)), None)
            target = V.Bound(target.__func__, target.__self__, owner)
        if isinstance(target, V.Bound):
            receiver = self.canonical(target.receiver)
            if V.is_module(receiver) and getattr(target.function, "__name__", "") in ("forward", "forward_impl"):
                self.reached.add(id(receiver))
                asker = self.name_of(receiver)
            return self.follow(target.function, [receiver, *args], named, certain, target.owner, asker, fill)
        if isinstance(target, V.Closure):
            return self.enter_closure(target, args, named, certain, asker)
        if isinstance(target, type) or not V.is_known(target):
            # Functions handed to code that is not followed may be called by it.
            for value in [*args, *named.values()]:
                if isinstance(value, V.Closure):
                    self.enter_closure(value, [], {}, False, asker)
            if not isinstance(target, type):
                return V.UNKNOWN
            return (
                V.Made(target)
                if self.ours(getattr(sys.modules.get(target.__module__), "__file__", "") or "")
                else V.SOME
            )
        if V.is_module(target):
            return self.call(self.attribute(target, "forward"), args, named, certain, at, asker)
        function = inspect.unwrap(getattr(target, "_torchdynamo_orig_callable", target))
        if isinstance(function, types.FunctionType):
            if not self.ours(function.__code__.co_filename):
                return V.SOME if (function.__module__ or "").startswith("torch") else V.UNKNOWN
            return self.follow(function, args, named, certain, None, asker, fill)
        if isinstance(target, types.BuiltinFunctionType):
            return V.SOME if "torch" in (getattr(target, "__module__", "") or "torch") else V.UNKNOWN
        caller = self.of_class(type(target).__mro__, "__call__", target)
        return self.call(caller, args, named, certain, at, asker) if isinstance(caller, V.Bound) else V.UNKNOWN

    def operator(self, name, args, named, certain, at, asker):
        self.found(name, certain, at, asker)
        function = self.functions(name)
        if function is not None:
            self.follow(function, args, named, certain, None, asker, True)
        return V.SOME

    def follow(self, function, args, named, certain, owner, asker, fill):
        function = inspect.unwrap(getattr(function, "_torchdynamo_orig_callable", function))
        code = getattr(function, "__code__", None)
        if code is None or not self.ours(code.co_filename):
            return V.UNKNOWN
        if code.co_name == "get_forward_context":
            return V.Context(self.layers)
        if code.co_name in ("_encode_layer_name", "_resolve_layer_name") and args and isinstance(args[0], str):
            return args[0]  # wrapped for the compiler; the name stays
        key = (code, owner, tuple(map(self.key, args)), tuple((k, self.key(v)) for k, v in sorted(named.items())))
        for seen in ((*key, True), (*key, certain)):
            if seen in self.seen:
                return self.seen[seen]
        if self.depth >= MOST_DEPTH or self.inside.get(code, 0) >= MOST_INSIDE:
            return V.UNKNOWN
        self.seen[(*key, certain)] = V.UNKNOWN  # while it is being read: recursion
        node = self.node_of(code)
        if node is None:
            return V.UNKNOWN
        closed = {}
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
            try:
                closed[name] = cell.cell_contents
            except ValueError:
                closed[name] = V.UNKNOWN
        names = {**closed, **self.bind(node.args, function, args, named, fill)}
        receiver = args[0] if args else None
        place = (code.co_filename, code.co_firstlineno, code.co_name)
        frame = V.Frame(names, function.__globals__, owner, receiver, *place, asker)
        self.depth += 1
        self.inside[code] = self.inside.get(code, 0) + 1
        try:
            end = self.block(node.body, frame, certain)
        finally:
            self.depth -= 1
            self.inside[code] -= 1
        values = frame.returns + ([None] if end in (S.OPEN, S.MAYBE) else [])
        value = functools.reduce(V.merged, values) if values else V.UNKNOWN
        if any(isinstance(n, (ast.Yield, ast.YieldFrom)) for n in ast.walk(node)):
            value = V.UNKNOWN
        self.seen[(*key, certain)] = value
        return value

    def key(self, value):
        if isinstance(value, (int, float, str, type(None), V.enum.Enum)):
            return type(value), value
        if isinstance(value, (tuple, V.Listed)):
            return type(value), getattr(value, "grown", False), tuple(map(self.key, value))
        if isinstance(value, V.Made):
            return V.Made, value.kind
        if isinstance(value, V.Bound):
            return V.Bound, value.function, self.key(value.receiver)
        if not V.is_known(value):
            return value
        # What is known by its place must not make room for another.
        value = self.canonical(value)
        self.held.append(value)
        return id(value)

    def enter_closure(self, closure, args, named, certain, asker):
        node, outer = closure.node, closure.frame
        if self.depth >= MOST_DEPTH or self.inside.get(node, 0) >= MOST_INSIDE:
            return V.UNKNOWN
        names = {**outer.names, **self.bind(node.args, None, args, named, True)}
        frame = outer.inner(names, asker)
        self.depth += 1
        self.inside[node] = self.inside.get(node, 0) + 1
        try:
            if isinstance(node, ast.Lambda):
                return self.value(node.body, frame, certain)
            self.block(node.body, frame, certain)
        finally:
            self.depth -= 1
            self.inside[node] -= 1
        for inner in ast.walk(node):
            if isinstance(inner, ast.Nonlocal):
                outer.names.update(dict.fromkeys(inner.names, V.UNKNOWN))
        return functools.reduce(V.merged, frame.returns) if frame.returns else V.UNKNOWN

    @staticmethod
    def bind(spec, function, args, named, fill):
        """Names to values: as given, else the default, else there (`fill`) or unknown."""
        positional = [a.arg for a in [*spec.posonlyargs, *spec.args]]
        names = {}
        for name in [*positional, *(a.arg for a in spec.kwonlyargs)]:
            names[name] = V.SOME if fill else V.UNKNOWN
        defaults = getattr(function, "__defaults__", None) or ()
        names.update(zip(positional[len(positional) - len(defaults) :], defaults, strict=True))
        names.update(getattr(function, "__kwdefaults__", None) or {})
        names.update(zip(positional, args, strict=False))
        names.update((k, v) for k, v in named.items() if k in names)
        if spec.vararg:
            names[spec.vararg.arg] = tuple(args[len(positional) :])
        if spec.kwarg:
            names[spec.kwarg.arg] = {k: v for k, v in named.items() if k not in names}
        return names

    def node_of(self, code):
        """The function's own syntax tree, from its lines alone: whole files of a model take long to parse."""
        key = (code.co_filename, code.co_firstlineno)
        if key not in self.nodes:
            lines = linecache.getlines(code.co_filename)[code.co_firstlineno - 1 :]
            self.nodes[key] = parsed(lines)
        return self.nodes[key]


def parsed(lines):
    """The syntax tree of the function that begins at the first of `lines`; None where it cannot be told."""
    if not lines:
        return None
    margin = len(lines[0]) - len(lines[0].lstrip())
    end = len(lines)
    begun = False
    for index, line in enumerate(lines):
        text = line.strip()
        inside = len(line) - len(line.lstrip()) > margin
        if begun and text and not inside and text[0] not in ")]}#":
            end = index
            break
        begun = begun or text.startswith(("def ", "async def "))
    for stop in (end, len(lines)):
        try:
            body = ast.parse(textwrap.dedent("".join(lines[:stop]))).body
        except (SyntaxError, ValueError):
            continue
        if body and isinstance(body[0], (ast.FunctionDef, ast.AsyncFunctionDef)):
            return body[0]
    return None
