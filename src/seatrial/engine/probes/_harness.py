"""Runs probes inside the engine's interpreter: requests on standard input, news on a channel of their own.

Started as `python _harness.py CHANNEL_FD`. A line of standard input: `{"probe": FILE, "request": ..., "answer": FILE}`.
The answer (`{"ok": true, "answer": ...}` or `{"ok": false, "error": {...}}`) is written to the named file and then
announced on the channel as one JSON line; progress lines go there too. Standard output and error stay the engine's.
Stdlib only, Python 3.9 or later. `sys.path` is left as the engine's users have it, without this folder; a probe finds
the helpers beside it with `from seatrial_probes import NAME`.
"""

import importlib.util
import json
import os
import sys
import traceback


def _load(path):
    name = "seatrial_probe_" + os.path.basename(path).rsplit(".", 1)[0]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _write(path, document):
    temporary = path + ".tmp"
    with open(temporary, "w", encoding="utf-8", errors="backslashreplace") as stream:
        json.dump(document, stream, separators=(",", ":"))
    os.replace(temporary, path)


def _answer(line, tell):
    order = json.loads(line)
    try:
        module = _load(order["probe"])
        document = {
            "ok": True,
            "answer": module.probe(order["request"], lambda text: tell({"progress": str(text)})),
        }
        _write(order["answer"], document)
    except BaseException as exc:
        if isinstance(exc, KeyboardInterrupt):
            raise
        error = {
            "type": type(exc).__module__ + "." + type(exc).__qualname__,
            "message": str(exc),
            "traceback": traceback.format_exc(),
        }
        traceback.print_exc()
        _write(order["answer"], {"ok": False, "error": error})
    tell({"done": order["answer"]})


def main():
    channel_fd = int(sys.argv[1])
    os.set_inheritable(channel_fd, False)
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
    quiet = os.open(os.devnull, os.O_RDONLY)
    os.dup2(quiet, 0)
    os.close(quiet)
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != here]
    sys.argv[:] = ["seatrial-probe"]
    package = sys.modules["seatrial_probes"] = type(sys)("seatrial_probes")
    package.__path__ = [here]

    def tell(message):
        os.write(channel_fd, (json.dumps(message) + "\n").encode())

    for line in requests:
        if line.strip():
            _answer(line, tell)
    sys.stdout.flush()
    sys.stderr.flush()
    # The engine may have left threads or device runtimes behind that hang at exit; nothing of ours is pending.
    os._exit(0)


if __name__ == "__main__":
    main()
