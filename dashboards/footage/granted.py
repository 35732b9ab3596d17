"""What was granted, by the requests that the office keeps."""

from __future__ import annotations

from collections.abc import Iterable

from dashboards.parts import Parts
from dashboards.people.playing import Playing
from dashboards.people.rights import Person
from domain.clock import Instant
from storage.office.office import Office
from storage.office.request_steps import Application
from storage.office.requests import grants_of


class Granted:
    """The port `dashboards.people.grants.Grants`, on the office.

    Args:
        office: Keeps the requests.
    """

    def __init__(self, office: Office) -> None:
        self._office = office

    async def allows(
        self, person: Person, recorder_id: str, session_id: str | None, *, from_at: Instant, to_at: Instant, at: Instant
    ) -> bool:
        """See the port: one request must cover all of it."""
        asked = await self._hold(person, recorder_id, session_id, at)
        return any(one.from_at <= from_at and to_at <= one.to_at for one in asked)

    async def under(
        self, person: Person, recorder_id: str, session_id: str, *, from_at: Instant, to_at: Instant, at: Instant
    ) -> str:
        """See the port: the request whose span reaches furthest is named."""
        asked = await self._hold(person, recorder_id, session_id, at)
        touching = [one for one in asked if one.from_at < to_at and from_at < one.to_at]
        return max(touching, key=lambda one: (one.to_at, one.id)).id if touching else ""

    async def _hold(
        self, person: Person, recorder_id: str, session_id: str | None, at: Instant
    ) -> Iterable[Application]:
        found = await grants_of(self._office, person.account_id, recorder_id, at)
        asked = [one.request.application for one in found]
        return [one for one in asked if session_id in (None, one.session_id)]


async def may_view(
    parts: Parts, person: Person, recorder_id: str, session_id: str | None, *, from_at: Instant, to_at: Instant
) -> bool:
    """Tell whether somebody may play all of a span, by office or by a grant.

    Raises:
        OfficeUnavailable: It cannot be told.
    """
    playing = Playing(parts.place, Granted(parts.office), parts.clock)
    return await playing.may_view(person, recorder_id, session_id, from_at, to_at)
