"""Every error Liuhen raises on purpose.

The tree::

    LiuhenError
    ├── InvalidInput           the caller's data is wrong; names the field
    │   ├── InvalidEvent       an event line or message that cannot be read
    │   ├── InvalidSettings    a configuration key or value
    │   ├── InvalidPolicy      a rule, its source or a calendar, in a policy file
    │   └── InvalidMedia       RTP, SDP or a bitstream that cannot be taken apart
    ├── Unavailable            a service is away; the same call may work later
    │   ├── BusUnavailable
    │   ├── StoreUnavailable
    │   ├── CatalogUnavailable
    │   ├── LedgerUnavailable
    │   └── OfficeUnavailable
    ├── Refused                the other side said no, and will say no again
    │   ├── StoreUnfit         a bucket without lock, an endpoint that overwrites
    │   ├── NotAuthorized
    │   └── NotActive          recorder unknown or not activated
    └── IntegrityError         what was read is not what was written

Exceptions of libraries are translated into these in the one module that imports the library.
"""

from __future__ import annotations


class LiuhenError(Exception):
    """Root of all errors raised on purpose."""


class InvalidInput(LiuhenError):
    """The caller's data is wrong.

    Args:
        message: What is wrong, naming the field.
        field: Path of the field, such as ``battery_percent``; empty where the whole is unreadable.
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class InvalidEvent(InvalidInput):
    """An event that cannot be read: unknown type, missing field, value out of range."""


class InvalidSettings(InvalidInput):
    """A configuration key or value that cannot be used."""


class InvalidPolicy(InvalidInput):
    """A policy file that cannot be used: unknown key, missing source, unknown article; names file and key."""


class InvalidMedia(InvalidInput):
    """RTP, SDP, RTSP or a bitstream that cannot be taken apart."""


class Unavailable(LiuhenError):
    """A service is away; the same call may work later."""


class BusUnavailable(Unavailable):
    """The log did not acknowledge in time."""


class StoreUnavailable(Unavailable):
    """The object store did not answer in time."""


class CatalogUnavailable(Unavailable):
    """The catalogue database did not answer in time."""


class LedgerUnavailable(Unavailable):
    """The custody ledger did not answer in time, or could not write durably."""


class OfficeUnavailable(Unavailable):
    """The database of people, premises, alerts and requests did not answer in time."""


class Refused(LiuhenError):
    """The other side said no, and will say no again."""


class StoreUnfit(Refused):
    """The object store cannot keep evidence: no object lock, or create-only writes are ignored."""


class NotAuthorized(Refused):
    """The credentials do not allow this."""


class NotActive(Refused):
    """The recorder is unknown, or not activated."""


class IntegrityError(LiuhenError):
    """What was read is not what was written."""
