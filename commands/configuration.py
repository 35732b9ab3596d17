"""The files that settings and options name: registrations, agencies' policies, calendars, events."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from domain.errors import InvalidInput, InvalidSettings
from domain.settings import Settings

if TYPE_CHECKING:
    from domain.registry import Registration
    from policies.local import Rulebook


def registrations_of(settings: Settings) -> list[Registration]:
    """Read the file of registrations that the settings name.

    Raises:
        InvalidSettings: It cannot be read, or an entry is wrong; names the field.
    """
    from domain.registry import Registration, hash_tokens
    from domain.wire import convert
    from policies.loader import require

    if not settings.recorders:
        return []
    table = read_toml(settings.recorders, "recorders")
    entries = table.get("recorder", [])
    known = {field.name for field in msgspec.structs.fields(Registration)} | {"token"}
    try:
        _refuse_others(table, {"recorder"})
        for entry in entries:  # the wire lets unknown fields pass; a person's slip of the pen must not
            _refuse_others(entry, known)
        found = [convert(hash_tokens({"policy": settings.policy, **entry}), Registration) for entry in entries]
        for one in found:
            require(one.policy)
        return found
    except (InvalidInput, TypeError) as error:
        msg = f"{settings.recorders}: {error}"
        raise InvalidSettings(msg, "recorders") from error


def rulebook_of(settings: Settings) -> Rulebook:
    """Read the policy and calendar files that the settings name, and put together what is in force.

    Raises:
        InvalidSettings: A file cannot be read.
        InvalidPolicy: A file is wrong; names file and key.
    """
    from policies.local import rulebook

    def texts(field: str) -> list[tuple[str, str]]:
        names = [name.strip() for name in getattr(settings, field).split(",")]
        return [(name, read_text(name, field)) for name in names if name]

    return rulebook(texts("policy_files"), texts("calendar_files"))


def read_toml(name: str, field: str) -> dict[str, Any]:
    """Read a TOML file; `field` is the setting or option that names it.

    Raises:
        InvalidSettings: It cannot be read.
    """
    try:
        return tomllib.loads(read_text(name, field))
    except tomllib.TOMLDecodeError as error:
        msg = f"{name}: {error}"
        raise InvalidSettings(msg, field) from error


def read_text(name: str, field: str) -> str:
    """Read a text file; `field` is the setting or option that names it.

    Raises:
        InvalidSettings: It cannot be read.
    """
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{field}: {name} cannot be read: {error}"
        raise InvalidSettings(msg, field) from error


def _refuse_others(table: Mapping[str, object], known: set[str]) -> None:
    for key in table:
        if key not in known:
            msg = f"{key}: no such key"
            raise InvalidInput(msg, key)
