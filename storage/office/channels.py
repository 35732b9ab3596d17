"""By which channels people, and supervised parties, are reached.

Addresses of channels are secrets: they hold the tokens of robots and gateways. They go to the
notifier alone, and are in no answer and no log.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
from sqlalchemy import Column, Connection, Integer, String, Table, Text, delete, select

from domain.findings import Severity
from storage.office.office import Office, metadata

PARTY = "party"
"""Owner of the channels by which supervised parties are told, and account of entries to them."""

CONTACT = "{contact}"
"""Stands in the address of such a channel where the number or mail address goes."""

channels = Table(
    "notify_channels",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("account_id", String(200), nullable=False, index=True),
    Column("position", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Column("address", Text, nullable=False),
)


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """A way to reach somebody, without its address.

    Attributes:
        id: Of the channel.
        account_id: Whose; `party` for those by which parties are told.
        position: The first that takes a message gets it, the next ones where it fails.
        kind: webhook, dingtalk, wecom, feishu, mail, sms or other.
        label: What people call it.
        min_severity: Takes messages from this severity on.
        quiet_from: `HH:MM` in China, from which all but critical messages wait; empty where none does.
        quiet_to: Until when.
    """

    id: str
    account_id: str
    position: int
    kind: str
    label: str = ""
    min_severity: Severity = "warning"
    quiet_from: str = ""
    quiet_to: str = ""


_channel = msgspec.json.Decoder(Channel)


def channels_of(connection: Connection, account_ids: Collection[str] | None = None) -> dict[str, list[Channel]]:
    """Return channels by account, each account's in order; of all accounts where None."""
    query = select(channels.c.body).order_by(channels.c.account_id, channels.c.position, channels.c.id)
    if account_ids is not None:
        query = query.where(channels.c.account_id.in_(list(account_ids)))
    found: dict[str, list[Channel]] = {}
    for body in connection.execute(query).scalars():
        channel = _channel.decode(body)
        found.setdefault(channel.account_id, []).append(channel)
    return found


def addresses(connection: Connection, account_ids: Collection[str]) -> dict[str, str]:
    """Return the secret addresses of these accounts' channels, by id. For the notifier alone."""
    query = select(channels.c.id, channels.c.address).where(channels.c.account_id.in_(list(account_ids)))
    return {row.id: row.address for row in connection.execute(query)}


def save_channel(office: Office, connection: Connection, channel: Channel, address: str | None) -> None:
    """Write a channel; its address stays as it is where None is given."""
    row: dict[str, Any] = {
        "id": channel.id,
        "account_id": channel.account_id,
        "position": channel.position,
        "body": msgspec.json.encode(channel).decode(),
        "address": address or "",
    }
    later = {name: row[name] for name in ("account_id", "position", "body")}
    if address is not None:
        later["address"] = address
    connection.execute(office.insert(channels).values(row).on_conflict_do_update(index_elements=["id"], set_=later))


def remove_channel(connection: Connection, channel_id: str, account_id: str) -> bool:
    """Take an account's channel away; False where there was none."""
    gone = delete(channels).where(channels.c.id == channel_id, channels.c.account_id == account_id)
    return connection.execute(gone).rowcount > 0
