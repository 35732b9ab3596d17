"""Whether footage was granted to somebody who may not play it by office: the port, and the one that grants nothing."""

from __future__ import annotations

from typing import Protocol

from dashboards.people.rights import Person
from domain.clock import Instant


class Grants(Protocol):
    """Knows what was applied for, and approved."""

    async def allows(
        self,
        person: Person,
        recorder_id: str,
        session_id: str | None,
        *,
        from_at: Instant,
        to_at: Instant,
        at: Instant,
    ) -> bool:
        """Tell whether somebody was granted all of a span of a recorder's footage, and the grant holds now.

        Args:
            person: Who wants to see it.
            recorder_id: Of which recorder.
            session_id: Of which session; None: of whatever is in the span.
            from_at: From here,
            to_at: to here.
            at: Now.

        Raises:
            OfficeUnavailable: It cannot be told: show nothing.
        """
        ...

    async def under(
        self, person: Person, recorder_id: str, session_id: str, *, from_at: Instant, to_at: Instant, at: Instant
    ) -> str:
        """Return the id of the request under which somebody was granted any of a span; empty where none is.

        Raises:
            OfficeUnavailable: It cannot be told: show nothing.
        """
        ...


class NoGrants:
    """Grants nothing."""

    async def allows(
        self,
        person: Person,
        recorder_id: str,
        session_id: str | None,
        *,
        from_at: Instant,
        to_at: Instant,
        at: Instant,
    ) -> bool:
        """Return False."""
        return False

    async def under(
        self, person: Person, recorder_id: str, session_id: str, *, from_at: Instant, to_at: Instant, at: Instant
    ) -> str:
        """Return nothing."""
        return ""
