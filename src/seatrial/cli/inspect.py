"""Say everything a checkpoint tells about itself, from its headers alone."""

from __future__ import annotations

from pathlib import Path

import click

from seatrial.cli.common import err, json_option, leave, out, print_json
from seatrial.core.verdict import Verdict


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--diff", "other", type=click.Path(path_type=Path), help="Compare with another checkpoint (from it to this)."
)
@click.option("--tensors", "with_tensors", is_flag=True, help="With --json: add the list of all tensors.")
@json_option
def command(checkpoint: Path, other: Path | None, with_tensors: bool, as_json: bool) -> None:
    """Say what CHECKPOINT (a local folder) is, and check that it is whole. No weight is loaded, no code of it run.

    Exits with 0 when nothing is wrong, 1 when something is, 3 when what matters cannot be known (no weights).
    With --diff: 0 when both could be read, however much differs; 3 when a config.json could not.
    """
    import gc

    from seatrial.checkpoint import compare, judge, read_card, read_checkpoint
    from seatrial.core.finding import errors

    # A short-lived process: collecting a million small objects that hold no cycles would cost more than reading them.
    gc.disable()
    if with_tensors and as_json and other is None:
        whole = read_checkpoint(checkpoint)
        print_json(whole)
        leave(judge(whole.card).verdict)
    card = read_card(checkpoint)
    if other is not None:
        before = read_card(other)
        difference = compare(before, card)
        if as_json:
            print_json(difference)
        else:
            from seatrial.cli._inspect_view import show_difference

            show_difference(out(), difference)
        # Of a config.json that cannot be read nothing is known: every fact would look like a difference.
        unread = [(c, f) for c in (before, card) for f in errors(c.findings) if f.place == "config.json"]
        for one, finding in unread:
            err().print(f"note: {one.folder}: {finding.one_line()}: the differences prove nothing", markup=False)
        if unread:
            leave(Verdict.INCONCLUSIVE)
        return
    outcome = judge(card)
    if as_json:
        print_json(card)
    else:
        from seatrial.cli._inspect_view import show

        show(out(), card, outcome)
    leave(outcome.verdict)
