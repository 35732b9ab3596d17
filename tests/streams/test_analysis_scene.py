"""What is remembered of a camera: the same place by day, at dusk, by night; another place; a picture that stands."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from streams.analysis.decoding import contrast
from streams.analysis.memories import MAX_RECORDERS, Memories
from streams.analysis.scene import ADOPT_MS, Figures, Memory, see
from streams.analysis.wire import PICTURE_WIDTH, Picture

HEIGHT = 270
Grey = NDArray[np.float64]


def room(seed: int) -> Grey:
    """Furniture before a wall."""
    draw = np.random.default_rng(seed)
    picture = np.full((HEIGHT, PICTURE_WIDTH), 110.0) + np.linspace(-20, 40, PICTURE_WIDTH)
    for _ in range(25):
        x, y = int(draw.integers(0, 440)), int(draw.integers(0, 240))
        corner = (x + int(draw.integers(10, 120)), y + int(draw.integers(10, 80)))
        cv2.rectangle(picture, (x, y), corner, float(draw.integers(20, 230)), -1)
    return picture


def taken(scene: Grey, light: float = 1.0, noise: float = 2.0, seed: int = 0, colour: float = 15.0) -> Picture:
    """A picture of a scene in so much light."""
    shot = scene * light + 16 * (1 - light) + np.random.default_rng(seed).normal(0, noise, scene.shape)
    small = shot.clip(0, 255).astype(np.uint8)
    return Picture(float(small.mean()), float(small.std()), colour, HEIGHT, small.tobytes())


def watch(memory: Memory, pictures: list[Picture], start_s: int = 0, every_s: int = 4) -> list[Figures]:
    return [see(memory, one, 1000 * (start_s + every_s * number)) for number, one in enumerate(pictures)]


def shifts(figures: list[Figures]) -> list[float]:
    return [one.scene_shift for one in figures if one.scene_shift is not None]


def test_the_first_picture_is_the_reference() -> None:
    (first, second) = watch(Memory(), [taken(room(1)), taken(room(1), seed=1)])
    assert first.scene_shift is None
    assert first.change is None
    assert second.scene_shift is not None
    assert second.scene_shift < 0.1


def test_dusk_is_the_same_place() -> None:
    dusk = [taken(room(1), light=0.995**number, seed=number) for number in range(450)]
    assert max(shifts(watch(Memory(), dusk))) < 0.4


def test_infrared_is_a_place_of_its_own_and_day_is_remembered() -> None:
    memory = Memory()
    lamp = np.exp(-(np.linspace(-2, 2, PICTURE_WIDTH) ** 2))
    by_night = [taken((255 - room(1)) * 0.5 * lamp, seed=number, colour=0.2) for number in range(50)]
    day = [taken(room(1), seed=number) for number in range(50)]
    assert max(shifts(watch(memory, [*day, *by_night, *day]))) < 0.3
    assert min(shifts(watch(memory, [taken(room(2), seed=number) for number in range(5)], 1000))) > 0.5


@pytest.mark.parametrize("seed", range(2, 12))
def test_another_place_is_seen(seed: int) -> None:
    memory = Memory()
    watch(memory, [taken(room(1), seed=number) for number in range(30)])
    assert min(shifts(watch(memory, [taken(room(seed), seed=number) for number in range(30)], 200))) > 0.5


def test_a_person_who_walks_by_moves_no_camera() -> None:
    memory = Memory()
    pictures = []
    for number in range(60):
        shot = room(1).copy()
        cv2.ellipse(shot, (8 * number, 160), (25, 90), 0, 0, 360, 30.0, -1)
        pictures.append(taken(shot, seed=number))
    assert max(shifts(watch(memory, pictures))) < 0.4


def test_a_turned_camera_is_not_learnt_for_hours_and_then_it_is() -> None:
    memory = Memory()
    watch(memory, [taken(room(1), seed=number) for number in range(30)])
    hours = ADOPT_MS // 3_600_000
    turned = [taken(room(2), seed=number) for number in range(30 * (hours + 1))]
    found = shifts(watch(memory, turned, 1000, every_s=120))
    assert min(found[: 30 * hours - 2]) > 0.5
    assert max(found[-10:]) < 0.2


def test_a_flat_picture_says_nothing_of_the_place() -> None:
    memory = Memory()
    watch(memory, [taken(room(1))])
    assert shifts(watch(memory, [taken(np.full((HEIGHT, PICTURE_WIDTH), 20.0), noise=0.5)], 10)) == []
    assert max(shifts(watch(memory, [taken(room(1), seed=5)], 20))) < 0.1


def test_change() -> None:
    scene = room(1)
    still, other = taken(scene, seed=1), taken(scene, seed=2)
    figures = watch(Memory(), [still, still, other, still, still])
    assert [one.change for one in figures][:2] == [None, 0.0]
    assert figures[2].change is not None
    assert figures[2].change > 0.004
    # An encoder that goes back and forth between two forms of one picture has not moved.
    assert [one.change for one in figures][3:] == [0.0, 0.0]


def test_after_a_long_pause_there_is_no_picture_before() -> None:
    memory = Memory()
    watch(memory, [taken(room(1))])
    assert see(memory, taken(room(1), seed=1), 700_000).change is None


def test_a_caption_does_not_keep_a_blurred_picture_sharp() -> None:
    def captioned(sigma: float) -> Picture:
        picture = room(1) if not sigma else cv2.GaussianBlur(room(1), (0, 0), sigma)
        shot = np.asarray(picture).clip(0, 255).astype(np.uint8)
        for line in (22, 262):
            cv2.putText(shot, "2026-03-02 09:00:00 CAM 01", (6, line), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 255, 2)
        return taken(shot.astype(np.float64), noise=0.0)

    sharp, blurred = watch(Memory(), [captioned(0), captioned(9)])
    assert blurred.sharpness < 0.15 * sharp.sharpness


def test_references_outlive_the_worker(tmp_path: Path) -> None:
    path = tmp_path / "work" / "references"
    before = Memories(path)
    watch(before.of("cam-1"), [taken(room(1), seed=number) for number in range(10)])
    before.save()
    after = Memories(path)
    after.load()
    assert min(shifts(watch(after.of("cam-1"), [taken(room(2))], 100))) > 0.5
    path.write_bytes(path.read_bytes()[:100])
    damaged = Memories(path)
    damaged.load()
    assert shifts(watch(damaged.of("cam-1"), [taken(room(2))], 100)) == []


def test_memories_are_bounded(tmp_path: Path) -> None:
    memories = Memories(tmp_path / "references")
    first = memories.of("r0")
    for number in range(1, MAX_RECORDERS + 1):
        memories.of(f"r{number}")
    assert memories.of("r0") is not first


def test_somebody_before_the_lens_at_the_very_beginning_makes_no_reference() -> None:
    coat = np.full((HEIGHT, PICTURE_WIDTH), 60.0) + 25 * np.sin(np.arange(PICTURE_WIDTH) / 9)
    pictures = [*(taken(coat, seed=n) for n in range(2)), *(taken(room(1), seed=n) for n in range(2, 30))]
    assert max(shifts(watch(Memory(), pictures))) < 0.3


def test_a_cover_is_no_place() -> None:
    memory = Memory()
    pale, black = {"colour": 3.0}, np.full((HEIGHT, PICTURE_WIDTH), 20.0)
    watch(memory, [taken(room(1), seed=n, colour=8.0) for n in range(10)])
    watch(memory, [taken(black, seed=n, colour=0.1) for n in range(10)], 100)
    back = watch(memory, [taken(room(1), seed=n, **pale) for n in range(10)], 200)
    assert len(shifts(back)) == 10
    assert max(shifts(back)) < 0.3


@pytest.mark.parametrize("noise", [0.5, 2.0, 4.0])
def test_noise_is_not_sharpness(noise: float) -> None:
    def sharpness(scene: Grey) -> float:
        return watch(Memory(), [taken(scene, noise=noise)])[0].sharpness

    soft = np.asarray(cv2.GaussianBlur(room(1), (0, 0), 5), np.float64)
    assert sharpness(soft) < 0.1 * sharpness(room(1))


def test_a_caption_is_no_contrast() -> None:
    covered = np.random.default_rng(1).normal(20, 2, (HEIGHT, PICTURE_WIDTH)).clip(0, 255).astype(np.uint8)
    covered[:22] = 6
    cv2.putText(covered, "CAM 3  2026-03-02 09:00:00", (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.55, 255, 1)
    assert covered.std() > 10
    assert contrast(covered) < 3
    assert contrast(room(1).clip(0, 255).astype(np.uint8)) > 20
