"""A recording of one grey picture and a moment of sound, made in memory: to load what libraries load late."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import av
import numpy as np


def recording() -> bytes:
    """Return a small MOV with H.264 and G.711 A-law."""
    made = io.BytesIO()
    with av.open(made, "w", format="mov", options={"movflags": "frag_keyframe+empty_moov+default_base_moof"}) as movie:
        picture: Any = movie.add_stream("libx264", rate=1)
        picture.width, picture.height, picture.pix_fmt = 64, 64, "yuv420p"
        picture.codec_context.thread_count = 1
        sound: Any = movie.add_stream("pcm_alaw", rate=8000, layout="mono")
        frame = av.VideoFrame.from_ndarray(np.full((96, 64), 128, np.uint8), format="yuv420p")
        frame.pts, frame.time_base = 0, Fraction(1, 1)
        noise = np.full((1, 1600), 1000, np.int16)
        tone = av.AudioFrame.from_ndarray(noise, format="s16", layout="mono")
        tone.sample_rate, tone.pts, tone.time_base = 8000, 0, Fraction(1, 8000)
        for stream, one in ((picture, frame), (sound, tone)):
            movie.mux([*stream.encode(one), *stream.encode(None)])
    return made.getvalue()
