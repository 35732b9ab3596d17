"""A device's camera and microphone: one thread draws and encodes in real time, the event loop hands out."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable

from domain.clock import Clock
from streams.simulate.scene import AUDIO_FRAME_S, EncodedUnit, Scene, SoundEncoder, VideoEncoder, heard
from streams.simulate.script import Device

Listener = Callable[[EncodedUnit], None]


class Source:
    """Encodes while it runs; listeners are called on the event loop, in order, and must not block.

    There is no queue here: a listener that cannot keep up must drop by itself, as a device's radio would. Only where
    the script says `jitter` are units held back, in order, by no more than it says.
    """

    def __init__(self, device: Device, clock: Clock, *, opus: bool) -> None:
        self.device = device
        self._clock = clock
        self._started_s = clock.monotonic()
        self._opus = opus
        self._listeners: list[Listener] = []
        self._stop = threading.Event()
        self._wants_keyframe = threading.Event()
        self._draw = random.Random(device.id)  # noqa: S311 - no secret
        self._out_s = 0.0
        self._thread: threading.Thread | None = None

    def elapsed_s(self) -> float:
        """Return seconds since the start of the run."""
        return self._clock.monotonic() - self._started_s

    def start(self) -> None:
        """Start the clock of the script, and the camera."""
        loop = asyncio.get_running_loop()
        self._started_s = self._clock.monotonic()
        self._thread = threading.Thread(target=self._run, args=(loop,), name=f"source-{self.device.id}", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Switch the camera off and wait for its thread."""
        self._stop.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Hear every unit from now on; the answer is the call that ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def want_keyframe(self) -> None:
        """Make the next picture a keyframe, as an encoder does for a viewer that has just come."""
        self._wants_keyframe.set()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        device = self.device
        scene, video, sound = Scene(device), VideoEncoder(device), SoundEncoder(opus=self._opus)
        picture_s, pictures, sounds = 1 / device.fps, 0, 0
        while not self._stop.is_set():
            picture_due, sound_due = pictures * picture_s, sounds * AUDIO_FRAME_S
            due_s = min(picture_due, sound_due)
            if self._stop.wait(max(0.0, due_s - self.elapsed_s())):
                return
            if device.has("power_off", self.elapsed_s()):
                units = []
            elif picture_due <= sound_due:
                wanted = self._wants_keyframe.is_set()
                self._wants_keyframe.clear()
                units = video.encode(scene.draw(due_s, self._clock.now()), due_s, keyframe=wanted)
            else:
                units = sound.encode(heard(device, due_s, sound.rate), due_s) if device.audio else []
            pictures += picture_due <= sound_due
            sounds += picture_due > sound_due
            if units and not loop.is_closed():
                loop.call_soon_threadsafe(self._hold, loop, units)

    def _hold(self, loop: asyncio.AbstractEventLoop, units: list[EncodedUnit]) -> None:
        """Let units out at once, or after what the script has them wait; never before those that came before them."""
        reach_s = max((one.value for one in self.device.faults(self.elapsed_s()) if one.do == "jitter"), default=0.0)
        self._out_s = max(self._out_s, loop.time() + self._draw.uniform(0, reach_s))
        if self._out_s <= loop.time():
            self._hand_out(units)
        else:
            loop.call_at(self._out_s, self._hand_out, units)

    def _hand_out(self, units: list[EncodedUnit]) -> None:
        for unit in units:
            for listener in tuple(self._listeners):
                listener(unit)
