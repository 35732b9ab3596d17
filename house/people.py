"""People for a demonstration: one account of each role, with a password made up now and a link that signs it in."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import msgspec

from house.house import House

NAMES = {
    "duty_officer": ("duty", "值班员 王敏"),
    "supervisor": ("supervisor", "主管 李建国"),
    "site_operator": ("operator", "场所操作员 赵磊"),
    "officer": ("officer", "执法人员 陈静"),
    "archive_manager": ("archive", "档案管理员 周芳"),
    "auditor": ("auditor", "审计员 吴昊"),
    "administrator": ("admin", "系统管理员 孙丽"),
}
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"


class Guest(msgspec.Struct, frozen=True):
    """One account of the demonstration.

    Attributes:
        account_id: Its id.
        role: What it is.
        name: What people call it.
        login: To sign in with,
        password: and this.
        link: Signs in directly, once; empty where the account was there before.
    """

    account_id: str
    role: str
    name: str
    login: str
    password: str
    link: str


async def invite_guests(house: House) -> Sequence[Guest]:
    """Make the accounts that are missing, each for the whole agency, and give those that are there a new password."""
    from dashboards.people.accounts import Accounts
    from dashboards.people.audit import Audit
    from dashboards.people.passwords import Passwords
    from storage.office import accounts
    from storage.office.accounts import DutyRow

    office, passwords = await house.office(), Passwords()
    desk = Accounts(office, Audit(await house.ledger(), house.clock), house.clock)
    guests = []
    for role, (login, name) in NAMES.items():
        known = await accounts.by_login(office, login)
        account = known[0] if known else await desk.make("demo", login, name, [DutyRow(role)])
        password = "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(4))
        await accounts.set_password(office, account.account_id, await passwords.hashed(password))
        link = f"{house.seen_at}/link/{await desk.entering(account)}"
        guests.append(Guest(account.account_id, role, name, login, password, link))
    return guests


def invitation(guests: Sequence[Guest]) -> str:
    """Return what the terminal shows of them."""
    lines = [f"  {guest.login:<11} {guest.password}   {guest.name}\n              {guest.link}" for guest in guests]
    head = "演示账户（未启用两步验证），链接各用一次 demo accounts (no one-time codes), each link works once:"
    return "\n".join((head, *lines))
