"""What the triage says to every failure that an engine's or plugin's own sources can raise.

Usage: python bench/triage_raises.py FOLDER... [--show off|unknown|all] [--group NAME] [--json FILE]

FOLDER is a package (.../site-packages/vllm, .../vllm_ascend). Every `raise X("...")` and every `assert` of its files
becomes a small log: the engine's frames, the site's own frame with its source line, the message with its placeholders
filled in.
For the folders whose subject is one thing (EXPECT below) the answer must be one of the categories named there: an
answer outside of them is "off" and wants reading (a check in config/ may rightly be about LoRA). Elsewhere only the
share of answers is counted. This is no accuracy on real incidents: it finds texts that are answered wrongly or not.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from seatrial.triage import diagnose_text

HEAD = "(EngineCore_DP0 pid=243) ERROR 05-12 10:41:24 [core.py:843] "
SKIP = re.compile(r"/(?:tests?|benchmarks?|examples|third_party|_vendor|cpp_test)/|/collect_env\.py$")
CONFIG = {"config-validation", "feature-flag-unsupported", "cli-flag"}
QUANT = {"quant-unsupported", "dtype-unsupported", "weight-shape-mismatch", "kernel-limit"}
WEIGHTS = {
    "weights-missing", "weight-key-mismatch", "weight-shape-mismatch", "weights-silently-missing", "corrupt-weights",
    "weight-shape-mismatch-tp", "quant-unsupported",
}  # fmt: skip
MM = {"multimodal", "mm-processor-mismatch", "mm-encoder-cache"}
KV = {"kv-cache-init", "kv-cache-oom"}
# What a configuration check may rightly be about.
ASKED = {
    "lora", "mtp-speculative", "expert-parallel", "pipeline-parallel", "kv-transfer-pd", "structured-output",
    "tokenizer", "transformers-version", "architecture-not-registered", "attention-backend", "sleep-mode-race",
    "config-field-mismatch", "platform-plugin",
}  # fmt: skip
ATTN = {"attention-backend", "attention-backend-mla", "dtype-unsupported", "feature-flag-unsupported"}
# (name, path of the file, accepted categories). The first that fits counts.
EXPECT = (
    ("lora", r"/lora/|/punica", {"lora"}),
    ("structured output", r"/v1/structured_output/|guided_decoding", {"structured-output"}),
    ("kv transfer", r"/kv_transfer/|/kv_p2p/|/kv_pool/|/ec_transfer/",
     {"kv-transfer-pd", "optional-dependency", "mm-encoder-cache"}),
    ("speculative", r"/spec_decode/|config/speculative\.py|/speculators/", {"mtp-speculative", "config-validation"}),
    ("quantization", r"/quantization/", QUANT),
    ("eplb", r"/eplb/|eplb_\w+\.py", {"expert-parallel"}),
    ("mla", r"/mla_?\w*\.py|/mla/|sfa_\w+\.py|dsa_\w+\.py", ATTN),
    ("attention", r"/attention/", ATTN),
    ("config", r"/config/|arg_utils\.py|ascend_config\.py", CONFIG | QUANT | MM | ASKED),
    ("kv cache", r"kv_cache_utils\.py|kv_cache_interface\.py|kv_cache_coordinator|kv_cache_manager|kv_cache_spec", KV),
    ("multimodal", r"/multimodal/", MM | {"optional-dependency", "network-offline-hub"}),
    ("tokenizers", r"/tokenizers/", {"tokenizer", "optional-dependency", "chat-template-missing"}),
    ("weight loading", r"/model_loader/|weight_utils\.py",
     WEIGHTS | CONFIG | {"architecture-not-registered", "optional-dependency"}),
    ("allocator", r"/device_allocator/", {"sleep-mode-race", "missing-native-library"}),
    ("compilation", r"/compilation/|acl_graph|cuda_graph|/xlite/", {"graph-capture-failure", "config-validation"}),
    ("cpu binding", r"cpu_binding|numa", {"thread-binding"}),
    ("triton", r"/triton/|triton_\w+\.py", {"triton-kernel", "triton-missing", "attention-backend"}),
    ("collectives", r"/device_communicators/",
     {"collective-mismatch", "hccl-communication", "expert-parallel", "missing-native-library"}),
)  # fmt: skip


class Site(NamedTuple):
    path: str
    function: str
    line: int
    code: str
    exception: str
    message: str


def text_of(node: ast.expr | None) -> str | None:
    """The literal message with placeholders filled, or None when it is made at run time."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(v.value if isinstance(v, ast.Constant) else fill(v.value) for v in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = text_of(node.left), text_of(node.right)
        return left + right if left is not None and right is not None else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        found = text_of(node.func.value)
        return re.sub(r"\{[^}]*\}", "7", found) if found else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        found = text_of(node.left)
        return re.sub(r"%[sdr]", "7", found) if found else None
    return None


