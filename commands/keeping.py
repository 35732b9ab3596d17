"""How evidence is kept: the commands `liuhen hold`, `retention` and `ledger`, which `liuhen.py` adds to its own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import msgspec

from domain.clock import Instant

if TYPE_CHECKING:
    from house.house import House
    from storage.catalog.catalog import Catalog
    from storage.retention.desk import Desk
    from storage.retention.releasing import Releasing

Handler = Callable[[argparse.Namespace, "House"], Coroutine[Any, Any, int]]
"""What a command does, in a house whose parts it opens as it needs them; answers the exit code."""


def add_commands(commands: Any, wrapped: Callable[[Handler], Callable[[argparse.Namespace], int]]) -> None:
    """Add them all.

    Args:
        commands: What `add_subparsers` returned.
        wrapped: Makes a function of the arguments alone from a handler.
    """
    hold = commands.add_parser("hold", help="footage that must not be deleted")
    hold = hold.add_subparsers(required=True, metavar="WHAT")
    one = _sub(hold, "set", "hold the footage of a session, or of a part of it", wrapped(_set_hold), session=True)
    one.add_argument("--from", dest="from_at", type=instant, metavar="T", help="RFC 3339 with offset")
    one.add_argument("--to", dest="to_at", type=instant, metavar="T")
    one.add_argument("--case", metavar="NUMBER", help="of the case that asks for it")
    _who(one)
    for name, text, run in (
        ("release", "ask for a hold to be lifted; it stands until somebody else confirms", _release),
        ("confirm", "confirm what another person asked for: the hold is lifted", _confirm),
        ("refuse", "refuse what was asked for, or withdraw it: the hold stands", _refuse),
    ):
        one = _sub(hold, name, text, wrapped(run))
        one.add_argument("id", metavar="ID", help="as `hold list` shows it")
        _who(one)
    one = _sub(hold, "list", "the holds on a recorder's footage", wrapped(_holds))
    one.add_argument("--recorder", required=True, metavar="ID")
    one.add_argument("--session", metavar="ID")
    one.add_argument("--all", action="store_true", help="those that were lifted too")
    _add_retention(commands, wrapped)
    _add_ledger(commands, wrapped)


def _add_ledger(commands: Any, wrapped: Callable[[Handler], Callable[[argparse.Namespace], int]]) -> None:
    ledger = commands.add_parser("ledger", help="the custody ledger: its keys, its checkpoints, proofs from it")
    ledger = ledger.add_subparsers(required=True, metavar="WHAT")
    _sub(ledger, "key", "the public keys that its checkpoints are checked with", wrapped(_keys))
    _sub(ledger, "checkpoint", "sign what is new, carry it to every place, and show the last one", wrapped(_checkpoint))
    one = _sub(ledger, "prove", "an entry, and the proof that it is in the ledger", wrapped(_prove))
    one.add_argument("index", type=int, metavar="INDEX")


def _add_retention(commands: Any, wrapped: Callable[[Handler], Callable[[argparse.Namespace], int]]) -> None:
    keep = commands.add_parser("retention", help="how long footage is kept, and what has come to its end")
    keep = keep.add_subparsers(required=True, metavar="WHAT")
    one = _sub(keep, "classify", "decide the class of a session", wrapped(_classify), session=True)
    one.add_argument("--class", dest="retention_class", required=True, choices=_CLASSES)
    one.add_argument("--document", metavar="NUMBER", help="signed decision; a weaker class needs one")
    one.add_argument("--case", metavar="NUMBER")
    one.add_argument("--closed", type=instant, metavar="T", help="when the case was closed; open without it")
    one.add_argument("--keep-until", type=instant, metavar="T", help="end of the case file's period")
    _who(one)
    one = _sub(keep, "why", "why the footage of a session is still there", wrapped(_why), session=True)
    one = _sub(keep, "due", "what has come to its end", wrapped(_due))
    one.add_argument("--recorder", metavar="ID")
    one.add_argument("--session", metavar="ID")
    one.add_argument("--all", action="store_true", help="what was decided and deleted too")
    for name, text in (("delete", "let it be deleted"), ("keep", "keep it longer")):
        one = _sub(keep, name, f"of what has come to its end: {text}", wrapped(_decide), session=True)
        one.add_argument("--key", metavar="KEY", help="one object alone")
        one.add_argument("--document", metavar="NUMBER", help="signed decision; deleting evidence needs one")
        if name == "keep":
            one.add_argument("--until", type=instant, metavar="T", help="then it comes again; without it, never")
        one.set_defaults(decision=name)
        _who(one)
    one = _sub(keep, "receipt", "the proof that an object was deleted, as JSON", wrapped(_receipt))
    one.add_argument("key", metavar="KEY")


_CLASSES = ("unknown", "ordinary", "evidence", "long_term")


def instant(text: str) -> Instant:
    """Read an argument that is a time."""
    try:
        return Instant.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _sub(
    commands: Any, name: str, text: str, run: Callable[[argparse.Namespace], int], *, session: bool = False
) -> argparse.ArgumentParser:
    one: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    one.set_defaults(run=run)
    if session:
        one.add_argument("--recorder", required=True, metavar="ID")
        one.add_argument("--session", required=True, metavar="ID")
    return one


def _who(one: argparse.ArgumentParser) -> None:
    one.add_argument("--by", required=True, metavar="NAME", help="who decides")
    one.add_argument("--reason", required=True, metavar="TEXT")


async def _desk(house: House) -> Desk:
    from storage.objects.connect import connect
    from storage.retention.desk import Desk
    from storage.retention.retention import Retention

    store = connect(house.settings)
    house.stack.push_async_callback(store.close)
    catalog, ledger = _catalog(house), await house.ledger()

    def policy_of(_: str) -> str:
        return house.settings.policy

    return Desk(Retention(store, catalog, ledger, clock=house.clock, policy_of=policy_of, book=house.book))


def _catalog(house: House) -> Catalog:
    """Open the catalogue only to read: on one machine, the process that keeps it is running beside this one."""
    from storage.catalog.catalog import Catalog

    catalog = Catalog.reading(house.settings.catalog)
    house.stack.push_async_callback(catalog.close)
    return catalog


async def _set_hold(arguments: argparse.Namespace, house: House) -> int:
    from domain.events import Hold

    event = Hold(
        at=house.clock.now(),
        recorder_id=arguments.recorder,
        session_id=arguments.session,
        from_=arguments.from_at,
        to=arguments.to_at,
        reason=arguments.reason,
        by=arguments.by,
        released=False,
        origin="case" if arguments.case else "person",
        ref=arguments.case,
    )
    _say(await (await _desk(house)).hold(_checked(event)))
    return 0


async def _releasing(house: House) -> Releasing:
    from storage.retention.releasing import Releasing

    return Releasing(await _desk(house), await house.office(), await house.ledger(), house.clock)


async def _release(arguments: argparse.Namespace, house: House) -> int:
    await (await _releasing(house)).ask(arguments.id, by=arguments.by, reason=arguments.reason)
    sys.stderr.write(f"asked; it stands until somebody else confirms: liuhen hold confirm {arguments.id}\n")
    return 0


async def _confirm(arguments: argparse.Namespace, house: House) -> int:
    await (await _releasing(house)).confirm(arguments.id, by=arguments.by, remark=arguments.reason)
    return 0


async def _refuse(arguments: argparse.Namespace, house: House) -> int:
    await (await _releasing(house)).refuse(arguments.id, by=arguments.by, remark=arguments.reason)
    return 0


async def _holds(arguments: argparse.Namespace, house: House) -> int:
    desk = await _desk(house)
    for row in await desk.holds(arguments.recorder, arguments.session, released=arguments.all):
        _say_struct(row)
    return 0


async def _classify(arguments: argparse.Namespace, house: House) -> int:
    from domain.events import Classified

    event = Classified(
        at=house.clock.now(),
        recorder_id=arguments.recorder,
        session_id=arguments.session,
        class_=arguments.retention_class,
        reason=arguments.reason,
        by=arguments.by,
        document=arguments.document,
        case=arguments.case,
        closed_at=arguments.closed,
        keep_until=arguments.keep_until,
    )
    await (await _desk(house)).classify(_checked(event))
    return 0


async def _why(arguments: argparse.Namespace, house: House) -> int:
    desk = await _desk(house)
    for one in await desk.why(arguments.recorder, arguments.session, house.clock.now()):
        due = "-" if one.due_at is None else one.due_at.rfc3339()
        _say(f"{one.row.key}\t{one.row.retain_until.rfc3339()}\t{due}\t{','.join(one.blockers) or '-'}")
    return 0


async def _due(arguments: argparse.Namespace, house: House) -> int:
    from storage.catalog.register import Register

    register = Register(_catalog(house))
    states = () if arguments.all else ("review", "listed", "approved", "deleting")
    cursor = None
    while True:
        page = await register.list_expiries(
            *states, recorder_id=arguments.recorder, session_id=arguments.session, cursor=cursor, limit=500
        )
        for row in page.items:
            _say_struct(row)
        if (cursor := page.cursor) is None:
            return 0


async def _decide(arguments: argparse.Namespace, house: House) -> int:
    from storage.retention.entries import ApprovalBody

    body = ApprovalBody(
        of="deletion",
        decision=arguments.decision,
        listed_until=house.clock.now(),
        by=arguments.by,
        reason=arguments.reason,
        key=arguments.key,
        again_at=getattr(arguments, "until", None),
        document=arguments.document,
    )
    count = await (await _desk(house)).decide(arguments.recorder, arguments.session, body)
    _say(str(count))
    return 0


async def _receipt(arguments: argparse.Namespace, house: House) -> int:
    import json

    _say(json.dumps(await (await _desk(house)).receipt(arguments.key), ensure_ascii=False, indent=2))
    return 0


async def _keys(_: argparse.Namespace, house: House) -> int:
    from pathlib import Path

    from storage.ledger.keys import load_keys

    for key in load_keys(Path(house.settings.ledger_key_file), house.settings.ledger_origin).trusted:
        _say(str(key))
    return 0


async def _checkpoint(_: argparse.Namespace, house: House) -> int:
    """The last checkpoint on standard output, troubles on standard error; 1 where the ledger is not what it was."""
    from pathlib import Path

    from storage.ledger.keeper import keeper
    from storage.ledger.keys import load_keys

    settings, ledger = house.settings, await house.ledger()
    keys = load_keys(Path(settings.ledger_key_file), settings.ledger_origin)
    keeps = keeper(settings, ledger, keys, await house.store(), house.clock)
    house.stack.push_async_callback(keeps.close)
    state = await keeps.turn()
    for name, trouble in {**state.troubles, **{one.name: one.trouble for one in state.places if one.trouble}}.items():
        sys.stderr.write(f"{name}: {trouble}\n")
    newest = await ledger.latest_checkpoint()
    sys.stdout.write("" if newest is None else newest.note)
    return 1 if state.faults else 0


async def _prove(arguments: argparse.Namespace, house: House) -> int:
    """The entry's line, an empty one, and the proof (C2SP tlog-proof)."""
    from storage.ledger.proof import prove

    ledger = await house.ledger()
    proof = await prove(ledger, arguments.index)
    async for _, line in ledger.read(arguments.index, arguments.index + 1):
        _say(f"{line.decode()}\n")
    sys.stdout.write(proof.text())
    return 0


def _checked(event: Any) -> Any:
    """Return an event as the log would read it, so that what is too long or no id is refused by its field."""
    from domain.wire import decode_event, encode

    return decode_event(encode(event))


def _say_struct(row: msgspec.Struct) -> None:
    from domain.wire import encode

    _say(encode(row).decode())


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
