"""The processes that decode: confined, killed when they hang, replaced when they die, unmoved by rubbish."""

from __future__ import annotations

import io
import os
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from domain.errors import Unavailable
from streams.analysis.children import Child, ChildDied
from streams.analysis.wire import Job, Picture, Seen, pack, unpack_seen
from tests.streams.footage import device, footage


@pytest.fixture(scope="module")
def fragment() -> bytes:
    return footage(device(audio=True, fixed=False), 3)[0][1]


@pytest.fixture
async def child() -> AsyncIterator[Child]:
    one = Child()
    yield one
    await one.close()


def job(data: bytes) -> Job:
    return Job(data, look=True, hear=True, listen=True)


async def test_it_sees_and_hears(child: Child, fragment: bytes) -> None:
    seen = await child.ask(job(fragment))
    assert seen.problems == []
    assert seen.picture is not None
    assert seen.sound is not None
    assert seen.picture.height == 270
    assert 20 < seen.picture.luma < 235
    only = await child.ask(Job(fragment, look=False, hear=True, listen=False))
    assert only.picture is None
    assert only.sound is not None
    assert only.sound.speech_s is None


async def test_it_holds_no_keys_and_can_open_nothing(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIUHEN_STORE_SECRET", "hush")
    await child.start()
    proc = Path(f"/proc/{child.pid}")
    names = {one.split(b"=")[0] for one in (proc / "environ").read_bytes().split(b"\0") if one}
    assert names <= {b"PATH", b"LANG", b"LC_ALL", *map(str.encode, ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"))} | {
        b"PYTHONDONTWRITEBYTECODE"
    }
    assert (proc / "cwd").resolve() == Path("/")
    limits = {line[:25].strip(): line[25:].split()[:2] for line in (proc / "limits").read_text().splitlines()}
    assert limits["Max open files"] == ["0", "0"]
    assert limits["Max file size"] == ["0", "0"]
    assert limits["Max core file size"] == ["0", "0"]
    assert limits["Max address space"][1] != "unlimited"
    assert len(list((proc / "fd").iterdir())) <= 4


async def test_one_that_hangs_is_killed_and_replaced(fragment: bytes) -> None:
    child = Child(job_s=0.5)
    await child.start()
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGSTOP)
    with pytest.raises(ChildDied, match=r"0\.5 s"):
        await child.ask(job(fragment))
    assert not os.path.exists(f"/proc/{first}")  # noqa: ASYNC240
    slow = Child()  # starting is no job: the limit of 0.5 s is not for it
    assert (await slow.ask(job(fragment))).picture is not None
    await slow.close()
    await child.close()


async def test_one_that_crashes_is_replaced(child: Child, fragment: bytes) -> None:
    await child.start()
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGSEGV)
    with pytest.raises(ChildDied):
        await child.ask(job(fragment))
    assert (await child.ask(job(fragment))).picture is not None
    assert child.pid != first


async def test_one_that_does_not_start_is_said() -> None:
    with pytest.raises(Unavailable, match="does not start"):
        await Child(("/bin/false",)).start()
    with pytest.raises(Unavailable, match="does not start"):
        await Child(("/no/such/program",)).start()


async def test_one_that_has_worked_for_long_is_replaced(fragment: bytes) -> None:
    child = Child(max_jobs=2)
    pids = []
    for _ in range(4):
        await child.ask(job(fragment))
        pids.append(child.pid)
    assert pids[0] == pids[1] != pids[2] == pids[3]
    await child.close()


async def test_rubbish_is_answered_and_the_next_is_seen(child: Child, fragment: bytes) -> None:
    draw = random.Random(4)
    bad = [b"", b"\0" * 5000, draw.randbytes(100_000), fragment[:500], fragment[: len(fragment) // 2]]
    for _ in range(80):
        mutated = bytearray(fragment)
        for _ in range(draw.choice([1, 5, 50, 500])):
            mutated[draw.randrange(len(mutated))] = draw.randrange(256)
        bad.append(bytes(mutated))
    answers, problems, died = 0, 0, 0
    for data in bad:
        try:
            seen = await child.ask(job(data))
        except ChildDied:
            died += 1
            continue
        answers += 1
        problems += bool(seen.problems)
    assert problems >= 10
    assert answers >= len(bad) - 5
    seen = await child.ask(job(fragment))
    assert seen.picture is not None
    assert seen.problems == []


def movie(codec: str, kind: str) -> bytes:
    made = io.BytesIO()
    with av.open(made, "w", format="mov") as container:
        if kind == "video":
            stream: Any = container.add_stream(codec, rate=5)
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            frame: Any = av.VideoFrame.from_ndarray(np.full((96, 64), 90, np.uint8), format="yuv420p")
        else:
            stream = container.add_stream(codec, rate=48_000, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), format="s16", layout="mono")
            frame.sample_rate = 48_000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return made.getvalue()


@pytest.mark.parametrize(("codec", "kind"), [("mpeg4", "video"), ("pcm_s16le", "audio")])
async def test_a_codec_that_is_not_on_the_list_is_not_run(child: Child, codec: str, kind: str) -> None:
    seen = await child.ask(job(movie(codec, kind)))
    assert seen.picture is None
    assert seen.sound is None
    assert "not on the list" in seen.problems[0] or "nvalid" in seen.problems[0]


async def test_another_container_is_not_opened(child: Child) -> None:
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"
    seen = await child.ask(job(playlist))
    assert seen.picture is None
    assert seen.problems


def test_an_answer_that_is_none_is_refused() -> None:
    good = Seen(Picture(1.0, 2.0, 0.0, 2, bytes(960)))
    assert unpack_seen(pack(good)[4:]) == good
    for bad in (Picture(1.0, 2.0, 0.0, 3, bytes(960)), Picture(1.0, 2.0, 0.0, -2, b"")):
        with pytest.raises(ValueError, match="picture"):
            unpack_seen(pack(Seen(bad))[4:])
