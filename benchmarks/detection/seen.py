"""What is seen and heard, and what is nearly so: figures of pictures and sound in the first minutes of a story.

The figures are drawn, not measured: whether analysis finds them in real pictures is asked of real media elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.detection.story import Figures, Story
from domain.findings import FindingKind

Sight = Callable[[Story], None]
APART_MS = 12_500
"""Two observations are never further apart than this, with one shed between."""


def _between(story: Story, seconds: float, change: Callable[[Figures], None]) -> tuple[int, int]:
    """Change what is seen for so long, and good time after it."""
    low = story.now
    high = low + round(seconds * 1000)
    first = story.looks

    def looks(at: int, figures: Figures) -> None:
        first(at, figures)
        if low <= at < high:
            change(figures)

    story.looks = looks
    story.record(seconds)
    story.record(45)
    return low, high


def _picture(story: Story, kind: FindingKind, change: Callable[[Figures], None], fault: str, *, real: bool) -> None:
    low, _ = _between(story, story.draw.uniform(45, 110), change)
    if real:
        after = 30_000 if kind == "picture.frozen" else 2 * 4_000
        story.true(kind, low, slack_ms=10, reach_ms=APART_MS, due=low + after, ends=True, fault=fault)


def covered(story: Story) -> None:
    """A hand, tape, a cloth: dark, or of some colour."""
    contrast, luma = story.draw.uniform(0.4, 3.5), story.draw.choice((18.0, 60.0, 120.0))
    sharp = story.draw.uniform(0.1, 2)

    def change(figures: Figures) -> None:
        figures.contrast, figures.luma, figures.sharpness, figures.scene_shift = contrast, luma, sharp, 0.9

    _picture(story, "picture.covered", change, "covered", real=True)


def covered_in_part(story: Story) -> None:
    """Something hangs before half of the lens."""
    contrast = story.draw.uniform(8, 15)
    _picture(story, "picture.covered", lambda f: setattr(f, "contrast", contrast), "in part", real=False)


def frozen(story: Story) -> None:
    """The same picture again and again."""
    _picture(story, "picture.frozen", lambda f: setattr(f, "change", 0.0), "frozen", real=True)


def still(story: Story) -> None:
    """An empty room; only the sensor's noise moves."""
    change = story.draw.uniform(0.0012, 0.004)
    _picture(story, "picture.frozen", lambda f: setattr(f, "change", change), "still", real=False)


def moved(story: Story) -> None:
    """The camera was turned; nothing special on a body."""
    shift = story.draw.uniform(0.62, 1.0)
    real = story.kind != "body_worn"
    _picture(story, "picture.moved", lambda f: setattr(f, "scene_shift", shift), "turned", real=real)


def blurred(story: Story) -> None:
    """Out of focus."""
    part, contrast = story.draw.uniform(0.005, 0.1), story.draw.uniform(0.8, 1.0)

    def change(figures: Figures) -> None:
        figures.sharpness *= part
        figures.contrast *= contrast

    _picture(story, "picture.blurred", change, "blurred", real=True)


def softer(story: Story) -> None:
    """Rain, or fog: less sharp by half."""
    part = story.draw.uniform(0.35, 0.6)

    def change(figures: Figures) -> None:
        figures.sharpness *= part

    _picture(story, "picture.blurred", change, "softer", real=False)


def nightfall(story: Story) -> None:
    """It gets dark little by little until next to nothing is seen, and light again."""
    low, length = story.now, story.draw.uniform(1_500, 2_100)
    deep = story.draw.uniform(2.0, 9.0)
    day = story.day

    def change(at: int, figures: Figures) -> None:
        part = (at - low) / (length * 1000)
        if not 0 <= part <= 1:
            return
        light = abs(2 * part - 1) ** 1.5
        figures.luma = 17 + (day.luma - 17) * light
        figures.contrast = deep + (day.contrast - deep) * light
        figures.sharpness = max(1.0, day.sharpness * (figures.contrast / day.contrast) ** 2)

    first = story.looks

    def looks(at: int, figures: Figures) -> None:
        first(at, figures)
        change(at, figures)

    story.looks = looks
    story.record(length + 40)


def passers_by(story: Story) -> None:
    """People pass close by, one observation here and there."""

    def change(figures: Figures) -> None:
        if story.draw.random() < 0.25:
            figures.contrast, figures.scene_shift = figures.contrast * 0.5, story.draw.uniform(0.3, 0.6)
            figures.sharpness *= 0.5

    _picture(story, "picture.moved", change, "passers-by", real=False)


def silent(story: Story) -> None:
    """The microphone is dead, or gives next to nothing."""
    level = story.draw.choice((-120.0, story.draw.uniform(-100, -80)))
    low, _ = _between(story, story.draw.uniform(85, 130), lambda f: setattr(f, "audio_dbfs", level))
    story.true("sound.missing", low, slack_ms=10, reach_ms=APART_MS, due=low + 60_000, ends=True, fault="silent")


def no_track(story: Story) -> None:
    """The sound track is gone, and comes back."""
    low = story.now
    story.connect()
    length = story.draw.uniform(85, 130)
    story.soundless.append((low, low + round(length * 1000)))
    story.record(length)
    story.connect()
    story.record(45)
    story.true("sound.missing", low, slack_ms=10, reach_ms=4_100, due=low + 60_000, ends=True, fault="no track")


def quiet(story: Story) -> None:
    """A quiet room, for long; or nothing at all, for less than a minute."""
    if story.draw.random() < 0.5:
        _between(story, story.draw.uniform(70, 120), lambda f: setattr(f, "audio_dbfs", -60.0))
    else:
        _between(story, story.draw.uniform(15, 45), lambda f: setattr(f, "audio_dbfs", -120.0))


SIGHTS: dict[Sight, int] = {
    lambda story: story.record(30): 2,
    covered: 6,
    covered_in_part: 1,
    frozen: 6,
    still: 1,
    moved: 6,
    blurred: 6,
    softer: 1,
    nightfall: 2,
    passers_by: 1,
    silent: 3,
    no_track: 3,
    quiet: 2,
}
"""How often each is drawn."""
