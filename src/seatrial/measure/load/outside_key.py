"""How an outside tool is told a service's key, so that it is in no command line, record or file that stays.

In: a tool's command. Out: the command with a mark where the key goes, which a few lines of Python replace inside the
tool's own process, from its environment. What the tool writes is looked through for the key afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from seatrial.core.secrets import REDACTED

LARGEST = 64 << 20
KEY_ENV, KEY_WORD = "OPENAI_API_KEY", "{KEY}"
# Runs a tool's own program with the key in the place of its mark; only then is the key an argument, inside the process.
SHIM = f"""import os, runpy, sys
key, kind, name = os.environ["{KEY_ENV}"], *sys.argv[1:3]
sys.argv = [name, *(word.replace("{KEY_WORD}", key) for word in sys.argv[3:])]
if kind == "-m":
    runpy.run_module(name, run_name="__main__", alter_sys=True)
else:
    runpy.run_path(name, run_name="__main__")
"""


def keyed(tool: str, python: Path, argv: list[str]) -> list[str]:
    """The command of a tool that is told a key: where the key goes stands a mark until the process runs."""
    if tool == "vllm":
        # It reads the variable by itself.
        return argv
    if tool == "evalscope":
        return [str(python), "-c", SHIM, "-m", argv[2], *argv[3:], "--api-key", KEY_WORD]
    if tool == "guidellm":
        backend = argv.index("--backend") + 1
        told = [*argv[:backend], f"{argv[backend]},api_key={KEY_WORD}", *argv[backend + 1 :]]
        return [str(python), "-c", SHIM, "-f", *told]
    return [str(python), "-c", SHIM, "-f", *argv, "--api-key", KEY_WORD]


def hide_key(key: str, files: Iterable[Path]) -> None:
    """Take the key out of what a tool wrote, also as JSON has it; a file that holds none is not touched."""
    forms = {key.encode(), json.dumps(key)[1:-1].encode()}
    for file in files:
        if not file.is_file() or file.stat().st_size > LARGEST:
            continue
        data = found = file.read_bytes()
        for form in forms:
            found = found.replace(form, REDACTED.encode())
        if found != data:
            file.write_bytes(found)
