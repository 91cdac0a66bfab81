"""How the statements of a function leave what the reader knows: names, branches, loops, and whether they end it.

In: syntax trees, a frame (`dry_values.py`). Out: how a block leaves, with the calls in it told to `found`. A mixin of
`dry_reader.Reader`, which follows the calls.
"""

import ast
import functools
import sys
import types

V = sys.modules["seatrial_probe_dry"].sibling("dry_values")
OPEN, MAYBE, ENDED, RAISED = range(4)  # how a block of statements leaves: on, perhaps by return, by return, by raise


class Statements:
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
