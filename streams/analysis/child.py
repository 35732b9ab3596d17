"""The process that decodes: jobs on standard input, answers on standard output, and nothing else.

FFmpeg parses what a stranger may have sent. So this process gets no environment, no keys and no file of ours; once its
libraries are loaded it may open no file and no socket any more, write no file, and use only so much memory and time.
If it dies, the worker starts another.
"""

from __future__ import annotations

import os
import resource
import sys
from typing import BinaryIO, Final

import cv2
import msgspec
import numpy as np

from domain.errors import InvalidMedia
from streams.analysis.decoding import decode
from streams.analysis.rehearsal import recording
from streams.analysis.speech import RATE, Listener
from streams.analysis.wire import LENGTH, MAX_JOB_BYTES, Job, Seen, pack, unpack_job

MEMORY_BYTES: Final = 768 * 1024 * 1024
"""On top of what the libraries take: a 4K picture of 10 bits and the 16 that H.265 may refer to, with room."""
JOB_CPU_S: Final = 10
NICE: Final = 10
"""Recording, storing and detecting come first."""


def confine() -> None:
    """Give up what decoding does not need. For good: the hard limits go down too."""
    os.nice(NICE)
    with open("/proc/self/statm", encoding="ascii") as statm:
        mapped = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY_BYTES, mapped + MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))  # what is open stays open; nothing more is opened


def main() -> None:
    """Answer jobs until the input ends."""
    cv2.setNumThreads(1)
    listener = Listener()
    # Modules that libraries load when they first need them could not be opened later.
    listener.hear(np.full(RATE, 0.1, np.float32), listen=True)
    rehearsed = decode(recording(), look=True, hear=True, show=True)
    if rehearsed.picture is None or not rehearsed.jpeg or rehearsed.samples is None:
        sys.exit(f"cannot decode: {rehearsed.problems}")
    jobs, answers = sys.stdin.buffer, sys.stdout.buffer
    confine()
    while (job := _read(jobs)) is not None:
        _allow_cpu()
        answers.write(pack(_answer(job, listener)))
        answers.flush()


def _allow_cpu() -> None:
    """Let the next job take `JOB_CPU_S` of processor time; beyond it the kernel ends this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + 1 + JOB_CPU_S
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _read(jobs: BinaryIO) -> Job | None:
    head = jobs.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    body = jobs.read(length) if length <= MAX_JOB_BYTES else b""
    try:
        return unpack_job(body)
    except msgspec.DecodeError:
        return None  # the worker is not what it was; end


def _answer(job: Job, listener: Listener) -> Seen:
    try:
        found = decode(job.data, look=job.look, hear=job.hear or job.listen, show=job.show)
    except InvalidMedia as error:
        return Seen(problems=[str(error)[:500]])
    except MemoryError:
        return Seen(problems=["more memory than allowed"])
    sound = listener.hear(found.samples, listen=job.listen) if found.samples is not None else None
    return Seen(found.picture, sound, [problem[:500] for problem in found.problems], found.jpeg)


if __name__ == "__main__":
    main()
