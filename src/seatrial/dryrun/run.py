"""One dry run: choose the ranks, ask the probe, build the account, judge it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from seatrial.core.clock import Stopwatch
from seatrial.core.command import Command
from seatrial.core.errors import UsageError
from seatrial.core.finding import Finding
from seatrial.core.record import from_plain, to_plain
from seatrial.core.step import Attachment, StepResult
from seatrial.core.verdict import Outcome, failed, inconclusive, passed
from seatrial.dryrun import modelslim
from seatrial.dryrun.account import DryAccount, Mend, SlimCheck
from seatrial.dryrun.build import AccountBuilder
from seatrial.dryrun.derive import derive
from seatrial.dryrun.listing import FILE_NAME, write_listing
from seatrial.dryrun.mends import mapper_code, propose, renamed
from seatrial.dryrun.raw import RawDry
from seatrial.dryrun.request import DryRequest, columns
from seatrial.dryrun.rules import findings as find_all
from seatrial.dryrun.rules import rules
from seatrial.dryrun.tensor import HeaderTensor
from seatrial.engine.border import ProbeSession
from seatrial.platforms.stubs import StubbedModule, Stubs

# Up to this many tensor loads in all, every rank is loaded; above it alike ranks are represented by two.
FEW_LOADS = 20_000
# Every rank is at least built, at some tenths of a second each.
MOST_RANKS = 1024


class NamedTensor(Protocol):
    """Anything with a name, a safetensors dtype and a shape."""

    @property
    def name(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> Sequence[int]: ...


def dry(
    folder: Path,
    tensors: Iterable[NamedTensor],
    *,
    session: ProbeSession,
    tp: int = 1,
    pp: int = 1,
    ep: bool = False,
    ranks: Sequence[int] | None = None,
    dtype: str = "",
    quantization: str = "",
    max_model_len: int = 0,
    trust_remote_code: bool = False,
    engine_args: dict[str, Any] | None = None,
    stubs: Stubs | None = None,
    plugin_root: str = "",
    target: Path | None = None,
    draft_method: str = "",
    chosen: str = "",
    listing: Path | None = None,
    names_only: bool = False,
    unshaped: tuple[str, ...] = (),
    timeout_s: float = 600.0,
    progress: Callable[[str], None] | None = None,
) -> StepResult:
    """Load the checkpoint in `folder` through the engine of `session`, for `ranks` of tp x pp (None: all).

    `tensors` are taken in the given order, which should be the engine's (shard by shard). A pass means: every tensor
    and every parameter on every rank is accounted for. `engine_args` are further fields of vLLM's EngineArgs.
    `stubs` (`platforms.stubs.load_stubs`) stand in for a device's packages, so that its plugin builds the model; the
    plugin is installed beside the engine or lies in `plugin_root`. With `target`, the model in `folder` is loaded as
    the draft of the one there (`draft_method`: eagle, eagle3, ...); a target that is `folder` itself means its MTP
    layers. `chosen` is the name of seatrial's own target, for the command that repeats this.
    `listing`: a file to write with what became of each single tensor (`dryrun.listing`); the facts list kinds.
    """
    clock = Stopwatch()
    with clock.span("read headers", "seatrial"):
        listed = [t if isinstance(t, HeaderTensor) else _header(t) for t in tensors]
        full, sampled = choose_ranks(len(listed), tp=tp, pp=pp, ep=ep, ranks=ranks)
        request = DryRequest(
            folder=str(folder),
            tensors=columns(listed),
            tp=tp,
            pp=pp,
            ep=ep,
            ranks=full,
            sample_ranks=sampled,
            workers=max(1, min(2, os.cpu_count() or 1)),
            dtype=dtype,
            quantization=quantization,
            max_model_len=max_model_len,
            trust_remote_code=trust_remote_code,
            engine_args=dict(engine_args or {}),
            stubs=stubs,
            plugin_root=plugin_root,
            target=str(target) if target is not None else "",
            draft_method=draft_method,
        )
    if not listed:
        raise UsageError(f"{folder} has no tensors to load", mend="Name a folder with a safetensors checkpoint.")
    with clock.span("build and load", "engine"):
        reply = session.call("dry", request, timeout_s=timeout_s, progress=progress)
    attachments: tuple[Attachment, ...] = (Attachment(name="dry.log", path=reply.log),)
    commands = (_command(request, ranks, chosen),)

    def unanswered(what: str, said: str) -> StepResult:
        return StepResult(
            step="dry",
            outcome=inconclusive(f"{what}: {said}"),
            summary=f"no account: {said}",
            facts=None,
            commands=commands,
            attachments=attachments,
            timeline=clock.spans(),
        )

    if reply.status != "answered":
        return unanswered("the dry run could not be made", reply.trouble())
    with clock.span("read the answer", "seatrial"):
        builder = AccountBuilder(request, reply.decode(RawDry))
    if builder.spread.unlike:
        # The ranks between are not what their neighbours say: no inference, all are loaded.
        request = _everything(request)
        with clock.span("build and load all ranks", "engine"):
            again = session.call("dry", request, timeout_s=timeout_s, progress=progress)
        if again.status != "answered":
            return unanswered("some ranks stood for others that are unlike them, and not all load", again.trouble())
        builder = AccountBuilder(request, again.decode(RawDry))
    with clock.span("account", "seatrial"):
        account = builder.account()
        if listing is not None:
            write_listing(builder, listing)
            attachments = (*attachments, Attachment(name=FILE_NAME, path=str(listing)))
        mends = propose(account)
    if any(m.kind == "prefix" for m in mends):
        with clock.span("try the renames", "engine"):
            mends = try_mends(mends, request, session, timeout_s)
    slim = description(folder, listed, session.python, stubs, plugin_root)
    account = _with(account, mends=mends, names_only=names_only, unshaped=unshaped, modelslim=slim)
    with clock.span("rules", "seatrial"):
        found = find_all(account)
    return StepResult(
        step="dry",
        outcome=judge(account, found),
        summary=summary(account, found),
        facts=account,
        findings=found,
        commands=commands,
        attachments=attachments,
        timeline=clock.spans(),
    )


def description(
    folder: Path, tensors: Sequence[HeaderTensor], python: Path, stubs: Stubs | None, plugin_root: str
) -> SlimCheck | None:
    """The static check of a ModelSlim description, where there is one."""
    tables = None
    if stubs is not None:
        places = [Path(plugin_root)] if plugin_root else sorted(python.parent.parent.glob("lib/python3*/site-packages"))
        chip = str(stubs.modules.get(f"{stubs.plugin}._build_info", StubbedModule()).values.get("__device_type__", ""))
        found = (modelslim.read_tables(place / stubs.plugin, chip) for place in places)
        tables = next((t for t in found if t is not None), None)
    return modelslim.check(folder, modelslim.model_type(folder), tensors, tables)


def _everything(request: DryRequest) -> DryRequest:
    """The same request with every rank loaded in full."""
    plain = {**to_plain(request), "ranks": list(range(request.tp * request.pp)), "sample_ranks": []}
    return from_plain(DryRequest, plain, where="dry-run request")


def dry_names(folder: Path, names: Iterable[str], *, session: ProbeSession, **options: Any) -> StepResult:
    """The dry run from an index and a config alone; `options` are those of `dry`.

    Shapes are derived where transformers can lay the config out. At best inconclusive: the shards were not seen.
    """
    derived = derive(folder, names, session=session)
    if not derived.tensors:
        why = derived.reason or "transformers knows none of the names"
        return StepResult(
            step="dry",
            outcome=inconclusive(f"only names are known, and no shape could be derived: {why}"),
            summary=f"{len(derived.unshaped)} names without shapes: no account",
            facts=None,
        )
    return dry(folder, derived.tensors, session=session, unshaped=derived.unshaped, names_only=True, **options)


def try_mends(
    mends: tuple[Mend, ...], request: DryRequest, session: ProbeSession, timeout_s: float
) -> tuple[Mend, ...]:
    """Load the first rank again with the prefix renames applied, and say what is then left."""
    plain = to_plain(request)
    plain["tensors"]["names"] = renamed(request.tensors.names, mends)
    plain |= {"ranks": request.ranks[:1], "sample_ranks": []}
    again = from_plain(DryRequest, plain, where="dry-run request")
    reply = session.call("dry", again, timeout_s=timeout_s)
    if reply.status != "answered":
        tried = f"could not be tried: {reply.trouble()}"
    else:
        account = AccountBuilder(again, reply.decode(RawDry)).account()
        tensors, parameters = len(account.tensor_troubles), len(account.parameter_troubles)
        left = (
            f"{tensors} tensors and {parameters} parameters not in order" if tensors or parameters else "all in order"
        )
        tried = f"tried on rank {again.ranks[0]}: {left}"
    code = mapper_code(mends)
    prefixes = [m for m in mends if m.kind == "prefix"]
    return tuple(
        Mend(
            kind=m.kind,
            old=m.old,
            new=m.new,
            tensors=m.tensors,
            tried=tried if m.kind == "prefix" else "",
            code=code if m is prefixes[0] else "",
        )
        for m in mends
    )


def _with(account: DryAccount, **changes: Any) -> DryAccount:
    """The account with some fields changed; records are frozen."""
    return DryAccount(**{**{name: getattr(account, name) for name in DryAccount.__annotations__}, **changes})


def choose_ranks(
    tensors: int, *, tp: int, pp: int, ep: bool, ranks: Sequence[int] | None
) -> tuple[list[int], list[int]]:
    """Ranks to load in full and ranks to build and sample."""
    if tp < 1 or pp < 1:
        raise UsageError(f"a layout of tp {tp} and pp {pp} does not exist", mend="Both are 1 or more.")
    world = tp * pp
    if world > MOST_RANKS:
        raise UsageError(f"tp {tp} x pp {pp} is {world} ranks", mend=f"The dry run takes at most {MOST_RANKS}.")
    if ranks is not None:
        wrong = sorted({r for r in ranks if not 0 <= r < world})
        if wrong or not ranks:
            raise UsageError(f"rank {wrong} is outside 0 to {world - 1}", mend="Name ranks of tp x pp, or all.")
        return sorted(set(ranks)), []
    if ep or tp <= 2 or tensors * world <= FEW_LOADS:
        return list(range(world)), []
    full = sorted({stage * tp + r for stage in range(pp) for r in (0, tp - 1)})
    return full, [r for r in range(world) if r not in full]


def judge(account: DryAccount, found: Sequence[Finding]) -> Outcome:
    """Pass only if nothing is unexplained, partly filled, missing, failed or unsure."""
    table = rules()
    failing = [f for f in found if table.get(f.code).kind == "fail" and not _only_limit(account)]
    unsure = [f for f in found if table.get(f.code).kind == "unsure"]
    if failing:
        more = f" (and {len(failing) - 1} more)" if len(failing) > 1 else ""
        return failed(f"{failing[0].one_line()}{more}")
    if unsure:
        more = f" (and {len(unsure) - 1} more)" if len(unsure) > 1 else ""
        return inconclusive(f"{unsure[0].one_line()}{more}")
    unfinished = account.parameter_troubles or account.tensor_troubles or account.sums.bytes_unexplained
    if unfinished:
        return failed("the account does not add up, though no rule says why; this is a fault of seatrial")
    if not account.sums.parameters:
        return inconclusive("no parameter was seen")
    if not account.all_ranks:
        return inconclusive("all is accounted for on the ranks that were named; the others were not loaded")
    if account.names_only:
        return inconclusive("the shapes were derived from the config, not read: the shards were not seen")
    return passed()


def _only_limit(account: DryAccount) -> bool:
    """Whether all that failed is what the dry run itself cannot follow (D016 then says so)."""
    from seatrial.dryrun.rules.limits import is_limit

    return bool(account.failures) and all(is_limit(f.raw) for f in account.failures)


def summary(account: DryAccount, found: Sequence[Finding]) -> str:
    """One line, such as `25 tensors → 19 parameters: all accounted for (TP 2, rank shapes 1)`."""
    only = "" if account.all_ranks else ", not all ranks"
    only += ", shapes derived" if account.names_only else ""
    layout = f"TP {account.tp}" + (f" PP {account.pp}" if account.pp > 1 else "") + (" EP" if account.ep else "") + only
    head = f"{account.sums.tensors} tensors → {account.sums.parameters} parameters"
    refused = [f for f in account.failures if f.raw.stage in ("configure", "parallel", "build")]
    if refused:
        who = "it cannot be built in this environment" if _only_limit(account) else "the engine refuses to build it"
        return f"{head}: {who} ({layout})"
    missing = sum(t.state == "missing" for t in account.parameter_troubles)
    partly = sum(t.state == "partly filled" for t in account.parameter_troubles)
    parts = [f"{missing} missing"] if missing else []
    parts += [f"{partly} partly filled"] if partly else []
    for state in ("failed", "unexplained", "partly read", "not reached"):
        count = sum(t.state == state for t in account.tensor_troubles)
        parts += [f"{count} {state}"] if count else []
    gone = sum(call.state == "missing" and call.certain for call in account.calls.values())
    parts += [f"{gone} of the operators that it calls not there"] if gone else []
    other = sum(1 for f in found if rules().get(f.code).kind != "note") if not parts else 0
    parts += [f"{other} findings"] if other else []
    return f"{head}: {', '.join(parts) or 'all accounted for'} ({layout}, rank shapes {account.rank_shapes})"


def _header(tensor: NamedTensor) -> HeaderTensor:
    return HeaderTensor(name=tensor.name, dtype=tensor.dtype, shape=tuple(tensor.shape))


def _command(request: DryRequest, ranks: Sequence[int] | None, chosen: str) -> Command:
    drafted = bool(request.target)
    argv = ["seatrial", "dry", request.target if drafted else request.folder]
    argv += ["--draft", request.folder] if drafted else []
    argv += ["--draft-method", request.draft_method] if request.draft_method else []
    argv += ["--target", chosen] if chosen else []
    argv += ["--plugin", request.plugin_root] if request.plugin_root else []
    argv += ["--tp", str(request.tp)]
    argv += ["--pp", str(request.pp)] if request.pp > 1 else []
    argv += ["--ep"] if request.ep else []
    argv += ["--ranks", ",".join(map(str, ranks))] if ranks is not None else []
    argv += ["--dtype", request.dtype] if request.dtype else []
    argv += ["--quantization", request.quantization] if request.quantization else []
    argv += ["--trust-remote-code"] if request.trust_remote_code else []
    return Command(purpose="repeat the dry run", argv=tuple(argv))
