"""The watch's own way to people: Apprise addresses from a file. The only module of the watch that imports Apprise."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from apprise import Apprise
from apprise.exception import AppriseException

from dashboards.watch.telling import Message
from domain.errors import InvalidSettings, Unavailable

_log = logging.getLogger(__name__)

# What Apprise says of an address may hold its secret: it is heard by nobody.
logging.getLogger("apprise").propagate = False
logging.getLogger("apprise").addHandler(logging.NullHandler())

SEND_S = 30.0
MAX_FILE_BYTES = 65_536


class Sender:
    """Sends to every address of a file.

    Args:
        file: Apprise addresses (`mailto://…`, `dingtalk://…`), one a line; `#` begins a comment. They hold secrets, so
            messages name the line and not what stands there.

    Raises:
        InvalidSettings: It cannot be read, or a line is no such address.
    """

    def __init__(self, file: str) -> None:
        self._apprise = Apprise()
        for number, line in enumerate(_lines(file), 1):
            if line and not self._apprise.add(line):
                msg = f"watch_notify_file: {file}: line {number} is no address that Apprise knows"
                raise InvalidSettings(msg, "watch_notify_file")
        if not len(self._apprise):
            _log.warning("watch_notify_file: %s names nobody: the watch tells nobody by itself", file)

    async def send(self, message: Message) -> None:
        """Send one message, once.

        Raises:
            Unavailable: Not every address took it.
        """
        if not len(self._apprise):
            return
        try:
            async with asyncio.timeout(SEND_S):
                done = await self._apprise.async_notify(body=message.body, title=message.title)
        except TimeoutError as error:
            raise Unavailable(f"not sent within {SEND_S:g} s") from error
        except (AppriseException, OSError, TypeError, ValueError) as error:
            raise Unavailable(f"not sent: {type(error).__name__}") from error
        if not done:
            raise Unavailable("an address of watch_notify_file did not take it")


def _lines(file: str) -> list[str]:
    try:
        with Path(file).open("rb") as opened:
            text = opened.read(MAX_FILE_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"watch_notify_file: {file} cannot be read: {type(error).__name__}"
        raise InvalidSettings(msg, "watch_notify_file") from error
    return [line.partition(" #")[0].strip() if not line.startswith("#") else "" for line in text.splitlines()]
