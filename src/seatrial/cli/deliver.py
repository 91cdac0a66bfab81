"""Write a run's adaptation into a repository as one signed-off commit, or lint such a delivery."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from seatrial.cli.common import STYLES, json_option, leave, out, print_json
from seatrial.core.errors import EXIT_FAIL, UsageError

SUBJECTS = ("features", "capacity", "sources")


@click.command()
@click.argument("run", default="last")
@click.option("--repo", type=click.Path(), help="The checkout of the receiving repository.")
@click.option(
    "--check", "checked", type=click.Path(), help="Lint the delivery in this checkout instead of writing one."
)
@click.option("--base", help="With --check: the commit the delivery was made from, if git cannot tell.")
@click.option("--kind", type=click.Choice(["ascend", "kunlun", "generic"]), help="Found from the checkout if left out.")
@click.option("--model", help="The name files get; the checkpoint folder's if left out.")
@click.option("--model-id", default="", help="The published name, ORG/NAME: your word, marked as such.")
@click.option("--hardware", default="", help="The hardware as the repository names it, `Atlas A2 Series`.")
@click.option("--accuracy", multiple=True, help="A recorded accuracy run, a folder or score.json of one; repeatable.")
@click.option("--bench", "benches", multiple=True, metavar="RUN", help="A recorded bench to quote; repeatable.")
@click.option("--include", multiple=True, help="A changed source file that belongs to the adaptation; repeatable.")
@click.option("--explain", multiple=True, metavar="SUBJECT=TEXT", help="Why a proof is missing; repeatable.")
@click.option("--lang", "languages", multiple=True, type=click.Choice(["zh", "en"]), help="Languages of the report.")
@click.option("--branch", default="", help="The new branch; feature/add-MODEL if left out.")
@click.option("--no-commit", is_flag=True, help="Leave the index staged instead of committing.")
@click.option("--out", "bundle", type=click.Path(), help="The folder for report, runbook and comment.")
@click.option("--workspace", default=".", type=click.Path(), help="The folder that has .seatrial.", show_default=True)
@json_option
def command(
    run: str,
    repo: str | None,
    checked: str | None,
    base: str | None,
    kind: Literal["ascend", "kunlun", "generic"] | None,
    model: str | None,
    model_id: str,
    hardware: str,
    accuracy: tuple[str, ...],
    benches: tuple[str, ...],
    include: tuple[str, ...],
    explain: tuple[str, ...],
    languages: tuple[Literal["zh", "en"], ...],
    branch: str,
    no_commit: bool,
    bundle: str | None,
    workspace: str,
    as_json: bool,
) -> None:
    """Deliver RUN (a name, a unique beginning of one, or `last`) into the checkout --repo, from evidence only.

    Refuses with exit code 1 and the list of what is missing. With --check it lints what is in a checkout.
    """
    from seatrial.evidence import Run, open_workspace

    _fitting(is_check=checked is not None)
    place = open_workspace(Path(workspace), write=False)
    if checked is not None:
        _check(Path(checked), place, run, base, as_json)
        return
    if repo is None:
        raise UsageError("no repository is named", mend="Usage: seatrial deliver RUN --repo DIR.")
    from seatrial.delivery import Order, deliver
    from seatrial.delivery.benches import read_benches
    from seatrial.delivery.deliver import bundle_folder
    from seatrial.delivery.evidence_view import EvidenceView
    from seatrial.delivery.kinds import kind_of
    from seatrial.delivery.sources import named

    found = Run.read(place.run_folder(run))
    order = Order(
        kind=kind or kind_of(Path(repo)),
        model=_model(model or found.manifest.checkpoint.rstrip("/").rsplit("/", 1)[-1]),
        model_id=model_id,
        hardware=hardware,
        languages=languages or ("zh",),
        explained=_explained(explain),
        include=include,
        branch=branch,
    )
    folder = Path(bundle) if bundle else bundle_folder(place.root, found.run_id, order.kind, Path(repo))
    view = EvidenceView(found)
    scores = tuple(s for name in accuracy for s in named(name, place, view))
    benched = read_benches(benches, place, view)
    result = deliver(found, Path(repo), order, bundle=folder, scores=scores, benched=benched, commit=not no_commit)
    if as_json:
        print_json(result)
    else:
        _show(result)
    raise SystemExit(EXIT_FAIL if result.state == "refused" else 0)


def _fitting(*, is_check: bool) -> None:
    """Raises UsageError for an option that would do nothing."""
    context = click.get_current_context()
    both = {"run", "checked", "workspace", "as_json"}
    for option in context.command.params:
        given = context.get_parameter_source(option.name or "") is click.core.ParameterSource.COMMANDLINE
        if given and option.name not in both and is_check != (option.name == "base"):
            words = "says nothing with --check" if is_check else "says nothing without --check"
            raise UsageError(f"{option.opts[0]} {words}", mend=f"Leave out {option.opts[0]}, or see --help.")


def _model(name: str) -> str:
    import re

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}", name):
        raise UsageError(f"{name!r} cannot be the name of a file", mend="Name the model with --model.")
    return name


def _explained(pairs: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        subject, equals, text = pair.partition("=")
        if not equals or not text.strip() or subject not in SUBJECTS:
            raise UsageError(f"--explain {pair!r}", mend=f"Say SUBJECT=TEXT, SUBJECT one of {', '.join(SUBJECTS)}.")
        found[subject] = text.strip()
    return found


def _check(folder: Path, place: Any, run: str, base: str | None, as_json: bool) -> None:
    from seatrial.delivery.check import check_delivery

    context = click.get_current_context()
    named = context.get_parameter_source("run") is click.core.ParameterSource.COMMANDLINE
    report = check_delivery(folder, place, run=run if named else "", base=base)
    if as_json:
        print_json(report)
        leave(report.verdict)
    console = out()
    for finding in report.findings:
        console.print(f"{finding.severity.value} {finding.one_line()}. {finding.next_step}".rstrip(), markup=False)
    console.print(f"[{STYLES[report.verdict]}]{report.verdict.value}[/]  ", end="")
    console.print(f"{len(report.files)} delivered file(s), {report.figures} figure(s) looked up", markup=False)
    leave(report.verdict)


def _show(result: Any) -> None:
    console = out()
    if result.state == "refused":
        console.print(f"refused: {len(result.refused)} proof(s) are missing, nothing was written")
        for finding in result.refused:
            console.print(f"  {finding.one_line()}", markup=False)
            console.print(f"      next: {finding.next_step}", markup=False)
        return
    delivered = result.delivered
    words = {
        "committed": f"one signed-off commit {delivered.commit[:12]} on {delivered.branch}",
        "staged": "staged, not committed",
        "unchanged": "nothing to change: it is delivered already",
    }
    console.print(words[result.state], markup=False)
    for file in delivered.files:
        console.print(f"  {file.what:<20} {file.path}", markup=False)
    for dropped in delivered.dropped:
        console.print(f"  not written: {dropped.what}: {dropped.reason}", markup=False)
    console.print(f"report, runbook and comment: {result.bundle}", markup=False)
