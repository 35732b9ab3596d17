"""axe, which looks at a page in a browser for what keeps people from using it (WCAG 2.x A and AA, contrast too)."""

from typing import Any

from tests.services.browser import Browser
from tests.services.cache import cached, pinned

RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")

_RUN = """const done = arguments[arguments.length - 1];
axe.run(document, {runOnly: {type: 'tag', values: arguments[0]}, resultTypes: ['violations']})
  .then((found) => done(found.violations), (error) => done(String(error)));"""


def script() -> str:
    """axe's script, fetched by `make services`."""
    return cached("axe", f"axe-{pinned('AXE_VERSION')}/axe.min.js").read_text()


def violations(browser: Browser) -> list[str]:
    """What the page that is open does wrong: rule, place, and why, a line each."""
    browser.driver.execute_script(script())
    found: Any = browser.driver.execute_async_script(_RUN, list(RULES))
    if isinstance(found, str):
        raise AssertionError(f"axe: {found}")
    return [
        f"{one['id']}: {node['target']}: {(node['failureSummary'] or '').replace(chr(10), ' ')[:300]}"
        for one in found
        for node in one["nodes"]
    ]


def scheme(browser: Browser, dark: bool) -> None:
    """Let pages see that dark, or light, is preferred."""
    features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    command = {"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}}
    browser.driver.execute("executeCdpCommand", command)
