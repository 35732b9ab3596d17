"""A real Chromium, driven through ChromeDriver."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import httpx
from selenium import webdriver

from tests.services.cache import installed
from tests.services.process import Server, free_port

_QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_FAKE_CAMERA = (
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    # Without these two a page on the loopback interface finds no way to a peer there.
    "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
)


class Browser(Server):
    """Chromium without a window. `driver` is selenium's, once started.

    Args:
        directory: For ChromeDriver's log.
        size: Width and height of the window in pixels.
        fake_camera: A moving test picture and beeps as camera and microphone, allowed without asking.
        autoplay: Sound and picture may start without a click.
        arguments: Further command line arguments.
    """

    name = "chromedriver"
    driver: webdriver.Remote

    def __init__(
        self,
        directory: Path,
        *,
        size: tuple[int, int] = (1280, 800),
        fake_camera: bool = True,
        autoplay: bool = True,
        arguments: Sequence[str] = (),
    ) -> None:
        super().__init__(directory)
        self._port = free_port()
        self._profile: str | None = None
        self._arguments = [
            *_QUIET,
            f"--window-size={size[0]},{size[1]}",
            *(_FAKE_CAMERA if fake_camera else ()),
            *(("--autoplay-policy=no-user-gesture-required",) if autoplay else ()),
            *arguments,
        ]

    def start(self) -> Self:
        """Starts ChromeDriver and, with a new profile, Chromium."""
        super().start()
        self._profile = tempfile.mkdtemp(prefix="liuhen-chromium-")
        options = webdriver.ChromeOptions()
        options.binary_location = installed("Chromium", "chromium")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        for argument in (*self._arguments, f"--user-data-dir={self._profile}"):
            options.add_argument(argument)
        self.driver = webdriver.Remote(f"http://127.0.0.1:{self._port}", options=options)
        return self

    def kill(self) -> None:
        super().kill()
        if self._profile is not None:
            shutil.rmtree(self._profile, ignore_errors=True)

    def stop(self) -> None:
        if self.alive and hasattr(self, "driver"):
            self.driver.quit()
        super().stop()

    def screenshot(self, path: Path) -> Path:
        """Writes what the window shows as a PNG."""
        if not self.driver.save_screenshot(str(path)):
            raise OSError(f"the screenshot could not be written to {path}")
        return path

    def console(self) -> list[str]:
        """What the page logged since the last call."""
        entries: list[dict[str, str]] = self.driver.execute("getLog", {"type": "browser"})["value"]
        return [f"{entry['level']} {entry['message']}" for entry in entries]

    def command(self) -> Sequence[str]:
        return [installed("ChromeDriver", "chromedriver"), f"--port={self._port}", "--log-level=WARNING"]

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self._port}/status", timeout=2).is_success
        except httpx.TransportError:
            return False
