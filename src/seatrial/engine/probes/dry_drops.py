"""Why the engine's loader passed a tensor over: hand it over again, alone, under a line trace, and read the last rule.

The lines that run between handing the tensor over and being asked for the next are the loader's decision on it. The
rule is the innermost statement among them that skips (`continue`, `return`), quoted with file and line; or the filter
of a generator expression, if it held the tensor and nothing outside of it ran before the next was asked for.
"""

import linecache
import re
import sys

MOST_KINDS = 200  # groups of a kind
NUMBER = re.compile(r"(?<![^.\[])\d+(?![^.\]])")
SKIPS = ("continue", "return", "return None", "return False", "pass")


def helper(name):
    return sys.modules["seatrial_probe_dry"].sibling(name)


def rules(model, config, feed):
    """Rows for passed-over tensors: the first and the last of every kind, apart for those with a placed sibling.

    An expert that lives on another rank and one of a layer that nobody builds are of one kind, but not passed over by
    one rule; siblings (names equal but for the last number) of the first are placed here.
    """
    dropped = feed.dropped()
    kinds = {feed.kinds[index] for index in dropped}
    placed = {family(feed.names[index]) for index in feed.watch.moved if feed.kinds[index] in kinds}
    groups = {}
    for index in dropped:
        key = feed.kinds[index], family(feed.names[index]) in placed
        if key not in groups and len(groups) >= MOST_KINDS:
            continue
        groups.setdefault(key, []).append(index)
    rows = []
    for (kind, sibling), members in groups.items():
        for index in dict.fromkeys((members[0], members[-1])):
            rule, detail = trace(model, config, feed, index)
            rows.append({"kind": kind, "tensor": index, "rule": rule, "detail": detail, "sibling": sibling})
    return rows


def family(name):
    """The name without its last number; `seatrial.dryrun.tensor.family_of` is the same."""
    numbers = list(NUMBER.finditer(name))
    if not numbers:
        return name
    last = numbers[-1]
    return name[: last.start()] + "*" + name[last.end() :]


def trace(model, config, feed, index):
    errors = helper("dry_errors")
    lines, after = [], []
    active = [False]
    tensor, tensor_name = feed.tensors[index], feed.names[index]

    def give():
        active[0] = True
        yield tensor_name, tensor
        active[0] = False

    own = {give.__code__.co_filename}
    sieve = [None]  # the generator expression that was judging the tensor when the last line ran
    handed = set()  # generator expressions that gave the tensor on: resumed, they still hold it and judge nothing

    def judging(frame):
        for _ in range(8):
            if frame is None or frame.f_code is give.__code__:
                return None
            sieves = frame.f_code.co_name in ("<genexpr>", "<listcomp>")
            if sieves and frame not in handed and any(value is tensor for value in frame.f_locals.values()):
                return frame.f_code.co_filename, frame.f_lineno, frame.f_back.f_code.co_name
            frame = frame.f_back
        return None

    def local(frame, event, arg):
        if event == "return" and arg is not None and frame.f_code.co_name == "<genexpr>":
            handed.add(frame)
        if event != "line":
            return local
        if active[0]:
            sieve[0] = judging(frame)
            lines.append((frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name, compared(frame), frame))
        elif any(value is tensor or value == tensor_name for value in frame.f_locals.values() if is_ours(value)):
            # A loader that collects all tensors first decides later: follow the code that holds this one.
            after.append((frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name, compared(frame), frame))
        return local

    def is_ours(value):
        return value is tensor or type(value) is str

    def enter(frame, event, arg):
        name = frame.f_code.co_filename
        if name in own or "/torch/" in name or "importlib" in name or "/logging/" in name:
            return None
        return local

    import torch
    from vllm.config import set_current_vllm_config

    before = sys.gettrace()
    try:
        with torch.device("meta"), set_current_vllm_config(config, check_compile=False), torch.no_grad():
            sys.settrace(enter)
            try:
                model.load_weights(give())
            finally:
                sys.settrace(before)
    except Exception:
        pass  # with one tensor alone a loader may well miss the others; only the lines matter here
    if sieve[0] is not None:
        filename, line, function = sieve[0]
        return errors.place(filename, line, function), condition_in(filename, line)
    found = choose(lines, errors)
    return found if found[0] is not None else choose(after, errors)


def choose(lines, errors):
    """The deciding skip: after it, its function runs at most the loop's own header again before the next tensor."""
    patterns = [names for _, _, _, names, _ in lines if names]
    for position in range(len(lines) - 1, -1, -1):
        filename, line, function, _, frame = lines[position]
        text = linecache.getline(filename, line).strip()
        if text.split("  #")[0] not in SKIPS:
            continue
        before = [one for one in lines[:position] if one[4] is frame]
        if before and linecache.getline(before[-1][0], before[-1][1]).strip().startswith("yield"):
            continue  # it handed the tensor on and was resumed; who lost it is further down
        after = [one for one in lines[position + 1 :] if one[4] is frame]
        if len(after) > 1:
            break
        condition = condition_above(filename, line)
        return errors.place(filename, line, function), "; ".join(patterns[-1:] or ([condition] if condition else []))
    return None, patterns[-1] if patterns else ""


def condition_in(filename, line):
    """The `if` of a comprehension, on its line or one of the next few."""
    for at in range(line, line + 4):
        _, found, condition = linecache.getline(filename, at).partition(" if ")
        if found:
            return "if " + condition.strip()
    return ""


def condition_above(filename, line):
    """The `if` that guards a skip: the nearest line above with less indentation that begins with if or elif."""
    text = linecache.getline(filename, line)
    depth = len(text) - len(text.lstrip())
    for above in range(line - 1, max(0, line - 12), -1):
        text = linecache.getline(filename, above)
        indent = len(text) - len(text.lstrip())
        if text.strip() and indent < depth:
            words = text.strip()
            if words.startswith(")"):
                depth = indent + 1
                continue
            return words if words.startswith(("if ", "elif ", "else")) else ""
    return ""


def compared(frame):
    """The pattern of a mapping table that was being looked at (`substr`, `prefix`, ... of WeightsMapper)."""
    if frame.f_code.co_name not in ("_map_name_with_shard", "_map_name"):
        return ""
    if linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip() != "return None":
        return ""
    values = frame.f_locals
    if values.get("new_key", "") is None:
        for name in ("suffix", "prefix", "substr", "pattern"):
            if name in values:
                found = values[name]
                return f"mapping {name} {getattr(found, 'pattern', found)!r} -> None"
    return ""
