"""One camera and one stop, through everybody's hands: real Chromium, accounts, and a camera whose cable is pulled.

An operator registers a camera and sees its first picture; a supervisor lets it into use and sees it live; its cable is
pulled, and the duty officer is told, acknowledges and holds the evidence; an officer explains a stop of three days ago
and asks for the footage; it is granted, played, copied, carried away and checked where nothing of ours runs.
"""

import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.file_detector import UselessFileDetector
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select

from tests.services.browser import Browser
from tests.services.liuhen import Liuhen
from tests.services.process import accepts, free_port, poll_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(420)]

_PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
_CAMERA = """
rtsp = "127.0.0.1:{port}"
[[device]]
id = "cam-new"
kind = "premises_camera"
name = "候诊室"
audio = false
gop_s = 2.0
"""


class Desk:
    """Everybody's browser: one window, in which one after another signs in.

    Args:
        browser: A running Chromium.
        shown: What the demonstration said on the terminal: address and accounts.
    """

    def __init__(self, browser: Browser, shown: str) -> None:
        self.driver = browser.driver
        self.driver.file_detector = UselessFileDetector()  # the browser is on this machine: nothing is to be sent to it
        found = re.search(r"console: (http://[0-9.:]+)/", shown)
        assert found is not None
        self.url = found[1]
        self._passwords = dict(re.findall(r"^  (\w+) +(\S+-\S+-\S+-\S+) ", shown, re.MULTILINE))

    def sign_in(self, login: str, path: str = "/") -> None:
        self.driver.get(f"{self.url}/sign-in")
        self.driver.delete_all_cookies()
        self.driver.get(f"{self.url}/sign-in?next={path}")
        self.one("#login").send_keys(login)
        self.one("#password").send_keys(self._passwords[login])
        self.press("form.fields button")
        poll_until(lambda: self.driver.current_url == self.url + path, f"{login} is in", 20)

    def go(self, path: str) -> None:
        self.driver.get(self.url + path)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str, within_s: float = 20) -> WebElement:
        """Return the first that matches, once there is one."""
        poll_until(lambda: bool(self.all(selector)), f"{selector} on {self.driver.current_url}", within_s)
        return self.all(selector)[0]

    def fill(self, selector: str, text: str) -> None:
        field = self.one(selector)
        # A day is typed in another order under each locale; what a picker would set is the same everywhere.
        self.driver.execute_script("arguments[0].value = arguments[1]", field, text)

    def press(self, selector: str) -> None:
        button = self.one(selector)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
        button.click()

    def says(self, text: str, within_s: float = 30) -> None:
        poll_until(lambda: text in self.one("body").text, f"{text!r} on {self.driver.current_url}", within_s)

    def until_there(self, path: str, selector: str, what: str, within_s: float) -> WebElement:
        """Open a page again and again until something is on it."""

        def there() -> bool:
            self.go(path)
            return bool(self.all(selector))

        poll_until(there, what, within_s, 1)
        return self.all(selector)[0]

    def has(self, path: str, text: str) -> bool:
        """Open a page and tell whether it says something."""
        self.go(path)
        return text in self.one("main").text

    def plays(self, selector: str = "video", within_s: float = 40) -> None:
        """Wait for a moving picture."""
        script = (
            "return [...document.querySelectorAll(arguments[0])].some(v => v.videoWidth > 0 && v.currentTime > 0.3)"
        )
        poll_until(lambda: bool(self.driver.execute_script(script, selector)), f"a picture in {selector}", within_s)

    def cookies(self) -> dict[str, str]:
        return {one["name"]: one["value"] for one in self.driver.get_cookies()}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("everybody")
    with (
        Liuhen(folder / "demo", ["demo", "--days", "3"], {}, serves=False) as run,
        Browser(folder / "browser", size=(1366, 900)) as browser,
    ):
        poll_until(lambda: "  admin" in run.log_tail(400), "the demonstration says who may sign in", 120)
        yield Desk(browser, run.log_tail(400))


