"""Which operators a forward calls, read from source: what is certain, what is behind a condition, what is missing."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import textwrap
import types

import pytest

from seatrial.core.verdict import Verdict
from seatrial.dryrun.account import DryAccount, Sums
from seatrial.dryrun.raw import OpCall, SourcePlace
from seatrial.dryrun.rules import findings
from seatrial.dryrun.run import judge
from seatrial.engine.border import PROBES

# The words of torch that the reader knows, without torch: modules hold modules, operators are asked of a namespace.
ENGINE = """
class Module:
    def __init__(self, **held):
        self._modules = {k: v for k, v in held.items() if isinstance(v, Module)}
        self.__dict__.update({k: v for k, v in held.items() if not isinstance(v, Module)})

class ModuleList(Module):
    def __init__(self, modules):
        super().__init__(**{str(i): m for i, m in enumerate(modules)})

def helper(x):
    return torch.ops.lib.helped(x)
"""


class _OpNamespace:
    def __init__(self, name):
        self.name = name


class _Ops:
    def __init__(self):
        self.lib = _OpNamespace("lib")


for _kind in (_OpNamespace, _Ops):
    _kind.__module__ = "torch._ops"


@pytest.fixture
def probe(monkeypatch):
    spec = importlib.util.spec_from_file_location("seatrial_probe_dry", PROBES / "dry.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "seatrial_probe_dry", module)
    spec.loader.exec_module(module)
    yield module
    for name in [n for n in sys.modules if n.startswith("seatrial_probe_dry_")]:
        del sys.modules[name]


@pytest.fixture
def read(probe, tmp_path):
    """Runs the source, reads its `model`, gives operator -> whether it is certain."""

    def run(source, state=lambda name: "present", layers=None):
        file = tmp_path / "engine.py"
        file.write_text(ENGINE + textwrap.dedent(source))
        scope = {"torch": types.SimpleNamespace(ops=_Ops()), "__name__": "engine_under_test"}
        module = types.ModuleType("engine_under_test")
        module.__dict__.update(scope)
        module.__file__ = str(file)
        sys.modules[module.__name__] = module
        try:
            exec(compile(file.read_text(), str(file), "exec"), module.__dict__)
            found = {}

            def tell(name, certain, at, asker):
                found[name] = found.get(name, False) or certain

            reader = probe.sibling("dry_reader").Reader(
                ours=lambda name: name == str(file),
                found=tell,
                layers=layers or {},
                state=state,
                functions=lambda name: None,
            )
            reader.read(module.model)
            return found
        finally:
            del sys.modules[module.__name__]

    return run


def test_calls_are_followed_through_modules_methods_functions_and_held_objects(read):
    found = read("""
        class Method:
            def apply(self, layer, x):
                return torch.ops.lib.gemm(x, layer.weight)

        class Linear(Module):
            def forward(self, x):
                return self.quant_method.apply(self, x)

        class Model(Module):
            def forward(self, x):
                x = self._first(x)
                return helper(self.proj(x))

            def _first(self, x):
                return torch.ops.lib.norm.default(x)

        model = Model(proj=Linear(quant_method=Method()))
    """)
    assert found == {"lib::norm": True, "lib::gemm": True, "lib::helped": True}


def test_what_the_built_model_decides_leaves_one_branch_and_the_rest_is_not_certain(read):
    found = read("""
        class Model(Module):
            def forward(self, x, residual=None):
                if self.fused:
                    torch.ops.lib.fused(x)
                else:
                    torch.ops.lib.plain(x)
                if residual is None:
                    torch.ops.lib.first(x)
                if x.shape[0] > 4:
                    torch.ops.lib.wide(x)
                torch.ops.lib.always(x)
                if not x.is_contiguous():
                    raise ValueError("strided")
                torch.ops.lib.after_a_guard(x)
                if x.numel() == 0:
                    return x
                return torch.ops.lib.after_a_return(x)

        model = Model(fused=False)
    """)
    sure = {"lib::plain", "lib::first", "lib::always", "lib::after_a_guard"}
    assert {n for n, certain in found.items() if certain} == sure
    assert {n for n, certain in found.items() if not certain} == {"lib::wide", "lib::after_a_return"}


def test_the_dispatch_that_the_built_operator_holds_is_followed(read):
    found = read("""
        class Norm(Module):
            def __init__(self, **held):
                super().__init__(**held)
                self._forward_method = self.forward_oot

            def forward(self, *args, **kwargs):
                return self._forward_method(*args, **kwargs)

            def forward_native(self, x, residual=None):
                return torch.ops.lib.native(x)

            def forward_oot(self, x, residual=None):
                if residual is not None:
                    return torch.ops.lib.added(x, residual)
                return torch.ops.lib.alone(x)

        class Model(Module):
            def forward(self, x):
                return self.norm(x)

        model = Model(norm=Norm())
    """)
    assert found == {"lib::alone": True}


def test_an_attribute_that_changes_after_loading_decides_nothing(read):
    found = read("""
        class Model(Module):
            def __init__(self):
                super().__init__()
                self.kernel = None

            def process_weights_after_loading(self):
                self.kernel = object()

            def forward(self, x):
                if self.kernel is None:
                    return torch.ops.lib.slow(x)
                return torch.ops.lib.fast(x)

        model = Model()
    """)
    assert found == {"lib::slow": False, "lib::fast": False}


def test_what_is_kept_for_the_forward_while_weights_are_processed_may_be_called(read, probe):
    source = """
        class Kernel:
            def __call__(self, x):
                return torch.ops.lib.moe(x)

        class Model(Module):
            def process_weights_after_loading(self, layer):
                layer.one = lambda x: torch.ops.lib.gemm(x)
                layer.two = helper
                layer.three = Kernel()

            def forward(self, x):
                return self.one(x)

        class Root(Module):
            def forward(self, x):
                return self.inner.process_weights_after_loading(self)

        model = Root(inner=Model())
    """
    assert read(source) == {"lib::gemm": False, "lib::helped": False, "lib::moe": False}


def test_layers_are_gone_through_and_the_second_sees_what_the_first_gave(read):
    found = read("""
        from itertools import islice

        class Layer(Module):
            def forward(self, x, residual):
                if residual is None:
                    x = torch.ops.lib.norm(x)
                    residual = x
                else:
                    x, residual = torch.ops.lib.add_norm(x, residual), residual
                return x, residual

        class Model(Module):
            def forward(self, x):
                residual = None
                for index, layer in enumerate(islice(self.layers, self.first, 3), start=self.first):
                    x, residual = layer(x, residual)
                return x

        model = Model(layers=ModuleList([Layer(), Layer(), Layer()]), first=0)
    """)
    assert found == {"lib::norm": True, "lib::add_norm": True}


@pytest.mark.parametrize(("state", "called"), [("present", "new"), ("missing", "old")])
def test_code_that_asks_for_an_operator_is_answered_by_the_registry(read, state, called):
    source = """
        class Model(Module):
            def forward(self, x):
                if hasattr(torch.ops.lib, "new"):
                    return torch.ops.lib.new(x)
                return torch.ops.lib.old(x)

        model = Model()
    """
    assert read(source, state=lambda name: state) == {f"lib::{called}": True}


def test_a_function_that_calls_itself_ends(read):
    found = read("""
        class Model(Module):
            def forward(self, x, depth=3):
                torch.ops.lib.step(x)
                return self.forward(x, depth) if depth else x

        model = Model()
    """)
    assert found["lib::step"] is True


@pytest.mark.parametrize(
    ("body", "called"),
    [
        # A list that was changed holds anything: neither branch is the certain one.
        ("""
         outs = []
         if x.flag:
             outs.append(x)
         if outs:
             return torch.ops.lib.filled(x)
         return torch.ops.lib.empty(x)
         """, {"filled": False, "empty": False}),
        ("""
         outs = []
         for part in x.parts:
             outs.append(part)
         if len(outs) == 0:
             torch.ops.lib.empty(x)
         else:
             torch.ops.lib.filled(x)
         """, {"filled": False, "empty": False}),
        ("""
         held = [None, None]
         held[0] = x
         if held[0] is None:
             torch.ops.lib.none(x)
         else:
             torch.ops.lib.some(x)
         """, {"none": False, "some": False}),
        ("""
         self.pending.append(x)
         if self.pending:
             torch.ops.lib.some(x)
         else:
             torch.ops.lib.none(x)
         """, {"none": False, "some": False}),
        # `a or b` is a's value where a is not known; only the test of it is decided.
        ("""
         mode = x.mode or "plain"
         if mode == "plain":
             torch.ops.lib.plain(x)
         else:
             torch.ops.lib.other(x)
         if mode:
             torch.ops.lib.always(x)
         """, {"plain": False, "other": False, "always": True}),
        ("""
         y = x.mode and None
         if y is None:
             torch.ops.lib.none(x)
         else:
             torch.ops.lib.other(x)
         """, {"none": False, "other": False}),
        # What an uncertain body assigns may not have been assigned.
        ("""
         fast = True
         try:
             x.check()
         except ValueError:
             fast = False
         if fast:
             torch.ops.lib.fast(x)
         else:
             torch.ops.lib.slow(x)
         """, {"fast": False, "slow": False}),
        ("""
         mode = "first"
         for part in x.parts:
             mode = "later"
         if mode == "first":
             torch.ops.lib.first(x)
         else:
             torch.ops.lib.later(x)
         """, {"first": False, "later": False}),
        ("""
         done = False
         def mark():
             nonlocal done
             done = True
         mark()
         if done:
             torch.ops.lib.done(x)
         else:
             torch.ops.lib.open(x)
         """, {"done": False, "open": False}),
        # What is behind a return in a try is reached by its handlers.
        ("""
         try:
             return torch.ops.lib.fast(x)
         except RuntimeError:
             pass
         return torch.ops.lib.slow(x)
         """, {"fast": False, "slow": False}),
        ("""
         while self.off:
             torch.ops.lib.loop(x)
         torch.ops.lib.after(x)
         """, {"after": True}),
        # A list of no modules is false, as torch has it; one function with two numbers is two calls.
        ("""
         if self.none:
             torch.ops.lib.extra(x)
         for i in range(2):
             if kind(i) == "full":
                 torch.ops.lib.full(x)
             else:
                 torch.ops.lib.window(x)
         """, {"full": True, "window": True}),
    ],
)  # fmt: skip
def test_nothing_is_certain_that_only_one_way_through_the_code_calls(read, body, called):
    source = """
