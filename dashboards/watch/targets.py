"""Whom to watch, as the setting `watch` names them."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from domain.errors import InvalidSettings
from domain.settings import Settings

Kind = Literal["liuhen", "prometheus", "alertmanager", "alerts"]

CHAIN = "alerts"
"""Name of what is no process: the way of an alert from Prometheus' rules through Alertmanager to us."""
MAX_TARGETS = 200
"""More than that is a fault in the setting."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_PROGRAM = re.compile(r"^(prometheus|alertmanager)([._-].*)?$")


class Target(msgspec.Struct, frozen=True):
    """One that is watched.

    Attributes:
        name: As people call it; `prometheus…` and `alertmanager…` are these programs, all others processes of ours.
        kind: What it is.
        url: `http(s)://host:port`, without a path; empty for the way of an alert.
    """

    name: str
    kind: Kind
    url: str


def targets_of(settings: Settings) -> list[Target]:
    """Read the setting `watch`, `name=http://host:port` separated by commas or white space.

    Where an Alertmanager is named, the way of its alerts to us is watched too.

    Raises:
        InvalidSettings: It names nobody, somebody twice, or something that is no address.
    """
    found = [_target(part) for part in re.split(r"[,\s]+", settings.watch) if part]
    if any(target.kind == "alertmanager" for target in found):
        found.append(Target(CHAIN, "alerts", ""))
    names = {target.name for target in found}
    if not found or len(found) > MAX_TARGETS or len(names) < len(found):
        msg = f"watch: {len(found)} targets with {len(names)} names; name 1 to {MAX_TARGETS}, each once"
        raise InvalidSettings(msg, "watch")
    return found


def _target(text: str) -> Target:
    name, _, address = text.partition("=")
    try:
        url = urlsplit(address)
        is_fit = url.scheme in {"http", "https"} and url.hostname and url.port != 0 and not url.username
    except ValueError:
        is_fit = False
    if not _NAME.fullmatch(name) or not is_fit or name == CHAIN:
        msg = f"watch: {name!r}: use name=http://host:port"
        raise InvalidSettings(msg, "watch")
    program = _PROGRAM.match(name)
    kind: Kind = "liuhen" if program is None else "prometheus" if program[1] == "prometheus" else "alertmanager"
    return Target(name, kind, f"{url.scheme}://{url.netloc}{url.path.rstrip('/')}")
