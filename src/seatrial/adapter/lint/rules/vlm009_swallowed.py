"""VLM009: a hook or a loader that swallows every error."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from seatrial.adapter.lint.file import LintFile, caught_names, inside, last
from seatrial.adapter.lint.rule import Case, Hit, Rule

# Functions in which a failure that nobody sees makes the engine run something else than was written.
HOOKS = re.compile(r"(?:^|_)(?:import|imports|register|patch|patches|apply)(?:_|$)")
LOADERS = re.compile(r"load_weights|weight_loader|load_model")
LOADS = re.compile(r"load|copy_|get_slice|get_tensor|safe_open")
SAYS = {"warning", "warning_once", "error", "exception", "critical", "info", "info_once", "debug", "print", "warn"}


def check(node: ast.AST, file: LintFile) -> Iterator[Hit]:
    if not isinstance(node, ast.ExceptHandler) or not caught_names(node.type) & {"Exception", "BaseException"}:
        return
    function = file.function(node)
    where = function.name if function is not None else ""
    hooked = bool(HOOKS.search(where)) or (not where and "patch" in file.path)
    tried = file.parent(node)
    if LOADERS.search(where):
        if not (_loads(tried) or _puts_in_place(tried)):
            return
    elif not (hooked and _puts_in_place(tried)):
        return
    body = [n for statement in node.body for n in (statement, *inside(statement))]
    told = any(isinstance(n, ast.Raise) or (isinstance(n, ast.Call) and last(n.func) in SAYS) for n in body)
    used = node.name is not None and any(isinstance(n, ast.Name) and n.id == node.name for n in body)
    idle = all(isinstance(s, (ast.Pass, ast.Continue, ast.Return)) or _is_ellipsis(s) for s in node.body)
    if idle and not told and not used:
        place = f"{where}()" if where else "a patch module"
        yield Hit(node, f"{place} swallows every exception: what failed here goes unnoticed")


def _puts_in_place(node: ast.AST | None) -> bool:
    """Whether what was tried is an import or sets something elsewhere; a parser's fallback is none of that."""
    tried = [n for s in getattr(node, "body", []) for n in (s, *inside(s))]
    for part in tried:
        if isinstance(part, (ast.Import, ast.ImportFrom)):
            return True
        if isinstance(part, ast.Call) and last(part.func) in ("import_module", "__import__", "setattr", "exec"):
            return True
        if isinstance(part, ast.Call) and "register" in last(part.func):
            return True
    return False


def _loads(node: ast.AST | None) -> bool:
    """Whether what was tried loads anything; a summary that is logged after the weights is none of that."""
    tried = [n for s in getattr(node, "body", []) for n in (s, *inside(s))]
    return any(isinstance(n, ast.Call) and LOADS.search(last(n.func)) for n in tried)


def _is_ellipsis(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and not isinstance(node.value.value, int)


def _case(name: str, handler: str, hits: tuple[int, ...] = ()) -> Case:
    code = f"import importlib\n\n\ndef {name}(module_name):\n    try:\n        importlib.import_module(module_name)\n{handler}"
    return Case(code=code, hits=hits)


RULE = Rule(
    code="VLM009",
    name="swallowed-exception",
    summary="An import hook, patch, registration or loader swallows every exception.",
    why="A replacement that fails to import is then silently not used: the engine runs vLLM's own module and only a wrong "
    "result tells. vLLM-Kunlun's import hook lost two of its seven mappings this way.",
    mend="Catch what you expect (ImportError), log it with the module's name, and let the rest through.",
    nodes=(ast.ExceptHandler,),
    check=check,
    needles=(b"except",),
    good=(
        _case("_custom_import", "    except ImportError:\n        pass\n"),
        _case("_custom_import", "    except Exception as exc:\n        logger.warning('%s: %s', module_name, exc)\n"),
        _case("register", "    except Exception:\n        raise RuntimeError(module_name)\n"),
        _case("probe_version", "    except Exception:\n        pass\n"),
        _case("_apply_patch", "    except Exception as exc:\n        failures.append(exc)\n"),
        Case(
            code="def load_weights(self, weights):\n    loaded = self.loader.load_weights(weights)\n    try:\n"
            "        self.logger.info('%d bytes', sum(p.numel() for p in self.parameters()))\n"
            "    except Exception:\n        pass\n    return loaded\n"
        ),
    ),
    bad=(
        _case("_custom_import", "    except Exception:\n        pass\n", hits=(7,)),
        _case("import_hook", "    except:  # noqa: E722\n        return None\n", hits=(7,)),
        _case("register_ops", "    except (ImportError, Exception):\n        ...\n", hits=(7,)),
        _case("load_weights", "    except BaseException:\n        return set()\n", hits=(7,)),
        Case(
            code="def load_weights(self, weights):\n    for name, weight in weights:\n        try:\n"
            "            self.parameters[name].weight_loader(weight)\n        except Exception:\n            continue\n",
            hits=(5,),
        ),
        Case(
            code="try:\n    import plug.ops\nexcept Exception:\n    pass\n",
            hits=(3,),
            path="plug/patch/worker/patch_ops.py",
        ),
    ),
)
