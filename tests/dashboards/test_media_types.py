"""Codecs in the words of RFC 6381, from what FFmpeg makes."""

import subprocess

import pytest

from dashboards.hls.codecs import media_type
from dashboards.hls.mp4 import boxes
from domain.errors import InvalidMedia

SOURCE = ("-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=1")
TONE = ("-f", "lavfi", "-i", "sine=duration=1:sample_rate=48000")
X264 = ("-c:v", "libx264", "-profile:v", "baseline", "-level", "3.1", "-pix_fmt", "yuv420p")


@pytest.mark.parametrize(
    ("how", "codecs"),
    [
        ((*SOURCE, *X264), "avc1.42C01F"),
        ((*SOURCE, *TONE, *X264, "-c:a", "aac"), "avc1.42C01F, mp4a.40.2"),
        ((*SOURCE, *TONE, *X264, "-c:a", "libopus"), "avc1.42C01F, opus"),
        (
            (*SOURCE, "-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1", "-pix_fmt", "yuv420p"),
            "hvc1.1.6.L60.90",
        ),
    ],
)
def test_what_a_browser_is_told(how: tuple[str, ...], codecs: str) -> None:
    flags = ("-movflags", "frag_keyframe+empty_moov+default_base_moof", "-f", "mp4", "pipe:1")
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", *how, *flags]
    data = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
    init = b"".join(data[box.start : box.end] for box in boxes(data) if box.kind in {b"ftyp", b"moov"})
    assert media_type(init) == f'video/mp4; codecs="{codecs}"'
    with pytest.raises(InvalidMedia):
        media_type(init[:-3])


def test_of_nothing() -> None:
    assert media_type(b"") == "video/mp4"
