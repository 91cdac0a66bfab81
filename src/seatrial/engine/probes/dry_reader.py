"""Reads, without running it, which operators a built model's forward would call: a partial evaluation of its source.

In: a built module (or any bound method of it). Out: calls of `found(name, certain, place, asker)`. The source of the
functions is walked with the real objects: attributes of the model as it was built, module globals, the platform, the
configuration. A test that these decide leaves one branch; any other leaves both, and what lies in them (or after a
return in them) is "not certain". Nothing of the engine is executed: properties and small helpers are walked too.

A call on what is not known (`dry_values.py`) is not followed, so the reading is a lower bound. This file holds calls
and statements; it passes 250 lines, as splitting the table of nodes further would hide it.
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
MOST_DEPTH = 60
MOST_INSIDE = 2  # readings of one function inside each other: recursion whose arguments differ
OPEN, MAYBE, ENDED, RAISED = range(4)  # how a block of statements leaves: on, perhaps by return, by return, by raise


class Reader(V.Values, E.Expressions):
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
        values = frame.returns + ([None] if end in (OPEN, MAYBE) else [])
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

    # ---- statements

    def block(self, body, frame, certain):
        maybe = False
        for node in body:
            self.steps += 1
            if self.steps > V.MOST_STEPS:
                return MAYBE
            handler = getattr(self, "do_" + type(node).__name__, None)
            end = handler(node, frame, certain) if handler else self.parts(node, frame, certain)
            if end in (ENDED, RAISED):
                return MAYBE if maybe and end == RAISED else end
            if end == MAYBE:
                maybe, certain = True, False
        return MAYBE if maybe else OPEN

    def parts(self, node, frame, certain):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.value(child, frame, certain)
        return OPEN

    def do_FunctionDef(self, node, frame, certain):
        frame.names[node.name] = V.Closure(node, frame)
        return OPEN

    def do_ClassDef(self, node, frame, certain):
        frame.names[node.name] = V.UNKNOWN
        return OPEN

    def do_Return(self, node, frame, certain):
        frame.returns.append(self.value(node.value, frame, certain) if node.value else None)
        return ENDED

    def do_Raise(self, node, frame, certain):
        return RAISED

    def do_Break(self, node, frame, certain):
        return MAYBE

    do_Continue = do_Break

    def do_Assign(self, node, frame, certain):
        value = self.value(node.value, frame, certain)
        for target in node.targets:
            self.assign(target, value, frame)
        return OPEN

    def do_AnnAssign(self, node, frame, certain):
        if node.value is not None:
            self.assign(node.target, self.value(node.value, frame, certain), frame)
        return OPEN

    def do_AugAssign(self, node, frame, certain):
        self.value(node.value, frame, certain)
        if isinstance(node.target, ast.Name):
            before = frame.names.get(node.target.id, V.UNKNOWN)
            frame.names[node.target.id] = V.SOME if before is V.SOME else V.UNKNOWN
        else:
            self.assign(node.target, V.UNKNOWN, frame)
        return OPEN

    def assign(self, target, value, frame):
        if isinstance(target, ast.Name):
            frame.names[target.id] = value
        elif isinstance(target, (ast.Tuple, ast.List)):
            fits = isinstance(value, (tuple, list)) and len(value) == len(target.elts)
            for index, part in enumerate(target.elts):
                self.assign(part, value[index] if fits else V.UNKNOWN, frame)
        elif isinstance(target, ast.Starred):
            self.assign(target.value, V.UNKNOWN, frame)
        elif isinstance(target, ast.Subscript):
            self.change(target.value, frame)
        elif isinstance(target, ast.Attribute):
            self.keep(value, frame)
            self.assigned.add((id(self.value(target.value, frame, False)), target.attr))

    def keep(self, value, frame):
        """What is put into an attribute while weights are processed may be called by a later forward."""
        if isinstance(value, V.Closure):
            self.enter_closure(value, [], {}, False, frame.asker)
        elif isinstance(value, V.Made):
            self.made(value.kind, frame.asker)
        elif isinstance(value, (types.FunctionType, V.Bound, functools.partial)) or V.is_torch(
            value, "OpOverloadPacket"
        ):
            self.call(value, [], {}, False, None, frame.asker, fill=True)

    def made(self, kind, asker):
        """What an object of this class, of which nothing else is known, would call: a kernel made after loading."""
        for method in ("__call__", "forward", "apply"):
            caller = self.of_class(kind.__mro__, method, kind)
            if isinstance(caller, types.FunctionType):
                self.follow(caller, [V.UNKNOWN], {}, False, None, asker, True)

    def do_Import(self, node, frame, certain):
        for alias in node.names:
            name = alias.name if alias.asname else alias.name.partition(".")[0]
            frame.names[alias.asname or name] = sys.modules.get(name, V.UNKNOWN)
        return OPEN

    def do_ImportFrom(self, node, frame, certain):
        package = frame.scope.get("__package__") or ""
        parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        module = sys.modules.get(".".join([*parents, *([node.module] if node.module else [])]))
        for alias in node.names:
            found = vars(module).get(alias.name, V.UNKNOWN) if module is not None else V.UNKNOWN
            frame.names[alias.asname or alias.name] = found
        return OPEN

    def do_If(self, node, frame, certain):
        decided = V.truth(self.value(node.test, frame, certain))
        if decided is not None:
            return self.block(node.body if decided else node.orelse, frame, certain)
        return self.either(node.body, node.orelse, frame, certain)

    def either(self, first, second, frame, certain):
        """Two branches, one of which is taken. One that only raises is not: the other is then as certain as before."""
        before = dict(frame.names)
        one = self.block(first, frame, False)
        after_one, frame.names = frame.names, dict(before)
        other = self.block(second, frame, certain and one == RAISED)
        if one == RAISED:
            return other
        if other == RAISED:
            frame.names = dict(before)
            return self.block(first, frame, certain)
        if one == ENDED != other:
            pass  # what follows is reached by the second branch alone
        elif other == ENDED != one:
            frame.names = after_one
        else:
            frame.names = V.either(after_one, frame.names)
        if one == other:
            return one
        return MAYBE

    def perhaps(self, body, frame):
        """A block that may run or not, from where the frame is: afterwards both are possible."""
        before = dict(frame.names)
        end = self.block(body, frame, False)
        frame.names = dict(before) if end in (ENDED, RAISED) else V.either(before, frame.names)
        return end

    def do_For(self, node, frame, certain):
        values = self.elements(self.value(node.iter, frame, certain))
        if values is None:
            before = dict(frame.names)
            self.assign(node.target, V.UNKNOWN, frame)
            end = self.perhaps(node.body, frame)
            frame.names = V.either(before, frame.names)
        else:
            end = OPEN
            for value in values:
                before = dict(frame.names)
                self.assign(node.target, value, frame)
                now = self.block(node.body, frame, certain and end != MAYBE)
                if now in (ENDED, RAISED):
                    return MAYBE if end == MAYBE else now
                end = max(end, now)
                if end == MAYBE:
                    frame.names = V.either(before, frame.names)
        has_return = any(isinstance(n, ast.Return) for n in ast.walk(node))
        self.perhaps(node.orelse, frame)
        # A break leaves the loop, not the function.
        return MAYBE if end != OPEN and has_return else OPEN

    do_AsyncFor = do_For

    def do_While(self, node, frame, certain):
        if V.truth(self.value(node.test, frame, certain)) is False:
            return self.block(node.orelse, frame, certain)
        end = self.perhaps(node.body, frame)
        return MAYBE if end != OPEN else OPEN

    def do_With(self, node, frame, certain):
        for item in node.items:
            value = self.value(item.context_expr, frame, certain)
            if item.optional_vars is not None:
                self.assign(item.optional_vars, V.UNKNOWN if value is None else value, frame)
        return self.block(node.body, frame, certain)

    do_AsyncWith = do_With

    def do_Try(self, node, frame, certain):
        before = dict(frame.names)
        end = self.block(node.body, frame, certain and not node.handlers)
        if node.orelse and end == OPEN:
            end = self.block(node.orelse, frame, certain and not node.handlers)
        after = frame.names
        for handler in node.handlers:
            # It begins anywhere in the body.
            frame.names = V.either(before, after)
            if handler.name:
                frame.names[handler.name] = V.SOME
            left = self.block(handler.body, frame, False)
            if left in (OPEN, MAYBE):
                after = frame.names if end in (ENDED, RAISED) else V.either(after, frame.names)
                end = MAYBE if end != OPEN or left == MAYBE else OPEN
            elif left == ENDED and end == OPEN:
                end = MAYBE
        frame.names = after
        left = self.block(node.finalbody, frame, certain)
        return left if left in (ENDED, RAISED) else end

    do_TryStar = do_Try

    def do_Match(self, node, frame, certain):
        self.value(node.subject, frame, certain)
        before = after = dict(frame.names)
        ends = set()
        for case in node.cases:
            frame.names = dict(before)
            for name in (n for n in ast.walk(case.pattern) if isinstance(n, (ast.MatchAs, ast.MatchStar))):
                frame.names[name.name or "_"] = V.UNKNOWN
            ends.add(self.perhaps(case.body, frame))
            after = V.either(after, frame.names)
        frame.names = after
        return OPEN if ends <= {OPEN, RAISED} else MAYBE

    def elements(self, value):
        """The values of a loop, alike modules at most twice; None where they are not known."""
        if V.is_module(value):
            if type(value).__name__ not in ("ModuleList", "Sequential"):
                return None
            value = list(vars(value)["_modules"].values())
        if not isinstance(value, (list, tuple, range)) or len(value) > 4096:
            return None
        counts, kept = {}, []
        for element in value:
            module = next((e for e in (element if isinstance(element, tuple) else (element,)) if V.is_module(e)), None)
            key = id(self.canonical(module)) if module is not None else ("other", type(element))
            counts[key] = counts.get(key, 0) + 1
            if counts[key] <= (2 if module is not None else 8):
                kept.append(element)
        return kept


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
