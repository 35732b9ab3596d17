"""The detectors, in the order in which they speak."""

from __future__ import annotations

from detectors.clock_drift import ClockDrift
from detectors.contract import Detector, Thresholds
from detectors.device_silent import DeviceSilent
from detectors.integrity_broken import IntegrityBroken
from detectors.picture_blurred import PictureBlurred
from detectors.picture_covered import PictureCovered
from detectors.picture_frozen import PictureFrozen
from detectors.picture_moved import PictureMoved
from detectors.power_low_battery import PowerLowBattery
from detectors.recorder import Rules
from detectors.recording_gap import RecordingGap
from detectors.recording_stalled import RecordingStalled
from detectors.recording_stop_and_go import RecordingStopAndGo
from detectors.recording_unexplained_stop import RecordingUnexplainedStop
from detectors.sound_missing import SoundMissing
from detectors.storage_low_space import StorageLowSpace
from detectors.store_stalled import StoreStalled
from detectors.upload_lagging import UploadLagging
from detectors.upload_overdue import UploadOverdue
from policies.local import Rulebook

ALL: tuple[Detector, ...] = (
    RecordingStalled(),
    RecordingGap(),
    RecordingUnexplainedStop(),
    RecordingStopAndGo(),
    PowerLowBattery(),
    StorageLowSpace(),
    DeviceSilent(),
    ClockDrift(),
    PictureCovered(),
    PictureFrozen(),
    PictureMoved(),
    PictureBlurred(),
    SoundMissing(),
    UploadLagging(),
    UploadOverdue(),
    StoreStalled(),
    IntegrityBroken(),
)


def rules(thresholds: Thresholds | None = None, book: Rulebook | None = None) -> Rules:
    """Return all detectors with these thresholds and rules, or the defaults."""
    return Rules(ALL, thresholds or Thresholds(), book)
