"""Exceptions of the engine as plain data: type, message, the frames in engine code with their source lines."""

import linecache
import os
import sys

DEPTH = 12


def short_path(path):
    """The path from the site-packages (or other sys.path) folder that holds it on, so that it names the package."""
    best = ""
    for root in map(os.path.abspath, sys.path):
        if path.startswith(root + os.sep) and len(root) > len(best):
            best = root
    return path[len(best) + 1 :] if best else path


def place(filename, line, function):
    return {
        "file": short_path(filename),
        "line": line,
        "function": function,
        "source": linecache.getline(filename, line).strip(),
    }


def frames(exc):
    found = []
    step = exc.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        found.append((code.co_filename, step.tb_lineno, code.co_name, step.tb_frame))
        step = step.tb_next
    return found


def own(filename):
    return os.path.basename(filename).startswith("dry") and "probes" in filename


def describe(exc, stage):
    """`frames`: engine code only, outermost first; `at`: the innermost frame that is neither ours nor torch's."""
    stubs = sys.modules["seatrial_probe_dry"].sibling("dry_stubs")
    places = [place(f, n, name) for f, n, name, _ in frames(exc) if not own(f)]
    engine = [p for p in places if not p["file"].startswith(("torch/", "importlib", "pydantic", "<"))]
    return {
        "stage": stage,
        "type": type(exc).__module__ + "." + type(exc).__qualname__,
        "message": str(exc)[:4000],
        "at": engine[-1] if engine else (places[-1] if places else None),
        "frames": places[-DEPTH:],
        "tensor": -1,
        "parameter": "",
        "parameter_shape": [],
        "stub": stubs.lacking(exc),
        "absent": stubs.missing_module(exc),
    }
