"""Evidence that leaves the house: the command `liuhen export`."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.keeping import Handler, instant
from domain.errors import CatalogUnavailable, InvalidInput

if TYPE_CHECKING:
    from domain.findings import Finding
    from house.house import House
    from storage.ledger.ledger import Ledger


def add_commands(commands: Any, wrapped: Callable[[Handler], Callable[[argparse.Namespace], int]]) -> None:
    """Add it; see `keeping.add_commands`."""
    text = "an evidence package of a session: originals, a playable copy, the sheet, proofs, and what verifies them"
    export = commands.add_parser("export", help=text, description=text)
    export.add_argument("--session", required=True, metavar="[RECORDER/]SESSION")
    export.add_argument("--from", dest="from_at", type=instant, metavar="T", help="only what reaches beyond this")
    export.add_argument("--to", dest="to_at", type=instant, metavar="T", help="only what begins before this")
    export.add_argument("--out", required=True, type=Path, metavar="DIR", help="the folder to be made")
    export.add_argument("--by", default="", metavar="NAME", help="提取人: who takes it out (default: your login)")
    export.add_argument(
        "--approved-by", default="", metavar="NAME", help="批准人, as you say it: recorded, not checked; most want one"
    )
    for name, meaning in (
        ("purpose", "用途"),
        ("document", "批准文书号"),
        ("made-by", "制作人"),
        ("party", "当事人"),
        ("matter", "案由"),
        ("place", "执法地点"),
        ("unit", "单位"),
    ):
        export.add_argument(f"--{name}", default="", metavar="TEXT", help=meaning)
    export.add_argument("--officer", action="append", default=[], metavar="NAME", help="执法人员; may be repeated")
    export.set_defaults(run=wrapped(_export))


async def _export(arguments: argparse.Namespace, house: House) -> int:
    from storage.export import sheet
    from storage.export.package import Exporter, Request
    from storage.ledger.keys import load_keys
    from storage.objects.connect import connect

    ledger = await house.ledger()
    recorder_id, session_id = await _session(ledger, arguments.session)
    clauses = await _agreed(arguments, house, ledger, recorder_id, session_id)
    keys = load_keys(Path(house.settings.ledger_key_file), house.settings.ledger_origin)
    store = connect(house.settings)
    house.stack.push_async_callback(store.close)
    request = Request(
        by=arguments.by or getpass.getuser(),
        purpose=arguments.purpose,
        approved_by=arguments.approved_by,
        document=arguments.document,
        made_by=arguments.made_by,
        clauses=clauses,
        party=arguments.party,
        matter=arguments.matter,
        officers=arguments.officer,
        place=arguments.place,
        unit=arguments.unit,
    )
    exporter = Exporter(ledger, store, keys, house.clock, sheet.write)
    told = await exporter.make(
        arguments.out,
        recorder_id,
        session_id,
        request,
        from_at=arguments.from_at,
        to_at=arguments.to_at,
        clock=await _clock(house, recorder_id),
    )
    print(f"{arguments.out}: {len(told.objects)} recordings, {len(told.gaps)} gaps, {keys.signer.verifier}")
    return 0


async def _clock(house: House, recorder_id: str) -> list[Finding] | None:
    """Return what was found of a recorder's clock; None where the catalogue is not at hand: a package needs it not."""
    from storage.catalog.catalog import Catalog
    from storage.export.basis import clock_findings

    try:
        catalog = Catalog.reading(house.settings.catalog)
        house.stack.push_async_callback(catalog.close)
        return await clock_findings(catalog, recorder_id)
    except CatalogUnavailable as error:
        print(f"liuhen export: without what was found of the clock: {error}", file=sys.stderr)
        return None


async def _session(ledger: Ledger, text: str) -> tuple[str, str]:
    """Read `[RECORDER/]SESSION`; the recorder may be left out where only one has such a session.

    Raises:
        InvalidInput: No recorder has it, or several do; names them.
    """
    from domain.ids import check_recorder_id, check_session_id

    recorder_id, _, session = text.rpartition("/")
    session_id = check_session_id(session)
    if recorder_id:
        return check_recorder_id(recorder_id), session_id
    found = await ledger.recorders_of(session_id)
    if len(found) != 1:
        msg = f"session: {', '.join(found) or 'nobody'} has {session_id!r}; say RECORDER/SESSION"
        raise InvalidInput(msg, "session")
    return found[0], session_id


async def _agreed(
    arguments: argparse.Namespace, house: House, ledger: Ledger, recorder_id: str, session_id: str
) -> list[str]:
    """Return the articles that the export rests on.

    Raises:
        InvalidInput: The policy wants somebody's approval, and nobody has approved.
    """
    from storage.export.basis import approver, policy_of

    policy = await policy_of(ledger, house.book, recorder_id, session_id)
    if policy is None:
        return []
    title, clauses = approver(policy)
    if title and not arguments.approved_by:
        msg = f"approved-by: {'、'.join(clauses)}: 须经{title}批准; an export needs an approval"
        raise InvalidInput(msg, "approved-by")
    return clauses
