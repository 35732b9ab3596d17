"""`ffmpeg -c copy -f framehash` of a file, taken apart: one hash for each access unit, as FFmpeg's demuxer gives it."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple


class Unit(NamedTuple):
    """One line of a framehash: times in ticks of the track's time base, size in bytes, SHA-256 in hex."""

    dts: int
    pts: int
    size: int
    hash: str


class Track(NamedTuple):
    """All units of one stream, in the order in which they are stored."""

    kind: str
    codec: str
    time_base: Fraction
    units: list[Unit]

    def hashes(self) -> list[str]:
        """The hash of each unit, in order."""
        return [unit.hash for unit in self.units]

    def times_ms(self) -> list[Fraction]:
        """When each unit is shown, in ms and exactly, from the first one's moment."""
        return [1000 * self.time_base * (unit.pts - self.units[0].pts) for unit in self.units]


def framehash(path: Path, *options: str) -> dict[str, Track]:
    """Hash every unit of a file, "video" and "audio"; FFmpeg must have nothing to complain of."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i", str(path), "-map", "0", "-c", "copy", *options]
    done = subprocess.run([*command, "-f", "framehash", "-"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return _parse(done.stdout)


def play(path: Path) -> str:
    """Decode all of a file, stopping at the first error; returns what FFmpeg complained of."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i", str(path), "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.stderr or ("" if done.returncode == 0 else f"exit code {done.returncode}")


def samples(path: Path) -> bytes:
    """The sound of a file whose codec has no frames (G.711), as one run of bytes."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i", str(path), "-map", "0:a", "-c", "copy"]
    return subprocess.run([*command, "-f", "data", "-"], capture_output=True, timeout=60, check=True).stdout


def _parse(text: str) -> dict[str, Track]:
    said: dict[str, dict[str, str]] = {"tb": {}, "media_type": {}, "codec_id": {}}
    units: dict[str, list[Unit]] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            key, _, value = line[1:].partition(":")
            name, _, stream = key.partition(" ")
            said.get(name, {})[stream] = value.strip()
        else:
            stream, dts, pts, _, size, digest, *_ = (field.strip() for field in line.split(","))
            units.setdefault(stream, []).append(Unit(int(dts), int(pts), int(size), digest))
    tracks = (
        Track(kind, said["codec_id"][stream], Fraction(said["tb"][stream]), units.get(stream, []))
        for stream, kind in said["media_type"].items()
    )
    return {track.kind: track for track in tracks}
