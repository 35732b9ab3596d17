"""What people call those whom the ledger, alerts and explanations name by their account."""

from __future__ import annotations

from collections.abc import Callable

from storage.office import accounts
from storage.office.office import Office

Who = Callable[[str], str]


async def who_of(office: Office) -> Who:
    """Return what gives somebody's name: the account's, else what stands there (a device's officer, a program)."""
    known = {one.account_id: one.name for one in await accounts.everybody(office)}
    return lambda one: known.get(one) or one
