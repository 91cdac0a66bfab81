"""What the scaffold tests share: one scaffold, and what the files it wrote say."""

from __future__ import annotations

import ast

from scaffold_sources import CONFIG, checkpoint, dense

from seatrial.adapter.scaffold.run import scaffold

MODEL = "vllm_harbour/models/harbour.py"
EVIL = '"""\nimport os; os.abort()\n"""\\'


def made(tmp_path, vllm, plugin, config=None, shapes=None, **more):
    folder = checkpoint(tmp_path / "checkpoint", {**CONFIG, **(config or {})}, shapes or dense())
    return scaffold(folder, vllm, plugin, **more)


def weights(text):
    tree = ast.parse(text)
    node = next(n for n in tree.body if isinstance(n, ast.AnnAssign) and n.target.id == "WEIGHTS")
    return ast.literal_eval(node.value)


def calls(text, name):
    return [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call) and ast.unparse(n.func) == name]


def questions(result):
    return [f.message for f in result.findings if f.code == "F001"]


def function(text, name, **names):
    """One function of a written file, run by itself: the file imports vLLM."""
    tree = ast.parse(text)
    kept = [n for n in tree.body if isinstance(n, (ast.FunctionDef, ast.AnnAssign, ast.Assign))]
    exec(compile(ast.Module([n for n in kept if "PACKED" not in ast.unparse(n)], []), name, "exec"), names)
    return names[name]