@pytest.fixture
def cable(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """A camera at `rtsp://127.0.0.1:PORT/cam-new`; calling it pulls the cable."""
    port = free_port()
    script = tmp_path / "camera.toml"
    script.write_text(_CAMERA.format(port=port), encoding="utf-8")
    with Liuhen(tmp_path / "camera", ["simulate", "--script", str(script)], {}, serves=False) as camera:
        poll_until(lambda: accepts(port), "the camera answers", 30)

        def pull() -> None:
            camera.kill()

        pull.url = f"rtsp://127.0.0.1:{port}/cam-new"  # type: ignore[attr-defined]
        yield pull


def test_a_camera_from_its_registration_to_the_alert_that_its_cable_was_pulled(
    desk: Desk, cable: Callable[[], None], tmp_path: Path
) -> None:
    paper = tmp_path / "paper.pdf"
    paper.write_bytes(_PDF)
    _enter_site_and_camera(desk)
    page = "/premises/xinhua/cameras/cam-new"
    desk.go(page)
    _fill_dossier(desk, cable.url, paper)  # type: ignore[attr-defined]
    assert not desk.all("#use button[value=activate]")  # that is not the operator's

    desk.sign_in("supervisor", page)
    desk.press("#use button[value=activate]")
    poll_until(lambda: desk.one("#camera-state").text == "已启用", "active", 20)
    desk.until_there("/", "#row-cam-new[data-state~=live]", "the camera live on the wall", 90)
    desk.press("#watch-cam-new")
    desk.plays()

    cable()
    desk.sign_in("duty", "/alerts")
    desk.go(_alert_of(desk, "候诊室"))
    desk.says("W-NS 第十三条")
    desk.driver.find_element(By.TAG_NAME, "body").send_keys("a")
    desk.says("已确认")
    desk.press("#hold-box summary")
    desk.press("#hold-box button")
    poll_until(lambda: desk.has("/holds", "cam-new"), "the hold stands", 30, 1)


def _enter_site_and_camera(desk: Desk) -> None:
    desk.sign_in("operator", "/premises")
    desk.press("main details summary")
    desk.fill("#name", "新华诊所")
    desk.fill("#site_id", "xinhua")
    desk.fill("#unit_id", "jd-1")
    desk.press("form[action='/premises'] button")
    desk.go("/premises/xinhua")
    for name, text in (("party_name", "新华诊所（个体）"), ("address", "新华路 6 号")):
        desk.fill(f"form[action='/premises/xinhua'] [name={name}]", text)
    desk.fill("[name=contact_name]", "周明")
    desk.fill("[name=contact_phone]", "0579-8111 0000")
    desk.press("form[action='/premises/xinhua'] button")
    desk.go("/premises/xinhua")
    desk.fill("#camera_name", "候诊室")
    desk.fill("#camera_id", "cam-new")
    desk.press("form[action='/premises/xinhua/cameras'] button")


def _fill_dossier(desk: Desk, url: str, paper: Path) -> None:
    desk.fill("#basics [name=place]", "候诊室门口")
    desk.fill("#basics [name=standard]", "GB/T 28181-2022")
    desk.press("#basics button")
    desk.fill("#address [name=url]", url)
    desk.press("#look")
    picture = desk.one("#first-picture", 30)
    assert int(desk.driver.execute_script("return arguments[0].naturalWidth", picture)) == 640

    desk.one("#confirmation [name=document]").send_keys(str(paper))
    for name, text in (("signed_on", "2026-01-05"), ("agency_signatory", "李建国"), ("party_signatory", "周明")):
        desk.fill(f"#confirmation [name={name}]", text)
    desk.press("#confirmation button[value=confirm]")
    desk.says("安装")  # refused: neither consent was ticked, and the page says which
    assert desk.one("#camera-state").text == "草稿"
    desk.one("#confirmation [name=document]").send_keys(str(paper))
    for box in desk.all("#confirmation [name=consents]"):
        box.click()
    desk.press("#confirmation button[value=confirm]")
    poll_until(lambda: desk.one("#camera-state").text == "已确认", "confirmed", 20)
    desk.one("#notice [name=photo]").send_keys(str(paper))
    desk.fill("#notice [name=posted_on]", "2026-01-06")
    desk.fill("#notice [name=where]", "大门内侧")
    desk.press("#notice button[value=notice]")
    poll_until(lambda: desk.one("#camera-state").text == "已公告", "noticed", 20)


def _alert_of(desk: Desk, where: str) -> str:
    """Wait for the alert of a place, which comes onto the page by itself; return its address."""

    def shown() -> list[WebElement]:
        return [one for one in desk.all(".inbox a") if where in one.text]

    poll_until(lambda: bool(shown()), f"an alert of {where}", 40)
    return str(shown()[0].get_attribute("href")).removeprefix(desk.url)


def _ask(desk: Desk, session: tuple[str, str, str, str], want: str) -> str:
    """Ask for a session's footage; returns the address of the request."""
    recorder, session_id, begin, end = session
    desk.go("/requests/new")
    for name, text in (("recorder", recorder), ("session", session_id), ("from", begin), ("to", end)):
        desk.fill(f"#{name}", text)
    Select(desk.one("#who")).select_by_value("handler")
    Select(desk.one("#want")).select_by_value(want)
    desk.fill("#reason", "核对询问笔录")
    desk.fill("#matter", "武卫监〔2026〕31 号")
    desk.press("form[action='/requests/new'] button")
    poll_until(lambda: "/requests/new" not in desk.driver.current_url, "the request is taken", 20)
    return str(desk.driver.current_url.removeprefix(desk.url).partition("?")[0])


def _grant(desk: Desk, request: str) -> None:
    desk.go(request)
    desk.press("[name=acting_as]")
    desk.fill("#reason", "同意")
    desk.press("button[name=decision][value=yes]")
    poll_until(lambda: desk.has(request, "✓"), "the request is granted", 20, 1)
    assert not desk.all("button[name=decision]")


def test_a_stop_is_explained_and_its_footage_asked_for_granted_played_and_carried_away(
    desk: Desk, tmp_path: Path
) -> None:
    desk.sign_in("officer", "/explanations")
    stop = desk.until_there("/explanations", "tr.overdue a", "the stop that wants explaining", 40)
    session_id = desk.one("tr.overdue th .sub").text
    stop.click()
    desk.one("#explain")
    Select(desk.one("#method")).select_by_value("written")
    desk.fill("#text", "检查由前厅转到库房，途经更衣室，按当事人要求停录。")
    desk.press("#explain button[value=send]")
    poll_until(lambda: desk.has("/explanations/past", session_id), "the stop is among those that are settled", 40, 1)

    day, clock = session_id.rpartition("-")[2].split("T")
    date = f"{day[:4]}-{day[4:6]}-{day[6:]}"
    begin, end = f"{date}T{clock[:2]}:{clock[2:4]}:00", f"{date}T{clock[:2]}:{clock[2:4]}:36"
    session = (session_id.rpartition("-")[0], session_id, begin, end)
    view, copy = _ask(desk, session, "view"), _ask(desk, session, "evidence_copy")

    desk.sign_in("supervisor", "/requests")
    _grant(desk, view)
    _grant(desk, copy)

    desk.sign_in("officer", view)
    desk.press("#play")
    desk.plays("#video")
    assert "陈静" in str(desk.one("#mark").get_attribute("textContent"))  # whoever films the screen films a name
    desk.until_there(copy, f"form[action='{copy}/copy'] button", "the copy is made", 60)
    csrf = str(desk.one("body").get_attribute("data-csrf"))
    given = httpx.post(
        f"{desk.url}{copy}/copy", data={"csrf": csrf}, cookies=desk.cookies(), headers={"Origin": desk.url}, timeout=60
    )
    assert given.status_code == 200
    package = tmp_path / "copy.zip"
    package.write_bytes(given.content)
    with zipfile.ZipFile(package) as archive:
        archive.extractall(tmp_path / "package")
    verifier = next((tmp_path / "package").rglob("verify.py"))
    checked = subprocess.run(
        [sys.executable, "-I", "-S", str(verifier)], capture_output=True, text=True, timeout=60, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr

    desk.sign_in("auditor", "/requests/register")
    desk.says(session_id)
    desk.go("/audit")
    desk.says("陈静")
