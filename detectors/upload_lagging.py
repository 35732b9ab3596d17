"""`upload.lagging`: little of the time to store footage is left, and not all of it is stored.

It opens when a quarter of the wall-clock time from completion to the store-by time is left; where the rule says only
及时, two working days after completion, which is ours. See `detectors.uploads`.
"""

from __future__ import annotations

from detectors.uploads import Upload


class UploadLagging(Upload):
    """The detector."""

    def __init__(self) -> None:
        super().__init__("upload.lagging", overdue=False)
