"""A user's patch in the engine's worker: `patch(model, file)` puts it on, `unpatch(model)` undoes what it returned.

Run inside every rank; only plain data goes back, because the ranks are other processes.
"""

import importlib.util

UNDO = []


def patch(model, file):
    spec = importlib.util.spec_from_file_location("seatrial_patch", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    undo = module.patch(model)
    if callable(undo):
        UNDO.append(undo)
    return callable(undo)


def unpatch(model):
    while UNDO:
        UNDO.pop()()
