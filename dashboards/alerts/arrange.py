"""What people arrange: planned maintenance, who is told of what, and by which channels they are reached.

All of it is said in the custody ledger first. Addresses of channels are secrets, and are said nowhere.
"""

from __future__ import annotations

import re
import uuid
from typing import Any
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import Connection

from dashboards.people.audit import Audit
from dashboards.people.rights import Person, Place, Right, Role
from dashboards.problem import Forbidden, Missing
from domain.alerts import FAMILIES, RANK, Maintenance, Route
from domain.clock import Clock
from domain.errors import InvalidInput
from storage.office import alerts as rows
from storage.office import channels
from storage.office.channels import CONTACT, PARTY, Channel
from storage.office.office import Office

MAX_WINDOW_MS = 31 * 86_400_000
"""Longest maintenance: what is quiet for longer is forgotten."""
MAX_LEVELS = 8
MAX_CHANNELS = 8
CHANNEL_KINDS = ("webhook", "dingtalk", "wecom", "feishu", "mail", "sms", "other")
_KINDS = frozenset(FAMILIES) | frozenset(FAMILIES.values()) | {"recording.gap", "system"}
_TARGET = re.compile(r"(role|agency):(?P<role>[a-z_]+)|account:\S{1,64}")
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")


class Arrangements:
    """See the module.

    Args:
        office: Where it is kept.
        audit: What people do, before it takes effect.
        clock: The time.
    """

    def __init__(self, office: Office, audit: Audit, clock: Clock) -> None:
        self._office, self._audit, self._clock = office, audit, clock

    # -- maintenance --------------------------------------------------------------------------------------------

    async def windows(self, person: Person) -> list[Maintenance]:
        """Return maintenance that is not over, as far as somebody may see alerts there."""
        now = int(self._clock.now())
        found = await self._office.read(lambda connection: rows.windows(connection, now))
        return [window for window in found if person.may_at(Right.ALERT_SEE, _place(window)) or not _is_placed(window)]

    async def plan(self, person: Person, wanted: Maintenance) -> Maintenance:
        """Plan maintenance; `id` and `by` are given here. Right: `ALERT_ARRANGE`, at that place.

        Raises:
            InvalidInput: It ends before it begins, is over, too long, without a reason, or of no kind that there is.
            Forbidden: Not there.
        """
        planned = msgspec.structs.replace(wanted, id=uuid.uuid4().hex, by=person.account_id)
        self._check(planned)
        if not person.may_at(Right.ALERT_ARRANGE, _place(planned)):
            raise Forbidden("this takes the right to arrange there")
        await self._audit.note(person, "maintenance.planned", window=_facts(planned))
        await self._write_window(planned)
        return planned

    async def cancel(self, person: Person, window_id: str) -> Maintenance:
        """End maintenance now; what arose and still holds is told. Right: `ALERT_ARRANGE`, at that place.

        Raises:
            Missing: There is none that is not over.
        """
        now = int(self._clock.now())
        found = await self._office.read(lambda connection: rows.window(connection, window_id))
        if found is None or found.ends_at <= now or not person.may_at(Right.ALERT_ARRANGE, _place(found)):
            raise Missing(f"no maintenance {window_id}")
        ended = msgspec.structs.replace(found, ends_at=now)
        await self._audit.note(person, "maintenance.cancelled", window=_facts(ended))
        await self._write_window(ended)
        return ended

    async def _write_window(self, planned: Maintenance) -> None:
        now = int(self._clock.now())

        def work(connection: Connection) -> None:
            rows.lock(connection)
            rows.save_window(self._office, connection, planned)
            rows.wake_muted(connection, now)

        await self._office.write(work)

    def _check(self, planned: Maintenance) -> None:
        if planned.ends_at <= max(planned.starts_at, int(self._clock.now())):
            raise InvalidInput("ends_at: it must end after it begins, and not be over", "ends_at")
        if planned.ends_at - planned.starts_at > MAX_WINDOW_MS:
            raise InvalidInput("ends_at: 31 days at most", "ends_at")
        if not planned.reason.strip():
            raise InvalidInput("reason: say why", "reason")
        _check_kinds(planned.kinds)

    # -- routes -------------------------------------------------------------------------------------------------

    async def routes(self) -> list[Route]:
        """Return the rules of who is told, in order."""
        return await self._office.read(rows.routes)

    async def put_route(self, person: Person, wanted: Route) -> Route:
        """Write a rule; a new one where its `id` is empty. Right: `ALERT_ARRANGE`, at that place.

        Raises:
            InvalidInput: A level names nobody that can be, a time is negative, or a kind is none.
            Forbidden: Not there.
        """
        route = msgspec.structs.replace(wanted, id=wanted.id or uuid.uuid4().hex)
        _check_route(route)
        if not person.may_at(Right.ALERT_ARRANGE, Place(unit_id=route.unit_id, site_id=route.site_id)):
            raise Forbidden("this takes the right to arrange there")
        await self._audit.note(person, "route.written", route=msgspec.to_builtins(route))
        await self._office.write(lambda connection: rows.save_route(self._office, connection, route))
        return route

    async def remove_route(self, person: Person, route_id: str) -> None:
        """Take a rule away. Right: `ALERT_ARRANGE`, at its place.

        Raises:
            Missing: There is none.
        """
        found = next((route for route in await self.routes() if route.id == route_id), None)
        if found is None or not person.may_at(Right.ALERT_ARRANGE, Place(unit_id=found.unit_id, site_id=found.site_id)):
            raise Missing(f"no rule {route_id}")
        await self._audit.note(person, "route.removed", route=route_id)
        await self._office.write(lambda connection: rows.remove_route(connection, route_id))

    # -- channels -----------------------------------------------------------------------------------------------

    async def channels(self, person: Person, account_id: str) -> list[Channel]:
        """Return an account's channels, without their addresses. One's own, or with `ALERT_ARRANGE` anybody's."""
        _check_owner(person, account_id)
        found = await self._office.read(lambda connection: channels.channels_of(connection, [account_id]))
        return found.get(account_id, [])

    async def put_channel(self, person: Person, wanted: Channel, address: str | None) -> Channel:
        """Write a channel; a new one where its `id` is empty. Its address stays where None is given.

        Args:
            person: Who does; their own, or with `ALERT_ARRANGE` anybody's.
            wanted: The channel.
            address: An address as Apprise knows it, or for a `webhook` its http(s) address. Secret.

        Raises:
            InvalidInput: Of no kind that there is, without address, or too many.
            Forbidden: Not theirs.
        """
        _check_owner(person, wanted.account_id)
        present = await self.channels(person, wanted.account_id)
        is_new = wanted.id not in {each.id for each in present}
        if is_new and len(present) >= MAX_CHANNELS:
            raise InvalidInput(f"{MAX_CHANNELS} channels at most", "account_id")
        if is_new and not address:
            raise InvalidInput("address: is needed", "address")
        channel = msgspec.structs.replace(wanted, id=wanted.id if not is_new else uuid.uuid4().hex)
        if channel.account_id == PARTY:
            channel = msgspec.structs.replace(channel, min_severity="info", quiet_from="", quiet_to="")
        _check_channel(channel, address)
        await self._audit.note(
            person, "channel.written", account=channel.account_id, channel=channel.id, kind_of=channel.kind
        )
        await self._office.write(lambda connection: channels.save_channel(self._office, connection, channel, address))
        return channel

    async def remove_channel(self, person: Person, account_id: str, channel_id: str) -> None:
        """Take a channel away.

        Raises:
            Missing: There is none.
            Forbidden: Not theirs.
        """
        _check_owner(person, account_id)
        if channel_id not in {each.id for each in await self.channels(person, account_id)}:
            raise Missing(f"no channel {channel_id}")
        await self._audit.note(person, "channel.removed", account=account_id, channel=channel_id)
        await self._office.write(lambda connection: channels.remove_channel(connection, channel_id, account_id))


