"""What people do, in the custody ledger before it takes effect. Nobody can take a line out of it, nor change one."""

from __future__ import annotations

from typing import Any

from dashboards.people.rights import Person
from domain.clock import Clock
from storage.ledger.entry import Entry
from storage.ledger.ledger import Ledger


class Audit:
    """See the module.

    Args:
        ledger: Where it is said.
        clock: When.
    """

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger, self._clock = ledger, clock

    async def note(
        self,
        person: Person | str,
        what: str,
        *,
        recorder_id: str | None = None,
        session_id: str | None = None,
        **facts: Any,
    ) -> None:
        """Say that somebody is about to do something: an entry of kind `act`.

        Args:
            person: Who, or the id of who.
            what: The act, as `noun.verb`: `account.created`, `alert.acknowledged`, `premises.activated`.
            recorder_id: Of whose footage, where it is about one recorder.
            session_id: Of which session.
            facts: What of, JSON values. No secrets, no more of a person than the act needs.

        Raises:
            LedgerUnavailable: It cannot be said: do nothing.
            IntegrityError: The ledger takes nothing more until somebody has looked at it: do nothing.
        """
        by = person if isinstance(person, str) else person.account_id
        body = {"what": what, "by": by, **facts}
        entry = Entry(kind="act", at=self._clock.now(), recorder_id=recorder_id, session_id=session_id, body=body)
        await self._ledger.append([entry])
