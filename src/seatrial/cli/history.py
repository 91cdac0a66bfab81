"""Attempts and their outcomes as cards: add, search, show, promote, import from Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from seatrial.cli.common import json_option, leave, out, print_json
from seatrial.core.verdict import Verdict

if TYPE_CHECKING:
    from seatrial.measure.history import Card, Cards, Found

workspace_option = click.option(
    "--workspace", default=".", type=click.Path(path_type=Path), show_default=True, help="The folder of .seatrial."
)


@click.group()
def command() -> None:
    """What was tried before, what came of it, and what was taken back."""


@command.command()
@click.option("--title", required=True)
@click.option("--intent", required=True, help="What it was to achieve.")
@click.option("--outcome", type=click.Choice(["kept", "rolled-back", "failed", "open"]), required=True)
@click.option("--framework", default="vllm", show_default=True)
@click.option("--family", required=True, help="The model family.")
@click.option("--scenario", required=True, help="Workload and hardware, in a few words.")
@click.option("--pr", "prs", multiple=True, help="A related pull request.")
@click.option("--path", "paths", multiple=True, help="A touched path.")
@click.option("--symbol", "symbols", multiple=True, help="A function, flag or operator.")
@click.option("--validation", default="", help="How it was checked: warm-up, profiler, level of accuracy.")
@click.option("--risks", default="")
@click.option("--next-checks", default="")
@click.option("--evidence", "places", multiple=True, help="RUN or RUN/step of this workspace.")
@click.option("--reverts", multiple=True, help="The id of a card that this one takes back.")
@click.option("--date", default="", help="When, as YYYY-MM-DD.")
@workspace_option
@json_option
def add(
    title: str,
    intent: str,
    outcome: str,
    framework: str,
    family: str,
    scenario: str,
    prs: tuple[str, ...],
    paths: tuple[str, ...],
    symbols: tuple[str, ...],
    validation: str,
    risks: str,
    next_checks: str,
    places: tuple[str, ...],
    reverts: tuple[str, ...],
    date: str,
    workspace: Path,
    as_json: bool,
) -> None:
    """Keep an attempt, also a failed one."""
    from seatrial.core.record import from_plain
    from seatrial.measure.history import Card

    fields = {
        "schema_version": 1,
        "id": "",
        "title": title,
        "framework": framework,
        "model_family": family,
        "scenario": scenario,
        "intent": intent,
        "outcome": outcome,
        "date": date,
        "related_prs": prs,
        "touched_paths": paths,
        "symbols": symbols,
        "validation": validation,
        "risks": risks,
        "next_checks": next_checks,
        "evidence": places,
        "reverts": reverts,
    }
    card = _cards(workspace, write=True).add(from_plain(Card, fields, where="card"))
    if as_json:
        print_json(card)
        return
    out().print(f"kept {card.id}", markup=False)


@command.command()
@click.argument("query", required=False, default="")
@click.option("--framework", default="", help="Only this framework.")
@click.option("--family", default="", help="Only model families with this in their name.")
@click.option("--path", default="", help="Only cards that touched this path or one below it.")
@workspace_option
@json_option
def search(query: str, framework: str, family: str, path: str, workspace: Path, as_json: bool) -> None:
    """Cards that hold every word of QUERY, best first. None found ends with 1."""
    found = _cards(workspace).search(query, framework=framework, family=family, path=path)
    if as_json:
        print_json(found)
    for one in [] if as_json else found:
        _line(one)
    if not found:
        if not as_json:
            out().print("no card fits", markup=False)
        leave(Verdict.FAIL)


@command.command()
@click.argument("card")
@workspace_option
@json_option
def show(card: str, workspace: Path, as_json: bool) -> None:
    """One CARD, whole, with what speaks against it."""
    found = _cards(workspace).get(card)
    if as_json:
        print_json(found)
        return
    from seatrial.core.record import to_plain

    for name, value in to_plain(found.card).items():
        if value not in ("", [], None):
            told = ", ".join(value) if isinstance(value, list) else value
            out().print(f"{name:15} {told}", markup=False)
    for flag in found.flags:
        out().print(f"{flag.kind:15} {flag.why}", markup=False)


@command.command()
@click.argument("card")
@click.option("--evidence", "places", multiple=True, help="RUN or RUN/step of this workspace.")
@workspace_option
@json_option
def promote(card: str, places: tuple[str, ...], workspace: Path, as_json: bool) -> None:
    """Make CARD shared knowledge: only with evidence that is here and whole."""
    from seatrial.core.errors import UsageError
    from seatrial.evidence import open_workspace, verify_run
    from seatrial.measure.history import promoted
    from seatrial.workflow.loop import demand_evidence

    cards = _cards(workspace, write=True)
    better = promoted(cards.get(card).card, places)
    place = open_workspace(workspace, write=False)
    for name in better.evidence:
        run = demand_evidence(place, name)
        if verify_run(run.folder).verdict is not Verdict.PASS:
            raise UsageError(f"the evidence {name} is not whole", mend="See `seatrial runs verify`.")
    # What another one promoted it on meanwhile stays.
    better = cards.change(better.id, lambda now: promoted(now, better.evidence))
    if as_json:
        print_json(better)
        return
    out().print(f"promoted {better.id} on {', '.join(better.evidence)}", markup=False)


@command.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--framework", required=True)
@click.option("--family", required=True, help="The model family the dossier is about.")
@workspace_option
@json_option
def import_command(files: tuple[Path, ...], framework: str, family: str, workspace: Path, as_json: bool) -> None:
    """Draft cards from Markdown dossiers; what gives no card is named."""
    from seatrial.core.errors import FileFormatError
    from seatrial.core.plain_file import read_plain
    from seatrial.measure.history import read_dossier

    cards = _cards(workspace, write=True)
    kept: list[Card] = []
    dropped: list[str] = []
    for file in files:
        try:
            if file.stat().st_size > 16 << 20:
                raise FileFormatError(f"{file}: larger than a dossier can be")
            text = read_plain(file, limit=16 << 20).decode("utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise FileFormatError(f"{file}: cannot be read as text: {exc}") from exc
        found = read_dossier(text, source=file.name, framework=framework, family=family)
        kept.extend(cards.add(card) for card in found.cards)
        dropped.extend(found.dropped)
    if as_json:
        print_json({"cards": kept, "dropped": dropped})
    else:
        for card in kept:
            out().print(f"{card.outcome:12} {card.id}", markup=False)
        for reason in dropped:
            out().print(f"no card: {reason}", markup=False)
    if not kept:
        leave(Verdict.INCONCLUSIVE)


def _cards(workspace: Path, *, write: bool = False) -> Cards:
    from seatrial.evidence import open_workspace
    from seatrial.measure.history import Cards

    return Cards(open_workspace(workspace, write=write).root / "history")


def _line(found: Found) -> None:
    card = found.card
    marks = "".join(f" [{f.kind}]" for f in found.flags)
    text = f"{card.id}  {card.outcome}{marks}  {card.framework} {card.model_family}  {card.title}"
    out().print(text, markup=False)
