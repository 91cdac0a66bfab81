"""Does the code run that is meant to run: the engine and plugin that Python imports, against the target's roots."""

from __future__ import annotations

from pathlib import Path

from packaging.specifiers import InvalidSpecifier, Specifier
from packaging.version import InvalidVersion

from seatrial.core.finding import Finding, Severity
from seatrial.engine.identity import Identity
from seatrial.platforms import Platform
from seatrial.support.doctor.records import Check, checked, does_not_apply, finding
from seatrial.support.doctor.stack import StackAnswer
from seatrial.targets import Target


def roots_check(target: Target, platform: Platform, identity: Identity, answer: StackAnswer | None) -> Check:
    """H010 vLLM, H011 the plugin: imported from outside the root that the target names."""
    found: list[Finding] = []
    seen = [f"vLLM from {identity.vllm_file or 'nowhere'}"]
    found += _against("H010", "vLLM", identity.vllm_file or "", target.roots.vllm, "roots.vllm")
    if platform.plugin and answer is not None:
        files = [p.file for p in answer.plugins if p.name == platform.plugin and p.file]
        where = files[0] if files else ""
        seen.append(f"plugin {platform.plugin} from {where or 'nowhere'}")
        found += _against("H011", f"the plugin {platform.plugin}", where, target.roots.plugin, "roots.plugin")
    if not target.roots.vllm and not target.roots.plugin:
        return does_not_apply("import roots", f"target {target.name!r} names no source roots; {', '.join(seen)}")
    return checked("import roots", ", ".join(seen), found)


def _against(code: str, what: str, file: str, root: str, key: str) -> list[Finding]:
    if not root:
        return []
    folder = Path(root)
    if file and Path(file).resolve().is_relative_to(folder.resolve()):
        return []
    message = f"{what} is imported from {file or 'nowhere'}, not from {root}"
    if not folder.is_dir():
        message += ", which does not exist"
    mend = f"Install the source there with `pip install -e`, or set {key} of the target to where it is ('' for none)."
    return [finding(code, Severity.ERROR, key, message, mend)]


def _same(has: str, named: str) -> bool:
    """Whether they are one version, as pip sees it: 0.32 is 0.32.0, and 0.32.0+cpu is a build of 0.32.0."""
    try:
        return Specifier(f"=={named}").contains(has, prereleases=True)
    except (InvalidSpecifier, InvalidVersion):
        return has == named


def version_check(target: Target, identity: Identity) -> Check:
    """H012: the engine is the version that the target names."""
    if target.engine.kind != "embedded":
        return does_not_apply("engine version", "the target names an interpreter, not a version")
    has = identity.packages.get(target.engine.package, "")
    found = []
    if not _same(has, target.engine.version):
        message = f"{target.engine.package} {has or '(absent)'} is installed, the target names {target.engine.version}"
        mend = f"Run: seatrial engine install --force --version {target.engine.version}"
        found.append(finding("H012", Severity.ERROR, identity.executable, message, mend))
    return checked("engine version", f"{target.engine.package} {has}", found)
