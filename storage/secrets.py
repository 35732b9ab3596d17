"""Secrets that stand in files, as Docker and Kubernetes hand them over: the one place that reads them.

An address names its file by `secret_file=FILE` among its options; the secret itself is in no setting, no message and no
log. Files are read when a part is opened: after a change of secret, restart the process.
"""

from __future__ import annotations

from pathlib import Path

from domain.errors import InvalidSettings

MAX_SECRET_BYTES = 4096
"""More than that is no secret but some other file."""

_OPTION = "secret_file="


def read_secret(path: str, setting: str) -> str:
    """Return what stands in a file, without the white space around it.

    Args:
        path: The file.
        setting: Which setting names it, for messages.

    Raises:
        InvalidSettings: It cannot be read, is empty, or is no text of one line.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        msg = f"{setting}: the file of its secret cannot be read: {path}: {error.strerror}"
        raise InvalidSettings(msg, setting) from error
    secret = data.decode("utf-8", "replace").strip()  # an error of decoding would show a part of it
    if not secret or len(data) > MAX_SECRET_BYTES or "\ufffd" in secret or not secret.isprintable():
        why = "is empty" if not secret else "holds no secret: one line of text, please"
        msg = f"{setting}: {path} {why}"
        raise InvalidSettings(msg, setting)
    return secret


def split_secret_file(address: str) -> tuple[str, str]:
    """Take `secret_file=FILE` out of the options of an address.

    Returns:
        The address without it, and the file; empty where none is named.
    """
    where, _, options = address.partition("?")
    given = [option for option in options.split("&") if option]
    rest = "&".join(option for option in given if not option.startswith(_OPTION))
    files = [option.removeprefix(_OPTION) for option in given if option.startswith(_OPTION)]
    return f"{where}?{rest}" if rest else where, files[-1] if files else ""
