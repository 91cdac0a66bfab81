"""What the probe `doctor` answered, and the checks on it: plugins, overwritten and missing files, the two tritons."""

from __future__ import annotations

from typing import Literal

from seatrial.core.finding import Finding, Severity
from seatrial.core.record import Record
from seatrial.platforms import Platform
from seatrial.support.doctor.records import Check, checked, does_not_apply, finding

PLATFORM_GROUP = "vllm.platform_plugins"
TRITONS = {"triton", "triton-ascend"}


class Plugin(Record):
    """One entry point. `declined`: a platform plugin that says "not here". `file`: where its package comes from."""

    group: str
    name: str
    target: str
    distribution: str
    state: Literal["loaded", "load-failed", "raised", "declined", "not-selected"]
    answer: str
    error: str
    traceback: str
    file: str


class Overlap(Record):
    """Distributions that claim the same files with other contents; counts of `compared` files by whose they are now."""

    distributions: tuple[str, ...]
    files: int
    compared: int
    as_recorded_by: dict[str, int]
    as_neither: int
    example: str


class Missing(Record):
    """A distribution of whose recorded files some are gone."""

    distribution: str
    missing: int
    of: int
    example: str


class Triton(Record):
    """The package `import triton` would find, and the backends in it."""

    present: bool
    file: str
    backends: tuple[str, ...]


class StackAnswer(Record):
    """The answer of the probe `doctor`. `memory_utilization_unknown`: why there is no default; "" where there is."""

    plugins: tuple[Plugin, ...]
    overlaps: tuple[Overlap, ...]
    missing: tuple[Missing, ...]
    without_record: tuple[str, ...]
    versions: dict[str, str]
    triton: Triton
    memory_utilization_default: float | None
    vllm_plugins: str | None
    memory_utilization_unknown: str = ""


def plugins_check(answer: StackAnswer, platform: Platform) -> Check:
    """H002 to H006: every plugin loads, the target's platform plugin is there, chosen and the only one active."""
    found: list[Finding] = []
    for plugin in answer.plugins:
        place = f"{plugin.group}: {plugin.name} = {plugin.target}"
        if plugin.state == "load-failed":
            message = f"the plugin does not load, and vLLM goes on without it: {plugin.error}"
            mend = f"Mend that import; `seatrial compat` on {plugin.distribution or 'it'} and this vLLM names the rest."
            found.append(finding("H002", Severity.ERROR, place, message, mend))
        elif plugin.state == "raised" and plugin.group == PLATFORM_GROUP:
            message = f"the plugin's function raises, and vLLM passes over it without a word: {plugin.error}"
            mend = "Mend what it says; vLLM shows it only with VLLM_LOGGING_LEVEL=DEBUG."
            found.append(finding("H003", Severity.ERROR, place, message, mend))
        elif plugin.state == "raised":
            message = f"the plugin's function raises when called, which ends the engine: {plugin.error}"
            mend = f"Mend what it says, or leave {plugin.name} out of VLLM_PLUGINS."
            found.append(finding("H003", Severity.ERROR, place, message, mend))
    found += _platform_plugin(answer, platform)
    active = [p.name for p in answer.plugins if p.group == PLATFORM_GROUP and p.state == "loaded"]
    if len(active) > 1:
        message = f"{len(active)} platform plugins are active at once ({', '.join(active)}); vLLM refuses that"
        mend = f"Set VLLM_PLUGINS to those wanted, or uninstall the others than {platform.plugin or 'none'}."
        found.append(finding("H006", Severity.ERROR, PLATFORM_GROUP, message, mend))
    counts: dict[str, int] = {}
    for plugin in answer.plugins:
        counts[plugin.state] = counts.get(plugin.state, 0) + 1
    seen = ", ".join(f"{n} {state}" for state, n in counts.items()) or "no plugin is installed"
    return checked("plugins", seen, found)


def _platform_plugin(answer: StackAnswer, platform: Platform) -> list[Finding]:
    if not platform.plugin:
        return []
    mine = [p for p in answer.plugins if p.group == PLATFORM_GROUP and p.name == platform.plugin]
    if not mine:
        message = f"no platform plugin {platform.plugin!r} is installed for this interpreter"
        mend = f"Install {platform.distribution} there, or name the interpreter that has it in engine.interpreter."
        return [finding("H004", Severity.ERROR, PLATFORM_GROUP, message, mend)]
    if mine[0].state == "not-selected":
        message = f"VLLM_PLUGINS={answer.vllm_plugins!r} leaves out the platform plugin {platform.plugin!r}"
        mend = f"Add {platform.plugin} to VLLM_PLUGINS, or unset it."
        return [finding("H005", Severity.ERROR, "VLLM_PLUGINS", message, mend)]
    if mine[0].state == "declined":
        message = f"the platform plugin {platform.plugin!r} says that its device is not here"
        mend = "Check the device library and the driver, and that the devices are visible in this container."
        return [finding("H005", Severity.ERROR, mine[0].target, message, mend)]
    return []


def files_check(answer: StackAnswer) -> Check:
    """H007, H008: files of one distribution overwritten by another, or recorded and gone."""
    found: list[Finding] = []
    for overlap in answer.overlaps:
        grave = bool(TRITONS & set(overlap.distributions)) or any(d.startswith("vllm") for d in overlap.distributions)
        whose = ", ".join(f"{n} of {name}" for name, n in overlap.as_recorded_by.items())
        names = " and ".join(overlap.distributions)
        message = (
            f"{names} both claim {overlap.files} files with other contents; of {overlap.compared} compared are now "
            f"{whose}, {overlap.as_neither} of none"
        )
        severity = Severity.ERROR if grave else Severity.WARNING
        found.append(finding("H007", severity, overlap.example, message, _overlap_mend(overlap)))
    for gone in answer.missing:
        # A few files are often left out on purpose when an image is made small; most of them gone is a broken package.
        grave = gone.distribution in TRITONS or gone.missing * 2 > gone.of
        message = f"{gone.missing} of the {gone.of} files that {gone.distribution} installed are gone"
        mend = f"Reinstall it: pip install --force-reinstall --no-deps {gone.distribution}"
        severity = Severity.ERROR if grave else Severity.WARNING
        found.append(finding("H008", severity, gone.example, message, mend))
    seen = f"{len(answer.overlaps)} pairs of distributions overlap, {len(answer.missing)} lack files"
    if answer.without_record:
        seen += f"; not checked for want of a file list: {', '.join(answer.without_record[:6])}"
    return checked("installed files", seen, found)


def _overlap_mend(overlap: Overlap) -> str:
    if set(overlap.distributions) == TRITONS:
        # Uninstalling triton alone takes shared files away with it: vllm-project/vllm-ascend#7790.
        return "Run: pip uninstall -y triton triton-ascend, then pip install triton-ascend. Not triton alone."
    return "Uninstall both and install again only the one that this stack needs."


def triton_check(answer: StackAnswer, platform: Platform) -> Check:
    """H009: the platform's own flavour of triton is the one that would be imported."""
    here = answer.triton
    seen = f"{here.file or 'a namespace package'}, backends: {', '.join(here.backends) or 'none'}"
    if not here.present:
        return does_not_apply("triton", "no package triton is installed")
    found = []
    if platform.name == "ascend" and "ascend" not in here.backends:
        message = (
            f"the triton that would be imported has no ascend backend (it has {', '.join(here.backends) or 'none'})"
        )
        mend = "Run: pip uninstall -y triton triton-ascend, then pip install triton-ascend."
        found.append(finding("H009", Severity.ERROR, here.file, message, mend))
    return checked("triton", seen, found)
