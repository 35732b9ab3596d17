"""Is the evidence what it was, and what if the catalogue is lost: `liuhen verify` and `liuhen catalog rebuild`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from commands.keeping import Handler
from domain.errors import InvalidSettings, LedgerUnavailable

if TYPE_CHECKING:
    from domain.settings import Settings
    from house.house import House
    from storage.ledger.note import VerifierKey
    from storage.objects.port import ObjectStore
    from storage.verify.verifier import Progress, Scope, Summary, Verifier

FINE, FAULT, MISSING_SERVICE = 0, 1, 3


def add_commands(commands: Any, wrapped: Callable[[Handler], Callable[[argparse.Namespace], int]]) -> None:
    """Add both commands; see `keeping.add_commands`."""
    text = "check objects, locks, versions, ledger and checkpoints: one line a fault, 0 only if all hold"
    verify = commands.add_parser("verify", help=text, description=text)
    what = verify.add_mutually_exclusive_group()
    what.add_argument("--all", action="store_true", help="everything in the store (what is done without --session)")
    what.add_argument(
        "--session", metavar="[RECORDER/]SESSION", help="the objects of one session, and the whole ledger"
    )
    verify.add_argument("--resume", action="store_true", help="go on with a check that was cut off")
    verify.add_argument("--keys", metavar="FILE", help="public keys that you trust (default: those beside the key)")
    verify.add_argument("--json", action="store_true", help="each fault as a line of JSON")
    verify.set_defaults(run=wrapped(_verify))
    catalog = commands.add_parser("catalog", help="the catalogue").add_subparsers(required=True, metavar="WHAT")
    text = "make a lost catalogue anew, in an empty database, from objects and ledger alone"
    rebuild = catalog.add_parser("rebuild", help=text, description=text)
    rebuild.add_argument(
        "--restore-ledger", action="store_true", help="first take back from the store what the ledger's database lacks"
    )
    rebuild.set_defaults(run=wrapped(_rebuild))


async def _verify(arguments: argparse.Namespace, house: House) -> int:
    check = asyncio.create_task(_check(arguments, house))
    return await _until_stopped(check, "liuhen verify: cut off; --resume goes on where it was\n")


async def _until_stopped(job: asyncio.Task[int], farewell: str) -> int:
    """Wait for a job; a signal ends it, and then it was not done."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, job.cancel)
    try:
        return await job
    except asyncio.CancelledError:
        sys.stderr.write(farewell)
        return MISSING_SERVICE


async def _check(arguments: argparse.Namespace, house: House) -> int:
    scope = _scope(arguments.session)
    path = Path(house.settings.work) / "verify.state"
    with _progress() as show:
        verifier = await _verifier(house, arguments.keys, show)
        async for fault in verifier.run(scope, path, resume=arguments.resume):
            told = msgspec.json.encode(fault).decode() if arguments.json else str(fault)
            sys.stdout.write(f"{told}\n")
            sys.stdout.flush()
    return _conclude(verifier.summary)


def _scope(text: str | None) -> Scope:
    from domain.ids import check_recorder_id, check_session_id
    from storage.verify.verifier import Scope

    if text is None:
        return Scope()
    recorder, _, session = text.rpartition("/")
    return Scope(check_session_id(session), check_recorder_id(recorder) if recorder else None)


async def _verifier(house: House, keys: str | None, show: Callable[[Progress], None]) -> Verifier:
    from storage.ledger.keeper import places
    from storage.ledger.timestamps import load_roots
    from storage.verify.verifier import Verifier

    settings, store = house.settings, _store(house)
    trusted = await asyncio.to_thread(_trusted, settings, keys)
    _must_be_there(settings)
    ledger = await house.ledger()
    copies = places(settings, ledger, store, house.clock)
    for place in copies:
        house.stack.push_async_callback(place.close)
    return Verifier(
        store,
        ledger,
        trusted,
        copies,
        house.clock,
        book=house.book,
        roots=load_roots(settings.tsa_certificates) if settings.tsa_certificates else [],
        gap_min_s=settings.gap_min_s,
        on_progress=show,
    )


def _store(house: House) -> ObjectStore:
    """Open the store without the probe of a process that writes: a check changes nothing."""
    from storage.objects.connect import connect

    store = connect(house.settings)
    house.stack.push_async_callback(store.close)
    return store


def _trusted(settings: Settings, keys: str | None) -> list[VerifierKey]:
    from storage.ledger.keys import trusted_keys
    from storage.ledger.note import VerifierKey

    if keys is None:
        return trusted_keys(Path(settings.ledger_key_file))
    try:
        lines = Path(keys).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"--keys: {keys}: {error}"
        raise InvalidSettings(msg, "keys") from error
    return [VerifierKey.parse(line) for line in lines if line.strip()]


def _must_be_there(settings: Settings) -> None:
    """A check must not make an empty ledger where the one to be checked is missing."""
    path = settings.ledger.removeprefix("sqlite:///")
    if path != settings.ledger and not Path(path).exists():
        msg = f"ledger: {path} is not there"
        raise LedgerUnavailable(msg)


def _conclude(summary: Summary) -> int:
    say = sys.stderr.write
    say(f"{summary.entries} entries, {summary.objects} objects, {summary.bytes} bytes: ")
    say({0: "no fault", 1: "1 fault"}.get(summary.faults, f"{summary.faults} faults"))
    say(f", {summary.pending} not in the ledger yet\n" if summary.pending else "\n")
    for name, why in summary.unreached.items():
        say(f"liuhen verify: checkpoints in {name} were not compared: {why}\n")
    if summary.faults:
        return FAULT
    return MISSING_SERVICE if summary.unreached else FINE


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    """Show a bar on a terminal, nothing where standard error is none."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("ledger", total=None)

        def show(one: Progress) -> None:
            bar.update(task, description=one.step, completed=one.done, total=one.total or None)

        yield show


async def _rebuild(arguments: argparse.Namespace, house: House) -> int:
    from domain.topics import EVENTS
    from domain.wire import encode
    from storage.deposit import announcement
    from storage.ledger.batches import restore
    from storage.rebuild import rebuild

    store = _store(house)
    if not arguments.restore_ledger:
        _must_be_there(house.settings)
    ledger = await house.ledger()
    if arguments.restore_ledger:
        sys.stdout.write(f"ledger: {await restore(ledger, store)} entries taken back from the store\n")
    made = await rebuild(
        await house.catalog(), store, ledger, house.clock.now().plus(-1000 * (EVENTS.retention_s or 0))
    )
    bus = await house.bus()
    for row in made.newest.values():
        await bus.publish(EVENTS.name, row.recorder_id, encode(announcement(row)))
    sys.stdout.write(
        f"{made.segments} segments, {made.deleted} of them deleted at the end of their time; {made.sessions} sessions "
        f"that the log no longer has; {made.decisions} decisions, {made.holds} holds, {made.releases} releases\n"
        "recorders, sessions and findings come from the log: delete work/console-*.state while no console runs\n"
    )
    for key in made.absent[:20]:
        sys.stderr.write(f"missing {key}: in the ledger and not in the store\n")
    return FAULT if made.absent else FINE