ModuleList.__len__ = lambda self: len(self._modules)

def kind(number):
    return "full" if number == 0 else "window"

class Model(Module):
    def forward(self, x):
BODY

model = Model(pending=[], off=False, none=ModuleList([]))
"""
    found = read(source.replace("BODY", textwrap.indent(textwrap.dedent(body), "        ")))
    assert found == {f"lib::{name}": certain for name, certain in called.items()}


def test_temporary_values_at_one_place_of_memory_are_told_apart(read):
    found = read("""
        def kind(pair):
            return pair[0]

        class Model(Module):
            def forward(self, x):
                if kind(("full", 1)) == "full":
                    torch.ops.lib.full(x)
                if kind(("window", 1)) == "window":
                    torch.ops.lib.window(x)

        model = Model()
    """)
    assert found == {"lib::full": True, "lib::window": True}


def test_no_function_of_the_standard_library_makes_the_reader_raise(probe):
    reader = probe.sibling("dry_reader").Reader(
        ours=lambda name: True, found=lambda *a: None, layers={}, state=lambda n: "unknown", functions=lambda n: None
    )
    parser = argparse.ArgumentParser()
    for thing in (parser, json.JSONDecoder(), json.JSONEncoder(), textwrap.TextWrapper()):
        for name in dir(type(thing)):
            if isinstance(getattr(type(thing), name, None), types.FunctionType):
                reader.read(thing, name, certain=False)


def test_operators_that_a_plugin_binds_in_cpp_are_read_with_their_namespace(probe, tmp_path):
    (tmp_path / "csrc" / "third_party").mkdir(parents=True)
    (tmp_path / "plugin").mkdir()
    (tmp_path / "csrc" / "bind.cpp").write_text(
        'TORCH_LIBRARY_EXPAND(CONCAT(_C, _dev), ops)\n{\n  ops.def(\n    "norm(Tensor x) -> Tensor");\n'
        '  ops.def("gemm", &gemm);\n}\nTORCH_LIBRARY(other, m) { m.def("gemm(Tensor x) -> Tensor"); }\n'
    )
    (tmp_path / "csrc" / "third_party" / "x.cpp").write_text('TORCH_LIBRARY(theirs, m) { m.def("x() -> ()"); }\n')
    found = probe.sibling("dry_ops").bindings(str(tmp_path / "plugin") + "/")
    assert set(found) == {"_C_dev::norm", "_C_dev::gemm", "other::gemm"}
    assert found["_C_dev::norm"].replace("\\", "/") == "csrc/bind.cpp:3"


@pytest.fixture
def registry(probe, monkeypatch, tmp_path):
    """A registry over a torch that has one compiled library, `_C`, and one operator registered in Python."""
    torch = types.ModuleType("torch")
    torch._C = types.SimpleNamespace(_dispatch_get_all_op_names=lambda: ["_C::norm", "_C::gemm.out", "vllm::attend"])
    torch.library = types.SimpleNamespace(_defs={"vllm::attend"})
    monkeypatch.setitem(sys.modules, "torch", torch)
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "late.py").write_text('direct_register_custom_op(op_name="late_op", op_func=f)\n')
    probe.sibling("dry_errors")

    def make(stubs=None):
        return probe.sibling("dry_ops").Registry(stubs, [str(tmp_path / "engine") + "/"])

    return make


def test_an_operator_is_missing_only_where_a_library_of_its_namespace_is_loaded(registry):
    state = registry().state
    assert state("_C::norm")[0] == state("_C::gemm")[0] == state("vllm::attend")[0] == "present"
    assert state("_C::gone")[0] == state("vllm::gone")[0] == "missing"
    assert state("_moe_C::topk")[0] == "unknown"
    assert state("vllm::late_op")[0] == "present"


def test_behind_stubs_the_engines_own_library_is_not_the_devices(registry):
    stubs = {"plugin": "p", "engine_library": "none"}
    assert registry(stubs).state("_C::norm")[0] == "missing"
    assert registry({**stubs, "engine_library": ""}).state("_C::norm")[0] == "unknown"
    assert registry(stubs).state("vllm::attend")[0] == "present"
    assert registry(stubs).state("device_lib.norm")[0] == "unknown"


def _account(**calls):
    sums = Sums(
        tensors=1, bytes_in=2, bytes_placed=2, bytes_elsewhere=0, bytes_dropped=0, bytes_unexplained=0, parameters=1
    )
    return DryAccount(schema_version=1, tp=1, pp=1, ep=False, names_only=False, sums=sums, calls=calls)


@pytest.mark.parametrize(
    ("state", "certain", "code", "verdict"),
    [
        ("missing", True, "D029", Verdict.FAIL),
        ("missing", False, "D030", Verdict.PASS),
        ("unknown", True, "", Verdict.PASS),
        ("present", True, "", Verdict.PASS),
    ],
)
def test_a_missing_operator_fails_the_run_only_if_it_is_certainly_called(state, certain, code, verdict):
    place = SourcePlace(file="engine/norm.py", line=7, function="forward", source="torch.ops.lib.norm(x)")
    account = _account(norm=OpCall(state=state, why="not there", certain=certain, at=place, asker="engine.Norm"))
    found = findings(account)
    assert [f.code for f in found] == [code] * bool(code)
    assert all("engine/norm.py:7" in f.message for f in found)
    assert judge(account, found).verdict is verdict
