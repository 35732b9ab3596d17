"""The newest registration of each recorder, as topic `registry` says."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from domain.bus import Record
from domain.errors import InvalidEvent
from domain.events import RecorderRegistered
from domain.registry import Registration
from domain.wire import decode_registration

_log = logging.getLogger(__name__)


class Registrations:
    """Fed by a follower of topic `registry`; the whole fleet in memory, some hundred bytes a recorder."""

    def __init__(self) -> None:
        self._newest: dict[str, Registration] = {}
        self._recalled: dict[str, Registration] = {}
        self.version = 0
        """Counts changes."""

    def recall(self, known: Iterable[Registration]) -> None:
        """Go by what an earlier life knew, until the log has been read: each record read takes the place of its own."""
        self._recalled = {one.recorder_id: one for one in known}

    def caught_up(self) -> None:
        """The log has been read: what it did not tell of is no more."""
        self._recalled = {}
        self.version += 1

    def get(self, recorder_id: str) -> Registration | None:
        """Return the newest registration, None where unknown."""
        return self._newest.get(recorder_id) or self._recalled.get(recorder_id)

    def all(self) -> list[Registration]:
        """Give the newest registration of each recorder."""
        return [*self._recalled.values(), *self._newest.values()]

    def all_cameras(self) -> Iterable[Registration]:
        """Give the registrations of recorders that are pulled, whatever their state."""
        return [one for one in self.all() if one.url is not None]

    def cameras(self) -> Iterable[Registration]:
        """Give the registrations that are to be pulled now."""
        return [one for one in self.all_cameras() if one.state == "active"]

    def take(self, record: Record) -> None:
        """Fold in a record; one that cannot be read changes nothing (the partition's worker rejects it)."""
        if record.key is None:
            return
        try:
            registration = read_registration(record)
        except InvalidEvent as error:
            _log.warning("registry: %s: %s", record.key, error)
            return
        self._recalled.pop(record.key, None)
        self.version += 1
        if registration is None:
            self._newest.pop(record.key, None)
        else:
            self._newest[record.key] = registration


def read_registration(record: Record) -> Registration | None:
    """Return what a record of topic `registry` says, None for a tombstone.

    Raises:
        InvalidEvent: It is no registration, or of another recorder than its key says.
    """
    if record.value is None:
        return None
    registration = decode_registration(record.value)
    if registration.recorder_id != record.key:
        msg = f"recorder_id: {registration.recorder_id!r} under key {record.key!r}"
        raise InvalidEvent(msg, "recorder_id")
    return registration


def registered_event(registration: Registration, record: Record) -> RecorderRegistered:
    """Return the event that tells of a registration; a function of the record, so that a repeat is the same line.

    Of one that was taken out of use nothing is expected any more: silence is what was decided.
    """
    in_use = registration.state == "active"
    return RecorderRegistered(
        at=record.timestamp,
        recorder_id=registration.recorder_id,
        kind=registration.kind,
        policy=registration.policy,
        site_id=registration.site_id,
        expects_audio=in_use and registration.expects_audio,
        continuous=in_use and registration.continuous,
        active=in_use,
    )
