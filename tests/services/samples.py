"""Sample recordings, made by FFmpeg when first asked for and kept in the cache under their command line's hash."""

import hashlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.services.cache import cache_dir, installed

Video = Literal["h264", "h265"]
Audio = Literal["aac", "alaw", "mulaw", "opus"]

_SOURCE = "testsrc2=size={size}:rate={rate},noise=alls={noise}:allf=t"
_TONE = "sine=frequency=440:beep_factor=4:sample_rate=48000"
_AUDIO_OPTIONS: dict[Audio, str] = {
    "aac": "-c:a aac -b:a 64k -ar 48000 -ac 1",
    "alaw": "-c:a pcm_alaw -ar 8000 -ac 1",
    "mulaw": "-c:a pcm_mulaw -ar 8000 -ac 1",
    "opus": "-c:a libopus -b:a 32k -ar 48000 -ac 1",
}
_PARSERS = {"h264": "h264parse ! rtph264pay config-interval=-1", "h265": "h265parse ! rtph265pay config-interval=-1"}
_PAYLOADERS: dict[Audio, tuple[str, int]] = {
    "aac": ("aacparse ! rtpmp4gpay", 97),
    "alaw": ("rtppcmapay", 8),
    "mulaw": ("rtppcmupay", 0),
    "opus": ("opusparse ! rtpopuspay", 98),
}


@dataclass(frozen=True)
class Recipe:
    """How a sample is made. `gop` is in frames; bit rates are FFmpeg's words."""

    suffix: str
    seconds: int
    video: Video = "h264"
    audio: Audio | None = "aac"
    size: str = "640x360"
    rate: int = 25
    gop: int = 25
    bframes: int = 0
    bit_rate: str = "600k"
    noise: int = 4
    irregular: bool = False
    slices: int = 1

    def arguments(self) -> list[str]:
        """FFmpeg's arguments up to the name of the output."""
        source = _SOURCE.format(size=self.size, rate=self.rate, noise=self.noise)
        if self.irregular:
            source += (
                ",select='gte(mod(n,11),mod(n/25,5))'"  # drops none to four frames of eleven, changing every second
            )
        inputs = ["-f", "lavfi", "-i", source, *(["-f", "lavfi", "-i", _TONE] if self.audio else [])]
        audio = _AUDIO_OPTIONS[self.audio].split() if self.audio else []
        return [*inputs, "-t", str(self.seconds), *self._video_options(), *audio, "-fps_mode", "passthrough"]

    def _video_options(self) -> list[str]:
        keyframes = f"keyint={self.gop}:min-keyint={self.gop}:scenecut=0:bframes={self.bframes}"
        rate = f"-b:v {self.bit_rate} -maxrate {self.bit_rate} -bufsize {self.bit_rate} -pix_fmt yuv420p"
        if self.video == "h265":
            return f"-c:v libx265 -preset ultrafast -tag:v hvc1 -x265-params {keyframes}:log-level=error {rate}".split()
        if self.slices > 1:
            keyframes += f":sliced-threads=1:threads={self.slices} -tune zerolatency"
        return f"-c:v libx264 -preset superfast -x264-params {keyframes} {rate}".split()


RECIPES = {
    "cam": Recipe("mp4", 30, size="1920x1080", gop=50, bit_rate="4M", noise=12),
    "small": Recipe("mp4", 10),
    "silent": Recipe("mp4", 10, audio=None),
    "bframes": Recipe("mp4", 10, bframes=3),
    "sliced": Recipe("mp4", 10, audio=None, slices=4),
    "long-gop": Recipe("mp4", 30, gop=250),
    "irregular": Recipe("mp4", 10, irregular=True),
    "h265": Recipe("mp4", 10, video="h265"),
    "alaw": Recipe("mov", 10, audio="alaw"),
    "mulaw": Recipe("mkv", 10, audio="mulaw"),
    "opus": Recipe("mkv", 10, audio="opus"),
}


@dataclass(frozen=True)
class Sample:
    """A recording on disk."""

    name: str
    path: Path
    recipe: Recipe

    def pipeline(self) -> str:
        """Plays it once in real time over RTSP, in the language of `GstRtspServer`: video pay0, sound pay1."""
        demuxer = "matroskademux" if self.path.suffix == ".mkv" else "qtdemux"
        video = f"d.video_0 ! queue ! {_PARSERS[self.recipe.video]} name=pay0 pt=96"
        audio = ""
        if self.recipe.audio:
            payloader, payload_type = _PAYLOADERS[self.recipe.audio]
            audio = f"d.audio_0 ! queue ! {payloader} name=pay1 pt={payload_type}"
        return f"( filesrc location={self.path} ! {demuxer} name=d {video} {audio} )"


class Samples:
    """`samples.get("small")`: one of `RECIPES`, made if it is not there yet."""

    def get(self, name: str) -> Sample:
        """The sample of that name; takes a few seconds the first time on a machine."""
        recipe = RECIPES[name]
        arguments = recipe.arguments()
        digest = hashlib.sha256("\0".join(arguments).encode()).hexdigest()[:16]
        path = cache_dir() / "samples" / f"{name}-{digest}.{recipe.suffix}"
        if not path.exists():
            _make(arguments, path)
        return Sample(name, path, recipe)


def _make(arguments: list[str], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"draft-{os.getpid()}-{path.name}")
    quiet = ["-nostdin", "-hide_banner", "-loglevel", "error", "-y"]
    subprocess.run([installed("FFmpeg", "ffmpeg"), *quiet, *arguments, str(draft)], check=True)
    draft.rename(path)


if __name__ == "__main__":  # beforehand, so that no test's time limit has to hold the making
    for wanted in RECIPES:
        Samples().get(wanted)
