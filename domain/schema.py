"""The generated reference: schemas of the wire forms, and the settings. ``python -m domain.schema DIR [--check]``."""

from __future__ import annotations

import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

import msgspec

from domain.clock import Instant
from domain.events import AnyEvent
from domain.findings import Finding
from domain.registry import Registration
from domain.settings import Settings

SETTINGS_HEAD = """# Settings

In `liuhen.toml` (or the file that `--config` or `LIUHEN_CONFIG` names); each is overridden by `LIUHEN_` and its name in
capitals in the environment. A key that is not of this list is refused.

| key | default | meaning |
|---|---|---|"""

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_ATTRIBUTE = re.compile(r"^    (\w+): (.+(?:\n {8}.+)*)", re.MULTILINE)

_INSTANT = {"type": "string", "format": "date-time", "description": "RFC 3339 with offset, to the millisecond."}


def _hook(kind: type) -> dict[str, Any]:
    if kind is Instant:
        return dict(_INSTANT)
    msg = f"no schema for {kind.__name__}"
    raise TypeError(msg)


def schemas() -> dict[str, dict[str, Any]]:
    """Return file name → JSON Schema (2020-12) of events, findings and registrations."""
    return {
        "event.schema.json": _schema(AnyEvent, "Event", "One record of topic events; one line of a replay file."),
        "finding.schema.json": _schema(Finding, "Finding", "A record of topic findings; one line of replay output."),
        "registration.schema.json": _schema(Registration, "Registration", "One record of topic registry."),
    }


def _schema(kind: Any, title: str, description: str) -> dict[str, Any]:
    (root,), components = msgspec.json.schema_components([kind], schema_hook=_hook, ref_template="#/$defs/{name}")
    for component in components.values():
        _describe(component)
    return {"$schema": DIALECT, "title": title, "description": description, **root, "$defs": components}


def _describe(component: dict[str, Any]) -> None:
    """Move what a docstring says of each attribute to that property; keep its first line as the description."""
    text = inspect.cleandoc(component.get("description", ""))
    component["description"] = text.partition("\n")[0]
    for name, said in _ATTRIBUTE.findall(text.partition("Attributes:\n")[2]):
        field = component["properties"].get(name.rstrip("_"))
        if field is not None:
            field["description"] = " ".join(said.split())


def render(schema: dict[str, Any]) -> str:
    """Return the text that stands in the file."""
    return json.dumps(schema, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def settings_page() -> str:
    """Return the page of all settings: key, default, meaning."""
    said = dict(_ATTRIBUTE.findall(inspect.getdoc(Settings) or ""))
    rows = [
        f"| `{field.name}` | `{json.dumps(field.default)}` | {' '.join(said[field.name].split())} |"
        for field in msgspec.structs.fields(Settings)
    ]
    return "\n".join((SETTINGS_HEAD, *rows)) + "\n"


def pages() -> dict[str, str]:
    """Return file name → text of everything that is generated."""
    return {name: render(schema) for name, schema in schemas().items()} | {"settings.md": settings_page()}


def main(arguments: list[str]) -> int:
    """Write the pages into a directory; with ``--check``, only say which files are stale (exit 1)."""
    check = "--check" in arguments
    folders = [argument for argument in arguments if not argument.startswith("--")]
    if len(folders) != 1:
        sys.stderr.write("usage: python -m domain.schema DIR [--check]\n")
        return 2
    folder = Path(folders[0])
    stale = 0
    for name, text in pages().items():
        path = folder / name
        if check:
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                sys.stderr.write(f"{path}: stale, run `make schema`\n")
                stale = 1
        else:
            path.write_text(text, encoding="utf-8")
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