def _place(window: Maintenance) -> Place:
    return Place(unit_id=window.unit_id, site_id=window.site_id)


def _is_placed(window: Maintenance) -> bool:
    return bool(window.unit_id or window.site_id)


def _facts(window: Maintenance) -> dict[str, Any]:
    facts: dict[str, Any] = msgspec.to_builtins(window)
    return facts


def _check_kinds(kinds: list[str]) -> None:
    for kind in kinds:
        if kind not in _KINDS:
            raise InvalidInput(f"kinds: {kind!r} is neither a kind of finding nor a family", "kinds")


def _check_route(route: Route) -> None:
    _check_kinds(route.kinds)
    if not 1 <= len(route.levels) <= MAX_LEVELS or not all(route.levels):
        raise InvalidInput(f"levels: 1 to {MAX_LEVELS}, each naming somebody", "levels")
    for target in (target for level in route.levels for target in level):
        fits = _TARGET.fullmatch(target)
        role = fits["role"] if fits else None
        if fits is None or (role is not None and role not in set(Role)):
            raise InvalidInput(f"levels: {target!r} is not role:ROLE, agency:ROLE or account:ID", "levels")
    for severity, within_s in route.ack_within_s.items():
        if severity not in RANK or not 0 <= within_s <= 86_400 * 31:
            raise InvalidInput("ack_within_s: seconds by severity, 31 days at most", "ack_within_s")


def _check_owner(person: Person, account_id: str) -> None:
    if account_id != person.account_id and not person.may(Right.ALERT_ARRANGE):
        raise Forbidden("one's own channels alone")
    if account_id == PARTY and not person.may_at(Right.ALERT_ARRANGE, Place()):
        raise Forbidden("channels to parties are arranged for the whole agency")


def _check_channel(channel: Channel, address: str | None) -> None:
    if channel.kind not in CHANNEL_KINDS:
        raise InvalidInput(f"kind: one of {', '.join(CHANNEL_KINDS)}", "kind")
    for name in ("quiet_from", "quiet_to"):
        value = getattr(channel, name)
        if value and not _TIME.fullmatch(value):
            raise InvalidInput(f"{name}: HH:MM", name)
    if bool(channel.quiet_from) != bool(channel.quiet_to):
        raise InvalidInput("quiet_to: give both times, or none", "quiet_to")
    if address is None:
        return
    if channel.account_id == PARTY and (channel.kind not in ("sms", "mail") or CONTACT not in address):
        raise InvalidInput(f"address: of kind sms or mail, with {CONTACT} where the contact goes", "address")
    if len(address) > 2000 or any(ord(letter) < 0x21 for letter in address):
        raise InvalidInput("address: one address, without blanks", "address")
    if channel.kind == "webhook" and urlsplit(address).scheme not in ("http", "https"):
        raise InvalidInput("address: http or https", "address")
