"""Whether somebody may play stored footage: by office, at the place where it is, or because it was granted to them.

A playlist must be covered whole. Of the fragments in it those at its edges may reach beyond the span by the rest of
their few seconds: a recording is not coded again, so it is not cut within a fragment.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode

from dashboards.people.grants import Grants
from dashboards.people.rights import Person, Place, Right
from dashboards.problem import Forbidden, Missing
from domain.clock import Clock, Instant

PlaceOf = Callable[[str, Instant], Place]
"""Where a recorder is, and whose it was at a moment."""


class Playing:
    """See the module.

    Args:
        place: Where a recorder is.
        grants: What was granted.
        clock: The time.
    """

    def __init__(self, place: PlaceOf, grants: Grants, clock: Clock) -> None:
        self._place, self._grants, self._clock = place, grants, clock

    async def may_view(
        self, person: Person, recorder_id: str, session_id: str | None, from_at: Instant, to_at: Instant
    ) -> bool:
        """Tell whether somebody may play all of a span.

        Raises:
            OfficeUnavailable: It cannot be told.
        """
        if person.may_at(Right.FOOTAGE_VIEW, self._place(recorder_id, from_at)):
            return True
        return await self._grants.allows(
            person, recorder_id, session_id, from_at=from_at, to_at=to_at, at=self._clock.now()
        )

    async def check_span(self, person: Person, recorder_id: str, from_at: Instant, to_at: Instant) -> None:
        """Go on only if somebody may play all of a span.

        Raises:
            Forbidden: They may not, and may ask for it.
            Missing: They may not even know that there is such a recorder.
            OfficeUnavailable: It cannot be told.
        """
        if not await self.may_view(person, recorder_id, None, from_at, to_at):
            raise self._refused(person, recorder_id, from_at, to_at)

    async def check_part(
        self, person: Person, recorder_id: str, session_id: str, from_at: Instant, to_at: Instant
    ) -> str:
        """Go on only if somebody may play something of a span.

        Returns:
            Id of the request under which they may; empty where they may by office.

        Raises:
            Forbidden, Missing, OfficeUnavailable: As for `check_span`.
        """
        if person.may_at(Right.FOOTAGE_VIEW, self._place(recorder_id, from_at)):
            return ""
        now = self._clock.now()
        request = await self._grants.under(person, recorder_id, session_id, from_at=from_at, to_at=to_at, at=now)
        if not request:
            raise self._refused(person, recorder_id, from_at, to_at)
        return request

    def _refused(self, person: Person, recorder_id: str, from_at: Instant, to_at: Instant) -> Exception:
        if not person.may_at(Right.FOOTAGE_SEARCH, self._place(recorder_id, from_at)):
            return Missing(f"no recorder {recorder_id}")
        span = urlencode({"recorder": recorder_id, "from": from_at.rfc3339(), "to": to_at.rfc3339()})
        return Forbidden(f"playing this takes the right {Right.FOOTAGE_VIEW}, or a request: /requests/new?{span}")
