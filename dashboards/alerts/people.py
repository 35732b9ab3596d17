"""Who is told: accounts, what they are and where, as far as a rule of routing asks for it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, select

from dashboards.people.rights import Duty, Place, Role
from domain.alerts import RANK, Alert, Route
from storage.office import accounts, channels
from storage.office.channels import Channel

ALONG = (["role:duty_officer"], ["role:supervisor"], ["agency:supervisor"])
"""Where no rule fits: who is on duty there, then who supervises there, then who supervises the agency."""
BY_FAMILY: dict[str, tuple[list[str], ...]] = {
    "store": (["agency:administrator", "role:duty_officer"], ["agency:supervisor"]),
    "integrity": (["agency:archive_manager", "role:supervisor"], ["agency:supervisor", "agency:auditor"]),
    "system": (["agency:administrator"], ["agency:supervisor"]),
}
BY_OWNER: dict[str, tuple[list[str], ...]] = {
    "operator": BY_FAMILY["system"],
    "custodian": BY_FAMILY["integrity"],
    "supervisor": ALONG[1:],
    "unit": ALONG,
}
"""Of alerts of Prometheus, by the owner that their rule names."""


class Addressee(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who can be told.

    Attributes:
        account_id: Of the account.
        name: What people call them.
        language: The one they read; empty where they chose none.
        duties: What they are, and where.
    """

    account_id: str
    name: str
    language: str
    duties: tuple[Duty, ...]


class Directory:
    """Everybody who can be told, and how.

    Args:
        people: All accounts in use.
        channels: Their channels.
    """

    def __init__(self, people: Sequence[Addressee], channels: dict[str, list[Channel]]) -> None:
        self.people = {each.account_id: each for each in people}
        self.channels = channels

    def named(self, target: str, place: Place) -> list[str]:
        """Return accounts that a target of a rule names: `role:…`, `agency:…` or `account:…`.

        Of a role those count whose duty is nearest: at the site, else in the unit, else in the whole agency.
        """
        how, _, name = target.partition(":")
        if how == "account":
            return [name] if name in self.people else []
        held = [
            (_nearness(duty), each.account_id)
            for each in self.people.values()
            for duty in each.duties
            if duty.role == name and _covers(duty, place)
        ]
        wanted = 0 if how == "agency" else max((near for near, _ in held), default=0)
        return sorted({account for near, account in held if near == wanted})

    def level(self, levels: Sequence[Sequence[str]], number: int, place: Place) -> list[str]:
        """Return accounts of one level, in order."""
        targets = levels[number] if number < len(levels) else ()
        return list(dict.fromkeys(account for target in targets for account in self.named(target, place)))

    def reachable(self, account_id: str, severity: str) -> bool:
        """Tell whether somebody has a channel that takes messages of a severity."""
        return any(RANK[severity] >= RANK[each.min_severity] for each in self.channels.get(account_id, ()))


def directory(connection: Connection) -> Directory:
    """Read everybody who can be told."""
    held: dict[str, list[Duty]] = {}
    for row in connection.execute(select(accounts.duties)):
        held.setdefault(row.account_id, []).append(Duty(role=Role(row.role), unit_id=row.unit_id, site_id=row.site_id))
    table = accounts.accounts
    query = select(table.c.account_id, table.c.name, table.c.language).where(table.c.state == "active")
    people = [
        Addressee(
            account_id=row.account_id, name=row.name, language=row.language, duties=tuple(held.get(row.account_id, ()))
        )
        for row in connection.execute(query)
    ]
    return Directory(people, channels.channels_of(connection))


def levels_of(alert: Alert, route: Route | None) -> list[list[str]]:
    """Return who is told of an alert, level by level, by the rule that fits or by what holds without one."""
    if route is not None and route.levels:
        return [list(level) for level in route.levels]
    owner = alert.group.rpartition("/")[0].rpartition("@")[2] if alert.scope == "source" else ""
    return [list(level) for level in BY_OWNER.get(owner, BY_FAMILY.get(alert.family, ALONG))]


def _nearness(duty: Duty) -> int:
    return 2 if duty.site_id else 1 if duty.unit_id else 0


def _covers(duty: Duty, place: Place) -> bool:
    return duty.unit_id in ("", place.unit_id) and duty.site_id in ("", place.site_id)
