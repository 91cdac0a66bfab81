"""Do these names exist in this engine, and do these calls bind? By really importing, one name at a time.

Request: `{"imports": [[MODULE, NAME], ...], "calls": [CALL, ...], "attributes": [PATH, ...]}`; an empty NAME asks for
the module. CALL has "what", "positional" (a count), "keywords", "stars" and "spread" (the call unpacks positional or
keyword arguments, which leaves open what else it may fill) and "bound" (self is not among the positional ones).
Answer: a list of STATE under each of the three names: "there", "missing" or the reason for not knowing.
"""

import importlib
import inspect

THERE, MISSING = "there", "missing"


def _module(name, cache):
    """The module, MISSING, or the reason why it does not import."""
    if name not in cache:
        try:
            cache[name] = importlib.import_module(name)
        except ModuleNotFoundError as exc:
            gone = exc.name or ""
            cache[name] = MISSING if name == gone or name.startswith(gone + ".") else "not known: " + str(exc)
        except BaseException as exc:
            if isinstance(exc, KeyboardInterrupt):
                raise
            cache[name] = "not known: " + type(exc).__name__ + ": " + " ".join(str(exc).split())[:200]
    return cache[name]


def _import(module, name, cache):
    found = _module(module, cache)
    if isinstance(found, str):
        return found
    if not name:
        return THERE
    answer = _has(found, name)
    if answer != MISSING:
        return answer
    below = _module(module + "." + name, cache)
    return below if isinstance(below, str) else THERE


def _object(path, cache):
    parts = path.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        module = _module(".".join(parts[:cut]), cache)
        if isinstance(module, str):
            if module != MISSING:
                return module
            continue
        found = module
        for part in parts[cut:]:
            answer = _has(found, part)
            if answer != THERE:
                return answer if answer != MISSING else "not known: no " + path
            found = getattr(found, part)
        return found
    return "not known: no " + path


def _attribute(path, cache):
    """Whether the last part of a dotted path is there, when all before it is."""
    owner, _, name = path.rpartition(".")
    found = _module(owner, cache)
    if found == MISSING:
        found = _object(owner, cache)
    if isinstance(found, str):
        return found
    answer = _has(found, name)
    if answer == MISSING and inspect.ismodule(found):
        # A module below it that nothing has imported yet.
        below = _module(path, cache)
        return below if isinstance(below, str) else THERE
    return answer


def _has(owner, name):
    """Lazy modules import on being asked, which may fail in any way: that is no answer."""
    try:
        return THERE if hasattr(owner, name) else MISSING
    except Exception as exc:
        return "not known: " + type(exc).__name__ + ": " + str(exc)[:200]


def _call(call, cache):
    found = _object(call["what"], cache)
    if isinstance(found, str):
        return found
    try:
        sign = inspect.signature(found)
    except (TypeError, ValueError) as exc:
        return "not known: " + str(exc)[:200]
    lead = [None] if call["bound"] else []
    try:
        keywords = dict.fromkeys(call["keywords"])
        if call["stars"]:
            sign.bind_partial(**keywords)
        elif call["spread"]:
            sign.bind_partial(*lead, *[None] * call["positional"], **keywords)
        else:
            sign.bind(*lead, *[None] * call["positional"], **keywords)
    except TypeError:
        return MISSING
    return THERE


def probe(request, progress):
    progress("importing the engine's modules one by one")
    cache = {}
    return {
        "imports": [_import(module, name, cache) for module, name in request["imports"]],
        "calls": [_call(call, cache) for call in request["calls"]],
        "attributes": [_attribute(path, cache) for path in request.get("attributes", [])],
    }
