"""A `liuhen` process of the installed command, as a service manager would run it."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.services.process import Server, accepts, free_port


class Liuhen(Server):
    """One `liuhen` process in a folder of its own, where its relative paths are.

    Args:
        directory: Where it runs and logs.
        arguments: Its command line, `["up"]` or so.
        settings: `LIUHEN_…` variables; the HTTP address is added.
        serves: Whether it answers HTTP; the detectors do not, under Faust.
    """

    ready_s = 60.0

    def __init__(
        self, directory: Path, arguments: Sequence[str], settings: Mapping[str, str], *, serves: bool = True
    ) -> None:
        self.name = f"liuhen-{arguments[0]}"
        super().__init__(directory)
        self.port = free_port()
        self._arguments = list(arguments)
        self._settings = {"LIUHEN_HTTP": f"127.0.0.1:{self.port}", **settings}
        self._serves = serves

    @property
    def url(self) -> str:
        """Address of its console or device interface."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str]:
        return [str(Path(sys.executable).with_name("liuhen")), *self._arguments]

    def environment(self) -> Mapping[str, str]:
        return self._settings

    def is_ready(self) -> bool:
        return not self._serves or accepts(self.port)
