"""Where the services of the tests are kept, and which versions they are."""

import os
import shutil
from functools import cache
from pathlib import Path

_PINS = Path(__file__).resolve().parents[2] / "scripts" / "services.env"


class ServiceMissingError(RuntimeError):
    """A service that a test needs is not on this machine; an error, never a skip."""

    def __init__(self, name: str, looked_for: object) -> None:
        super().__init__(f"{name} is not here (looked for {looked_for}): run `make services`, which fetches it")


def cache_dir() -> Path:
    """Outside the tree, so that a fresh clone on the same machine fetches nothing again."""
    override = os.environ.get("LIUHEN_CACHE")
    return Path(override) if override else Path.home() / ".cache" / "liuhen"


@cache
def pinned(name: str) -> str:
    """The pinned version called `name` in `scripts/services.env`."""
    lines = (line.partition("=") for line in _PINS.read_text().splitlines() if "=" in line)
    return {key: value for key, _, value in lines}[name]


def cached(service: str, relative: str) -> Path:
    """A fetched file or folder; says what to run if it is not there."""
    path = cache_dir() / relative
    if not path.exists():
        raise ServiceMissingError(service, path)
    return path


def installed(service: str, *commands: str) -> str:
    """The first of these commands that is on the PATH or is an absolute path that exists."""
    for command in commands:
        if found := shutil.which(command):
            return found
    raise ServiceMissingError(service, " or ".join(commands))
