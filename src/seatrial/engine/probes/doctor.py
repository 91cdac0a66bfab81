"""What of an installed stack may be broken without a word: plugins that do not load, files that overwrite each other.

Request: `{"device_packages": [...]}` (further distributions whose version is wanted). Answer: `StackAnswer` in
`seatrial.support.doctor.stack`. Every entry point is loaded by hand and its function called, as vLLM does, but the
exception is kept: vLLM only logs a failed load, and says nothing of a platform plugin whose function raises.
"""

import base64
import csv
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import sys
import traceback

PLATFORM = "vllm.platform_plugins"
GROUPS = (PLATFORM, "vllm.general_plugins")
# Hashing the whole of torch would take minutes: of files that two distributions claim, this many are compared.
MOST_HASHED = 200


def _line(exc):
    return type(exc).__name__ + ": " + " ".join(str(exc).split())


def _plugins(progress):
    chosen = os.environ.get("VLLM_PLUGINS")
    allowed = None if chosen is None else chosen.split(",")
    found = []
    for group in GROUPS:
        for entry in importlib.metadata.entry_points(group=group):
            record = {
                "group": group,
                "name": entry.name,
                "target": entry.value,
                "distribution": entry.dist.name if getattr(entry, "dist", None) else "",
                "state": "loaded",
                "answer": "",
                "error": "",
                "traceback": "",
                "file": "",
            }
            found.append(record)
            if allowed is not None and entry.name not in allowed:
                record["state"] = "not-selected"
                continue
            progress("loading plugin " + entry.name)
            try:
                function = entry.load()
                record["state"] = "raised"
                answer = function()
                record["state"] = "loaded" if group != PLATFORM or answer is not None else "declined"
                record["answer"] = answer if isinstance(answer, str) else ""
            except BaseException as exc:
                if isinstance(exc, KeyboardInterrupt):
                    raise
                traceback.print_exc()
                if record["state"] == "loaded":
                    record["state"] = "load-failed"
                record["error"] = _line(exc)
                record["traceback"] = traceback.format_exc()[-4000:]
            module = sys.modules.get(re.split(r"[:.]", entry.value)[0])
            record["file"] = getattr(module, "__file__", None) or ""
    return found


def _recorded(distribution):
    """Path to hash ("sha256=..." or "") for the files a wheel put there, without what installers write themselves."""
    text = distribution.read_text("RECORD")
    if not text:
        return None
    files = {}
    for row in csv.reader(text.splitlines()):
        if not row or row[0].endswith(".pyc") or ".dist-info/" in row[0]:
            continue
        path = os.path.normpath(str(distribution.locate_file(row[0])))
        files[path] = row[1] if len(row) > 1 else ""
    return files


def _hash(path):
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return "sha256=" + base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()


def _files(progress):
    """Pairs of distributions that claim the same files with other contents, and files that are recorded and gone."""
    progress("comparing the file lists of the installed distributions")
    claims, missing, unreadable = {}, [], []
    seen = set()
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"] or "?"
        where = (name, str(getattr(distribution, "_path", "")))
        if where in seen:
            continue
        seen.add(where)
        files = _recorded(distribution)
        if files is None:
            unreadable.append(name)
            continue
        gone = [path for path in files if not os.path.lexists(path)]
        if gone:
            missing.append({"distribution": name, "missing": len(gone), "of": len(files), "example": gone[0]})
        for path, recorded in files.items():
            claims.setdefault(path, []).append((name, recorded))
    pairs = {}
    for path, owners in claims.items():
        if len(owners) > 1 and len({recorded for _, recorded in owners}) > 1:
            key = tuple(sorted(name for name, _ in owners))
            pairs.setdefault(key, []).append((path, owners))
    overlaps = []
    for names, shared in sorted(pairs.items()):
        held = dict.fromkeys(names, 0)
        neither = compared = 0
        for path, owners in shared[:MOST_HASHED]:
            try:
                actual = _hash(path)
            except OSError:
                continue
            compared += 1
            matching = [name for name, recorded in owners if recorded == actual]
            neither += not matching
            for name in matching:
                held[name] += 1
        overlaps.append(
            {
                "distributions": list(names),
                "files": len(shared),
                "compared": compared,
                "as_recorded_by": held,
                "as_neither": neither,
                "example": shared[0][0],
            }
        )
    return overlaps, missing, sorted(set(unreadable))


def _versions(names):
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _triton():
    """Which triton `import triton` would give, without importing it."""
    try:
        spec = importlib.util.find_spec("triton")
    except ValueError:
        # A plugin has put a module of its own there, which has no spec.
        file = getattr(sys.modules.get("triton"), "__file__", None) or "made by a plugin"
        return {"present": True, "file": file, "backends": []}
    if spec is None:
        return {"present": False, "file": "", "backends": []}
    folders = list(spec.submodule_search_locations or [])
    backends = []
    for folder in folders:
        place = os.path.join(folder, "backends")
        if os.path.isdir(place):
            backends += [n for n in sorted(os.listdir(place)) if os.path.isdir(os.path.join(place, n)) and n[0] != "_"]
    return {"present": True, "file": spec.origin or "", "backends": backends}


def _utilization(progress):
    """vLLM's own default of --gpu-memory-utilization (it is not the same in every release), or why it is unknown."""
    progress("reading the engine's defaults")
    try:
        from vllm.config import CacheConfig
    except Exception as exc:  # an installation that is broken raises whatever it likes
        return None, "vllm.config cannot be imported: " + _line(exc)
    field = getattr(CacheConfig, "__dataclass_fields__", {}).get("gpu_memory_utilization")
    if field is None:
        return None, "this vLLM's CacheConfig has no field gpu_memory_utilization"
    default = getattr(field.default, "default", field.default)
    if isinstance(default, bool) or not isinstance(default, (int, float)):
        return None, "this vLLM's default of gpu_memory_utilization is no number: " + repr(default)[:80]
    return float(default), ""


def probe(request, progress):
    plugins = _plugins(progress)
    overlaps, missing, unreadable = _files(progress)
    share, why = _utilization(progress)
    return {
        "plugins": plugins,
        "overlaps": overlaps,
        "missing": missing,
        "without_record": unreadable,
        "versions": _versions(request.get("device_packages", [])),
        "triton": _triton(),
        "memory_utilization_default": share,
        "memory_utilization_unknown": why,
        "vllm_plugins": os.environ.get("VLLM_PLUGINS"),
    }
