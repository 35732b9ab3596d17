"""What a notifier needs to tell somebody: accounts with channels in an office, findings to tell of."""

import uuid
from collections.abc import Sequence
from typing import Any

from domain.clock import Instant, SystemClock
from domain.findings import Finding, FindingKind, Message, Severity, Status
from storage.office import accounts, channels
from storage.office.accounts import DutyRow
from storage.office.channels import Channel
from storage.office.office import Office


async def person(
    office: Office, account_id: str, duties: Sequence[DutyRow] = (DutyRow("duty_officer"),), language: str = ""
) -> None:
    """Make an account in use."""
    now = SystemClock().now()
    await accounts.create(office, account_id, login=account_id, name=account_id, duties=list(duties), at=now)
    await accounts.set_password(office, account_id, "unused")
    if language:
        await accounts.set_language(office, account_id, language)


async def channel(office: Office, account_id: str, address: str, **fields: Any) -> Channel:
    """Give an account one more channel."""
    made = Channel(**{"id": uuid.uuid4().hex, "account_id": account_id, "position": 0, "kind": "webhook", **fields})
    await office.write(lambda connection: channels.save_channel(office, connection, made, address))
    return made


def finding(
    recorder_id: str,
    kind: FindingKind = "recording.stalled",
    status: Status = "opened",
    at: int | None = None,
    *,
    began: int | None = None,
    severity: Severity = "warning",
    **fields: Any,
) -> Finding:
    """Make a finding; its id is a function of kind, recorder and beginning."""
    now = Instant(int(SystemClock().now()) if at is None else at)
    began_at = Instant(int(now) if began is None else began)
    return Finding(
        **{
            "id": uuid.uuid5(uuid.NAMESPACE_OID, f"{kind}/{recorder_id}/{int(began_at)}").hex,
            "kind": kind,
            "status": status,
            "severity": severity,
            "recorder_id": recorder_id,
            "began_at": began_at,
            "detected_at": now,
            "ended_at": now if status == "closed" else None,
            "evidence": {},
            "clauses": ["W-AV 第十八条"],
            "message": Message(key=kind, params={}),
            **fields,
        }
    )
