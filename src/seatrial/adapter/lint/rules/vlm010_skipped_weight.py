"""VLM010: a loader that skips what it does not know and tells nobody who counts."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from seatrial.adapter.lint.file import LintFile, inside, last
from seatrial.adapter.lint.rule import Case, Hit, Rule

LOG_ONLY = {"warning", "warning_once", "error", "info", "debug", "print", "info_once"}


def check(node: ast.AST, file: LintFile) -> Iterator[Hit]:
    if not isinstance(node, ast.If):
        return
    function = file.function(node)
    if function is None or "load_weights" not in function.name:
        return
    if _absent(node.test):
        branch = node.body
    elif _present(node.test):
        branch = node.orelse
    else:
        return
    if _named(node, file):
        return
    calls = [n for s in branch for n in (s, *inside(s)) if isinstance(n, ast.Call)]
    logs = [c for c in calls if last(c.func) in LOG_ONLY]
    acts = any(isinstance(n, ast.Raise) for s in branch for n in (s, *inside(s)))
    others = [s for s in branch if not (isinstance(s, ast.Continue) or _is_log(s))]
    if logs and not acts and not others:
        yield Hit(logs[0], "a tensor without a parameter is logged and skipped: a wrong mapping goes unnoticed")


def _absent(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.NotIn) and _parameters(test.comparators[0])


def _present(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.In) and _parameters(test.comparators[0])


def _parameters(node: ast.expr) -> bool:
    """`params_dict`, `self.params`, `params_dict.keys()`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "keys":
        node = node.func.value
    return "param" in last(node)


def _named(node: ast.If, file: LintFile) -> bool:
    """Whether a test above names the exception: `if name.endswith("kv_scale"):`, `if "rotary_emb.inv_freq" in name:`."""
    below: ast.AST = node
    for above in file.ancestors(node):
        if isinstance(above, (ast.For, ast.FunctionDef)):
            return False
        if isinstance(above, ast.If) and below in above.body and _says_which(above.test):
            return True
        below = above
    return False


def _says_which(test: ast.expr) -> bool:
    for part in (test, *inside(test)):
        if isinstance(part, ast.Call) and last(part.func) in ("endswith", "startswith"):
            return bool(part.args) and any(isinstance(n, ast.Constant) for n in (part.args[0], *inside(part.args[0])))
        if isinstance(part, ast.Compare) and isinstance(part.ops[0], ast.In) and isinstance(part.left, ast.Constant):
            return True
    return False


def _is_log(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and last(node.value.func) in LOG_ONLY


def _case(body: str, hits: tuple[int, ...] = ()) -> Case:
    code = "class M:\n    def load_weights(self, weights):\n        params_dict = dict(self.named_parameters())\n"
    return Case(code=f"{code}        for name, w in weights:\n{body}", hits=hits)


_LOAD = "            params_dict[name].weight_loader(params_dict[name], w)\n"

RULE = Rule(
    code="VLM010",
    name="skipped-weight",
    summary="`load_weights` logs and skips a tensor it has no parameter for.",
    why="A wrong mapping then shows as garbage output instead of an error; the dummy gate cannot see it, because "
    "`--load-format dummy` never calls the loader.",
    mend="Raise, or name the known exceptions (`if name.endswith('.bias')`) and skip only those.",
    nodes=(ast.If,),
    check=check,
    needles=(b"load_weights",),
    good=(
        _case(f"            if name not in params_dict:\n                raise KeyError(name)\n{_LOAD}"),
        _case(f'            if name.endswith(".bias") and name not in params_dict:\n                continue\n{_LOAD}'),
        _case(f"            if is_pp_missing_parameter(name, self):\n                continue\n{_LOAD}"),
        _case(
            "            if name not in params_dict:\n                logger.warning('%s', name)\n"
            f"                missing.append(name)\n                continue\n{_LOAD}"
        ),
        _case(
            '            if name.endswith("kv_scale"):\n                remapped = name.replace(".kv_scale", ".attn.kv_scale")\n'
            "                if remapped not in params_dict:\n                    logger.warning_once('%s is not loaded', name)\n"
            f"                    continue\n                name = remapped\n{_LOAD}"
        ),
        _case(
            '            if is_fp8 and "k_proj.kv_cache_scale" in name:\n                if name not in params_dict:\n'
            f"                    logger.warning_once('no place for %s', name)\n                    continue\n{_LOAD}"
        ),
    ),
    bad=(
        _case(
            "            if name not in params_dict:\n                logger.warning_once('%s, skip loading', name)\n"
            f"                continue\n{_LOAD}",
            hits=(6,),
        ),
        _case(
            "            if name not in params_dict.keys():\n                print(name)\n                continue\n"
            "            if name not in params_dict:\n                print('skip', name)\n                continue\n"
            + _LOAD,
            hits=(6, 9),
        ),
        _case(
            "            if name in params_dict:\n                self.load(params_dict[name], w)\n"
            "            else:\n                logger.warning('Parameter %s not found', name)\n",
            hits=(8,),
        ),
        _case(
            f"            if name not in self.params:\n                logger.info('no %s', name)\n                continue\n{_LOAD}",
            hits=(6,),
        ),
        _case(
            "            if weight_name in name:\n                if name not in params_dict:\n"
            "                    logger.warning_once('%s, skip loading', name)\n                    continue\n" + _LOAD,
            hits=(7,),
        ),
    ),
)