def fill(node: ast.expr) -> str:
    """A value of the kind that the expression's name promises."""
    name = ast.unparse(node).lower()
    for pattern, value in (
        (r"dtype", "torch.float16"),
        (r"path|file|dir", "/models/m"),
        (r"device", "npu:0"),
        (r"arch", "FooForCausalLM"),
        (r"__name__|type\(|class", "Foo"),
        (r"exc|err|\be\b", "something went wrong"),
        (r"shape|size\(\)", "torch.Size([2048, 512])"),
        (r"weight|param|prefix|layer_name|key", "model.layers.0.mlp.down_proj.weight"),
        (r"name|method|backend|mode|kind|model", "foo"),
    ):
        if re.search(pattern, name):
            return value
    return "7"


def sites(path: Path, shown: str) -> Iterator[Site]:
    """Every raise and assert inside a function of one file."""
    source = path.read_text(encoding="utf-8", errors="replace")
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return
    lines = source.splitlines()
    for function in ast.walk(tree):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for node in ast.walk(function):
            code = lines[node.lineno - 1].strip() if hasattr(node, "lineno") else ""
            if isinstance(node, ast.Assert):
                yield Site(shown, function.name, node.lineno, code, "AssertionError", text_of(node.msg) or "")
            elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
                message = text_of(node.exc.args[0]) if node.exc.args else ""
                if message is not None:
                    yield Site(shown, function.name, node.lineno, code, node.exc.func.id, message)
            elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name) and node.exc.id.endswith("Error"):
                yield Site(shown, function.name, node.lineno, code, node.exc.id, "")


def log_of(site: Site) -> str:
    """The log of a server that fails there."""
    first = (site.message.strip().splitlines() or [""])[0]
    return "\n".join(
        HEAD + line
        for line in (
            "EngineCore failed to start.",
            "Traceback (most recent call last):",
            '  File "/opt/venv/lib/python3.11/site-packages/vllm/v1/engine/core.py", line 834, in run_engine_core',
            "    engine_core = EngineCoreProc(*args, **kwargs)",
            f'  File "/opt/venv/lib/python3.11/site-packages/{site.path}", line {site.line}, in {site.function}',
            f"    {site.code}",
            f"{site.exception}: {first}" if first else site.exception,
        )
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--show", choices=("off", "unknown", "all"), help="list these sites")
    parser.add_argument("--group", default="", help="only this group of EXPECT, or `none` for sites outside of all")
    parser.add_argument("--messages", action="store_true", help="leave bare asserts and raises without a message out")
    parser.add_argument("--json", type=Path, help="write one row per site")
    given = parser.parse_args()
    table: dict[str, Counter[str]] = defaultdict(Counter)
    rows = []
    for folder in given.folders:
        for path in sorted(folder.rglob("*.py")):
            shown = f"{folder.name}/{path.relative_to(folder)}"
            if SKIP.search(f"/{shown}"):
                continue
            group, accepted = next(((n, c) for n, p, c in EXPECT if re.search(p, f"/{shown}")), ("none", set()))
            if given.group and group != given.group:
                continue
            seen = set()
            for site in sites(path, shown):
                key = (site.exception, site.message, site.code if not site.message else "")
                if key in seen or (given.messages and not site.message):
                    continue
                seen.add(key)
                answer = diagnose_text(log_of(site))
                verdict = (
                    "unknown" if answer.category == "unknown" else "answered" if not accepted
                    else "right" if answer.category in accepted else "off"
                )  # fmt: skip
                table[group][verdict] += 1
                rows.append({**site._asdict(), "group": group, "verdict": verdict, "answer": answer.category,
                             "signature": answer.signature})  # fmt: skip
                if given.show and given.show in {verdict, "all"}:
                    print(f"{verdict:<9}{answer.category:<26}{answer.signature:<24}{shown}:{site.function} "
                          f"{site.exception}: {(site.message or site.code)[:150]!r}")  # fmt: skip
    print(f"{'group':<20}{'sites':>7}{'right':>7}{'off':>6}{'unknown':>9}{'answered':>10}")
    for group in [*(n for n, _, _ in EXPECT if n in table), *(["none"] if "none" in table else [])]:
        count = table[group]
        total = sum(count.values())
        print(f"{group:<20}{total:>7}{count['right']:>7}{count['off']:>6}{count['unknown']:>9}"
              f"{(total - count['unknown']) / total:>10.0%}")  # fmt: skip
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
