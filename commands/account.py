"""Accounts from the command line: `liuhen account list|invite|reset|disable|token`, on the office's database.

Whoever runs it holds the database already, so nobody is asked to sign in; the ledger is told all the same.
"""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from commands.keeping import Handler
from domain.errors import InvalidInput
from domain.settings import Settings

if TYPE_CHECKING:
    from dashboards.people.accounts import Accounts
    from house.house import House
    from storage.office.accounts import Account


def add_commands(commands: Any, wrapped: Callable[[Handler], Callable[[argparse.Namespace], int]]) -> None:
    """Add them all; arguments as for `commands.keeping.add_commands`."""
    account = commands.add_parser("account", help="who may sign in, and tokens of programs")
    account = account.add_subparsers(required=True, metavar="WHAT")

    def add(name: str, text: str, run: Handler) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = account.add_parser(name, help=text, description=text)
        command.set_defaults(run=wrapped(run))
        return command

    add("list", "all accounts", _list)
    invite = add("invite", "make an account, and print the link by which its password is set", _invite)
    invite.add_argument("login", metavar="LOGIN")
    invite.add_argument("--name", required=True, help="what people call them")
    reset = add("reset", "take password, codes and sessions away, and print a link to set a new password", _reset)
    reset.add_argument("login", metavar="LOGIN")
    disable = add("disable", "let somebody in no more", _disable)
    disable.add_argument("login", metavar="LOGIN")
    token = add("token", "make a token for a program, and print it once", _token)
    token.add_argument("--name", required=True, help="of the program")
    token.add_argument("--days", type=int, default=365, help="how long it opens anything (default: 365)")
    for command in (invite, token):
        command.add_argument(
            "--duty", action="append", required=True, metavar="ROLE[@UNIT[/SITE]]", help="may be given several times"
        )


def address(settings: Settings) -> str:
    """Return how a browser on this machine, or as `console_url` says, reaches the console."""
    host, _, port = settings.http.rpartition(":")
    return settings.console_url.rstrip("/") or f"http://{seen_from_here(host)}:{port}"


def seen_from_here(host: str) -> str:
    """Return a host to go to where one to listen on is given."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]", "[::]": "[::1]", "": "127.0.0.1"}.get(host, host)


async def _list(_: argparse.Namespace, house: House) -> int:
    from storage.office import accounts

    for one in await accounts.everybody(await house.office()):
        held = " ".join(f"{duty.role}@{duty.unit_id}/{duty.site_id}".rstrip("/").rstrip("@") for duty in one.duties)
        print(f"{one.login}\t{one.name}\t{one.state}\t{'codes' if one.has_totp else '-'}\t{held}")
    return 0


async def _invite(arguments: argparse.Namespace, house: House) -> int:
    from dashboards.people.accounts import parse_duty

    desk = await _desk(house)
    made = await desk.make(_me(), arguments.login, arguments.name, [parse_duty(text) for text in arguments.duty])
    print(f"{address(house.settings)}/link/{await desk.invite(_me(), made)}")
    return 0


async def _reset(arguments: argparse.Namespace, house: House) -> int:
    token = await (await _desk(house)).reset(_me(), await _account(house, arguments.login))
    print(f"{address(house.settings)}/link/{token}")
    return 0


async def _disable(arguments: argparse.Namespace, house: House) -> int:
    await (await _desk(house)).disable(_me(), await _account(house, arguments.login))
    return 0


async def _token(arguments: argparse.Namespace, house: House) -> int:
    from dashboards.people.accounts import parse_duty

    held = [parse_duty(text) for text in arguments.duty]
    _, token = await (await _desk(house)).make_integration(_me(), arguments.name, held, arguments.days)
    print(token)
    return 0


async def _desk(house: House) -> Accounts:
    from dashboards.people.accounts import Accounts
    from dashboards.people.audit import Audit

    return Accounts(await house.office(), Audit(await house.ledger(), house.clock), house.clock)


async def _account(house: House, login: str) -> Account:
    from dashboards.people.signing import normal_login
    from storage.office import accounts

    found = await accounts.by_login(await house.office(), normal_login(login))
    if found is None:
        msg = f"login: no account {login}"
        raise InvalidInput(msg, "login")
    return found[0]


def _me() -> str:
    """Return who the ledger is told did it."""
    try:
        return f"terminal:{getpass.getuser()}"
    except (OSError, KeyError):  # a user that the machine has no name for
        return "terminal"
