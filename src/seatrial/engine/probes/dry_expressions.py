"""Expressions of the partial evaluation of a model's forward (`dry_reader.py`): one method for each kind of node."""

import ast
import builtins
import itertools
import sys
import types

V = sys.modules["seatrial_probe_dry"].sibling("dry_values")
# Methods that change a list.
CHANGES = {"append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse"}
PURE = {"isinstance", "hasattr", "getattr", "len", "range", "enumerate", "zip", "islice", "list", "tuple", "reversed"}
COMPARED = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
COUNTED = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
}


class Expressions:
    """`value(node, frame, certain)`. The reader that extends this has `call`, `attribute`, `assign` and `state`."""

    def value(self, node, frame, certain):
        handler = getattr(self, "of_" + type(node).__name__, None)
        if handler:
            return handler(node, frame, certain)
        self.parts(node, frame, certain)
        return V.UNKNOWN

    def of_Constant(self, node, frame, certain):
        return node.value

    def of_Name(self, node, frame, certain):
        for table in (frame.names, frame.scope, vars(builtins)):
            if node.id in table:
                return table[node.id]
        return V.UNKNOWN

    def of_Attribute(self, node, frame, certain):
        found = self.attribute(self.value(node.value, frame, certain), node.attr)
        return V.UNKNOWN if found is V.ABSENT else found

    def of_Subscript(self, node, frame, certain):
        value, key = self.value(node.value, frame, certain), self.value(node.slice, frame, certain)
        if value is V.SOME:
            return V.SOME
        if V.is_module(value) and type(value).__name__ in ("ModuleList", "Sequential"):
            value = list(vars(value)["_modules"].values())
        elif V.is_module(value) and type(value).__name__ == "ModuleDict":
            value = vars(value)["_modules"]
        if isinstance(value, V.Listed) and value.grown:
            return V.UNKNOWN
        if isinstance(value, (dict, list, tuple)) and isinstance(key, (int, str, slice)):
            try:
                return value[key]
            except (LookupError, TypeError):
                return V.UNKNOWN
        return V.UNKNOWN

    def of_Slice(self, node, frame, certain):
        ends = [self.value(n, frame, certain) if n else None for n in (node.lower, node.upper, node.step)]
        return slice(*ends) if all(e is None or type(e) is int for e in ends) else V.UNKNOWN

    def of_Tuple(self, node, frame, certain):
        found = [self.value(n, frame, certain) for n in node.elts]
        return V.UNKNOWN if any(isinstance(n, ast.Starred) for n in node.elts) else tuple(found)

    def of_List(self, node, frame, certain):
        found = self.of_Tuple(node, frame, certain)
        return V.Listed(found) if V.is_known(found) else found

    def of_Set(self, node, frame, certain):
        found = self.of_Tuple(node, frame, certain)
        return frozenset(found) if V.is_known(found) and all(isinstance(v, V.SCALARS) for v in found) else V.UNKNOWN

    def of_Lambda(self, node, frame, certain):
        return V.Closure(node, frame)

    def of_JoinedStr(self, node, frame, certain):
        self.parts(node, frame, certain)
        return V.SOME

    def of_NamedExpr(self, node, frame, certain):
        value = self.value(node.value, frame, certain)
        self.assign(node.target, value, frame)
        return value

    def of_Starred(self, node, frame, certain):
        return self.value(node.value, frame, certain)

    def of_UnaryOp(self, node, frame, certain):
        value = self.value(node.operand, frame, certain)
        if isinstance(node.op, ast.Not):
            decided = V.truth(value)
            return V.UNKNOWN if decided is None else not decided
        if isinstance(node.op, ast.USub) and isinstance(value, (int, float)):
            return -value
        return V.SOME if value is V.SOME else V.UNKNOWN

    def of_BinOp(self, node, frame, certain):
        one, other = self.value(node.left, frame, certain), self.value(node.right, frame, certain)
        counted = COUNTED.get(type(node.op))
        if isinstance(one, (int, float)) and isinstance(other, (int, float)) and counted:
            try:
                return counted(one, other)
            except (ArithmeticError, ValueError):
                return V.UNKNOWN
        return V.SOME  # arithmetic never gives None

    def of_BoolOp(self, node, frame, certain):
        stop = isinstance(node.op, ast.Or)
        unsure = False
        value = V.UNKNOWN
        for part in node.values:
            value = self.value(part, frame, certain and not unsure)
            decided = V.truth(value)
            if decided is stop:
                # Behind a part that is not known it may be that part's value: only what a test makes of it is known.
                return value if not unsure else V.TRUTHY if stop else V.FALSY
            unsure = unsure or decided is None
        return V.UNKNOWN if unsure else value

    def of_IfExp(self, node, frame, certain):
        decided = V.truth(self.value(node.test, frame, certain))
        if decided is not None:
            return self.value(node.body if decided else node.orelse, frame, certain)
        return V.merged(self.value(node.body, frame, False), self.value(node.orelse, frame, False))

    def of_Compare(self, node, frame, certain):
        values = [self.value(n, frame, certain) for n in (node.left, *node.comparators)]
        if len(values) != 2:
            return V.UNKNOWN
        one, other = values
        kind = type(node.ops[0])
        if kind in (ast.Is, ast.IsNot):
            if other is None or one is None:
                left = one if other is None else other
                same = None if left is V.UNKNOWN or left is V.FALSY else left is None
            else:
                same = one is other if V.is_known(one) and V.is_known(other) else None
            return V.UNKNOWN if same is None else same is (kind is ast.Is)
        if kind in COMPARED and V.is_plain(one) and V.is_plain(other):
            try:
                return bool(COMPARED[kind](one, other))
            except TypeError:
                return V.UNKNOWN
        return V.UNKNOWN

    def of_ListComp(self, node, frame, certain):
        first = node.generators[0]
        values = self.elements(self.value(first.iter, frame, certain))
        sure = certain and values is not None and len(node.generators) == 1 and not first.ifs
        inner = frame.inner(dict(frame.names), frame.asker)
        for value in values if values is not None else [V.UNKNOWN]:
            self.assign(first.target, value, inner)
            for test in first.ifs:
                self.value(test, inner, False)
            for other in node.generators[1:]:
                self.value(other.iter, inner, False)
                self.assign(other.target, V.UNKNOWN, inner)
            for part in (n for n in (getattr(node, k, None) for k in ("elt", "key", "value")) if n is not None):
                self.value(part, inner, sure)
        return V.SOME

    of_SetComp = of_GeneratorExp = of_DictComp = of_ListComp

    def of_Await(self, node, frame, certain):
        return self.value(node.value, frame, certain)

    def of_Call(self, node, frame, certain):
        self.steps += 1
        if self.steps > V.MOST_STEPS:
            return V.UNKNOWN
        if isinstance(node.func, ast.Name) and node.func.id == "super" and not node.args:
            return V.Super(frame.receiver, frame.owner)
        target = self.value(node.func, frame, certain)
        if isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
            self.change(node.func.value, frame)
        args = [self.value(a, frame, certain) for a in node.args]
        spread = any(isinstance(a, ast.Starred) for a in node.args)
        if spread:
            # `*args` of the function that is read, whose values are known.
            flat = []
            for part, value in zip(node.args, args, strict=True):
                if isinstance(part, ast.Starred):
                    flat += value if isinstance(value, (tuple, list)) else []
                else:
                    flat.append(value)
            args = flat
        named = {}
        for word in node.keywords:
            value = self.value(word.value, frame, certain)
            if word.arg:
                named[word.arg] = value
            elif isinstance(value, dict):
                named.update({k: v for k, v in value.items() if isinstance(k, str)})
        name = getattr(target, "__name__", "") if isinstance(target, (type, types.BuiltinFunctionType)) else ""
        if name == "enumerate" and set(named) == {"start"}:
            args, named = [*args, named["start"]], {}
        if name in PURE and not named:
            return self.builtin(name, args)
        named_method = isinstance(node.func, ast.Attribute) and node.func.attr not in ("get", "pop")
        if target is V.UNKNOWN and named_method and self.value(node.func.value, frame, False) is V.SOME:
            return V.SOME  # a tensor's method
        at = (frame.file, frame.first + node.lineno - 1, frame.function)
        return self.call(target, args, named, certain, at, frame.asker)

    def change(self, node, frame):
        """The list that `node` is holds anything from here on; an attribute of the model decides nothing any more."""
        held = self.value(node, frame, False)
        if isinstance(held, V.Listed):
            held.grown = True
        elif isinstance(held, list) and isinstance(node, ast.Attribute):
            self.assigned.add((id(self.value(node.value, frame, False)), node.attr))

    def builtin(self, name, args):
        if name == "hasattr" and len(args) == 2 and isinstance(args[1], str):
            found = self.attribute(args[0], args[1])
            if isinstance(found, V.Op) and "::" in found.name:
                return {"present": True, "missing": False}.get(self.state(found.name), V.UNKNOWN)
            if isinstance(found, V.Op) or found is V.UNKNOWN or (found is V.ABSENT and V.is_module(args[0])):
                return V.UNKNOWN
            return found is not V.ABSENT
        if name == "getattr" and len(args) in (2, 3) and isinstance(args[1], str):
            found = self.attribute(args[0], args[1])
            if found is V.ABSENT:
                # A layer may be given it after loading; a configuration is not.
                return args[2] if len(args) == 3 and not V.is_module(args[0]) else V.UNKNOWN
            return found
        if name == "isinstance" and len(args) == 2:
            kinds = args[1] if isinstance(args[1], tuple) else (args[1],)
            if V.is_known(args[0]) and not isinstance(args[0], (V.Op, V.Bound, V.Closure, V.Context, V.Made, V.Word)):
                return isinstance(args[0], kinds) if all(isinstance(k, type) for k in kinds) else V.UNKNOWN
            return V.UNKNOWN
        if any(not V.is_known(a) or (isinstance(a, V.Listed) and a.grown) for a in args):
            return V.UNKNOWN
        lists = [list(vars(a)["_modules"].values()) if V.is_module(a) and "_modules" in vars(a) else a for a in args]
        if not all(isinstance(a, (list, tuple, range, int, type(None))) for a in lists):
            return V.UNKNOWN
        try:
            made = itertools.islice(*lists) if name == "islice" else getattr(builtins, name)(*lists)
            return made if isinstance(made, (int, range)) else V.Listed(itertools.islice(made, 4096))
        except (TypeError, ValueError):
            return V.UNKNOWN
