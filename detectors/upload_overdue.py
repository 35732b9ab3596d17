"""`upload.overdue`: the time to store footage is over, and not all of it is stored.

Only where the policy has a figure for this kind of recording. Where it counts plain days (Gansu) and they would not be
over if they were working days, the evidence says `days_off_only`. See `detectors.uploads`.
"""

from __future__ import annotations

from detectors.uploads import Upload


class UploadOverdue(Upload):
    """The detector."""

    def __init__(self) -> None:
        super().__init__("upload.overdue", overdue=True)
