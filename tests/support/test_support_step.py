"""The step `support`, with the real probe in a real interpreter, against a small package `vllm`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support_fake_engine import write_engine

from seatrial.core.finding import Severity
from seatrial.core.record import from_json, to_json
from seatrial.core.verdict import Verdict
from seatrial.engine.border import ProbeSession
from seatrial.platforms.stubs import StubbedModule, Stubs
from seatrial.support import SupportFacts, support

OWN_CLASS = (
    "def register():\n"
    "    from vllm.model_executor.models.registry import ModelRegistry\n"
    "    ModelRegistry.register_model('GoodForCausalLM', 'fake_plugin:Mine')\n"
    "class Mine:\n    supports_pp = False\n"
)
ENTRY = "[vllm.general_plugins]\nfake = fake_plugin:register\n"


@pytest.fixture
def ask(tmp_path):
    def run(*architectures, plugin="", entry_points="", env=None, **facts):
        folder = write_engine(tmp_path / "engine", plugin, entry_points)
        variables = {"PYTHONPATH": str(folder), **(env or {})}
        with ProbeSession(Path(sys.executable), log=tmp_path / "probe.log", env=variables) as session:
            return support(architectures, session=session, **facts)

    return run


def codes(result):
    return [f.code for f in result.findings]


def test_a_registered_class_that_imports_passes_as_case_a(ask):
    result = ask("GoodForCausalLM")
    assert result.outcome.verdict is Verdict.PASS
    facts = result.facts
    assert facts.served_by.class_path == "vllm.model_executor.models.good:GoodForCausalLM"
    assert (facts.served_by.owner, facts.case.case.value, facts.road) == ("vllm", "A", "native")
    assert facts.served_by.info == {"supports_pp": True, "supports_lora": False}
    assert result.findings == ()
    assert from_json(SupportFacts, to_json(facts), where="test") == facts


def test_a_registered_class_that_does_not_import_fails_with_the_import_error(ask):
    result = ask("BrokenForCausalLM")
    assert result.outcome.verdict is Verdict.FAIL
    assert "cannot import name 'Gone'" in result.outcome.reason
    assert codes(result) == ["S005"]
    assert result.findings[0].severity is Severity.ERROR


def test_the_second_architecture_serves_when_the_first_is_unknown(ask):
    result = ask("UnheardOfForCausalLM", "GoodForCausalLM")
    assert result.outcome.verdict is Verdict.PASS
    assert result.facts.served_by.architecture == "GoodForCausalLM"
    assert codes(result) == ["S014"]


def test_a_platform_that_refuses_the_architecture_fails(ask):
    result = ask("OddForCausalLM")
    assert result.outcome.verdict is Verdict.FAIL
    assert "not on this platform" in result.outcome.reason


def test_states_of_their_own_for_previously_supported_and_out_of_tree(ask):
    assert codes(ask("OldForCausalLM")) == ["S010"]
    away = ask("AwayModel")
    assert codes(away) == ["S011"]
    assert "away-plugin" in away.outcome.reason


def test_a_task_head_is_served_through_the_causal_class_it_is_converted_from(ask):
    result = ask("GoodForSequenceClassification")
    assert result.outcome.verdict is Verdict.PASS
    assert result.facts.served_by.converted_from == "GoodForCausalLM"


def test_only_the_transformers_backend_is_a_pass_that_says_so(ask):
    result = ask("WrappedForCausalLM")
    assert (result.outcome.verdict, result.facts.road) == (Verdict.PASS, "transformers-backend")
    assert codes(result) == ["S012"]


def test_remote_code_is_inconclusive_and_never_run(ask):
    result = ask("UnheardOfForCausalLM", remote_code=True)
    assert result.outcome.verdict is Verdict.INCONCLUSIVE
    assert codes(result) == ["S013"]


@pytest.mark.parametrize(
    ("name", "facts", "case"),
    [
        ("NewForCausalLM", {}, "B"),
        ("GoodMoeForCausalLM", {"has_experts": True}, "C"),
        ("NewMoeForCausalLM", {"has_experts": True}, "B"),
        ("NewForConditionalGeneration", {"is_multimodal": True}, "D"),
    ],
)
def test_the_case_of_an_unregistered_architecture(ask, name, facts, case):
    result = ask(name, **facts)
    assert result.outcome.verdict is Verdict.FAIL
    assert result.facts.case.case.value == case


def test_a_plugins_overwrite_is_named_with_its_owner(ask):
    result = ask("GoodForCausalLM", plugin=OWN_CLASS, entry_points=ENTRY)
    state = result.facts.served_by
    assert (state.owner, state.class_path) == ("fake", "fake_plugin:Mine")
    assert state.upstream_class_path == "vllm.model_executor.models.good:GoodForCausalLM"
    assert codes(result) == ["S008"]
    assert result.facts.plugins[0].registered == ("GoodForCausalLM",)


def test_a_plugin_left_out_by_the_environment_registers_nothing(ask):
    result = ask("GoodForCausalLM", plugin=OWN_CLASS, entry_points=ENTRY, env={"VLLM_PLUGINS": "other"})
    assert result.facts.served_by.owner == "vllm"
    assert result.facts.plugins[0].state == "not-selected"


def test_an_entry_point_that_names_nothing_is_a_warning_when_the_model_is_served_anyway(ask):
    entry = "[vllm.general_plugins]\nghost = fake_plugin:absent\n"
    result = ask("GoodForCausalLM", plugin="x = 1\n", entry_points=entry)
    assert result.outcome.verdict is Verdict.PASS
    assert [(f.code, f.severity) for f in result.findings] == [("S004", Severity.WARNING)]


def test_an_unregistered_architecture_beside_a_plugin_that_failed_is_inconclusive(ask):
    result = ask("NewForCausalLM", plugin="import nowhere\n", entry_points=ENTRY)
    assert result.outcome.verdict is Verdict.INCONCLUSIVE
    assert "S004" in codes(result)


def test_a_plugin_that_raises_when_called_fails_the_step(ask):
    result = ask("GoodForCausalLM", plugin="def register(): raise RuntimeError('no device')\n", entry_points=ENTRY)
    assert result.outcome.verdict is Verdict.FAIL
    assert "S003" in codes(result)


def test_an_engine_that_cannot_be_imported_is_inconclusive_with_the_error(tmp_path):
    with ProbeSession(Path(sys.executable), log=tmp_path / "p.log", env={"PYTHONPATH": str(tmp_path)}) as session:
        result = support(("GoodForCausalLM",), session=session)
    assert result.outcome.verdict is Verdict.INCONCLUSIVE
    assert "No module named 'vllm'" in result.outcome.reason
    assert result.commands[0].argv[0] == sys.executable


def test_no_architecture_at_all_is_inconclusive_and_names_the_key(ask):
    result = ask()
    assert (result.outcome.verdict, codes(result)) == (Verdict.INCONCLUSIVE, ["S001"])
    assert "architectures" in result.findings[0].place


BESIDE_A_DEVICE = (
    "import fakedev.rt\n"
    "def register():\n"
    "    from vllm.model_executor.models.registry import ModelRegistry\n"
    "    ModelRegistry.register_model('DeviceForCausalLM', 'fake_plugin:Mine')\n"
    "class Mine:\n    supports_pp = True\n    kernel = fakedev.rt.launch\n"
)


def test_what_only_a_plugin_registers_is_seen_without_its_device_through_the_stubs_of_the_dry_run(ask):
    bare = ask("DeviceForCausalLM", plugin=BESIDE_A_DEVICE, entry_points=ENTRY)
    assert bare.outcome.verdict is Verdict.INCONCLUSIVE
    assert "plugin fake did not load" in bare.outcome.reason
    stubs = Stubs(
        schema_version=1,
        plugin="fake_plugin",
        distribution="fake-plugin",
        proven=[],
        modules={"fakedev": StubbedModule(), "fakedev.rt": StubbedModule(calls=["launch"])},
    )
    result = ask("DeviceForCausalLM", plugin=BESIDE_A_DEVICE, entry_points=ENTRY, stubs=stubs)
    assert result.outcome.verdict is Verdict.PASS
    assert result.facts.served_by.owner == "fake"
