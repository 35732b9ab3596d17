"""`liuhen account`, and the first administrator of a house without accounts."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from storage.ledger.entry import decode
from storage.ledger.ledger import Ledger
from tests.services.access import bearer
from tests.services.liuhen import Liuhen
from tests.services.process import poll_until
from tests.test_cli import liuhen

PASSWORD = "guanghua-lu-37-hao"


def test_accounts_are_made_listed_reset_and_disabled(tmp_path: Path) -> None:
    made = liuhen(tmp_path, "account", "invite", "Wang", "--name", "王敏", "--duty", "duty_officer@unit-1/site-1")
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("http://127.0.0.1:8600/link/")
    (line,) = liuhen(tmp_path, "account", "list").stdout.splitlines()
    assert line.split("\t") == ["wang", "王敏", "invited", "-", "duty_officer@unit-1/site-1"]
    token = made.stdout.strip().rpartition("/")[2]
    with Liuhen(tmp_path, ["up"], {}) as up, httpx.Client(base_url=up.url, timeout=30) as http:
        assert "/link/" not in up.log_path.read_text()  # there is an account: nobody is made administrator by a link
        new = {"password": PASSWORD, "again": PASSWORD}
        assert http.post(f"/link/{token}", data=new).status_code == 303
        assert liuhen(tmp_path, "account", "list").stdout.split("\t")[2] == "active"
        reset = liuhen(
            tmp_path, "account", "reset", "wang", settings={"LIUHEN_CONSOLE_URL": "https://records.example.org"}
        )
        assert reset.stdout.startswith("https://records.example.org/link/")
        assert http.get("/account").status_code == 401
        assert liuhen(tmp_path, "account", "disable", "wang").returncode == 0
        assert http.get(f"/link/{reset.stdout.strip().rpartition('/')[2]}").status_code == 404
    whats = [entry["what"] for entry in asyncio.run(_acts(f"sqlite:///{tmp_path}/data/ledger.db"))]
    assert whats[:2] == ["account.created", "account.invited"]
    assert whats[-2:] == ["account.reset", "account.disabled"]


def test_a_token_of_a_program_opens_what_it_says(tmp_path: Path) -> None:
    made = liuhen(tmp_path, "account", "token", "--name", "大屏", "--duty", "duty_officer@unit-1", "--days", "2")
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    with Liuhen(tmp_path, ["up"], {}) as up, httpx.Client(base_url=up.url, timeout=30) as http:
        assert http.get("/api/v1/recorders", headers=bearer(token)).json()["items"] == []
        assert http.get("/accounts", headers=bearer(token)).status_code == 403
    acts = asyncio.run(_acts(f"sqlite:///{tmp_path}/data/ledger.db"))
    assert token not in json.dumps(acts)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("invite", "w", "--name", "x", "--duty", "officer"), "login"),
        (("invite", "wang", "--name", "x", "--duty", "king"), "duties"),
        (("token", "--name", "x", "--duty", "officer"), "duties"),
        (("token", "--name", "x", "--duty", "auditor", "--days", "0"), "days"),
        (("reset", "nobody"), "login"),
    ],
)
def test_what_cannot_be_done_is_2_and_names_the_field(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    done = liuhen(tmp_path, "account", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


def test_the_first_administrator_is_made_by_a_link_on_the_terminal(tmp_path: Path) -> None:
    with Liuhen(tmp_path, ["up"], {}) as up, httpx.Client(base_url=up.url, timeout=30) as http:
        poll_until(lambda: "/link/" in up.log_path.read_text(), "the link is shown")
        said = up.log_path.read_text()
        path = said[said.index("/link/") :].split()[0]
        assert f"{up.url}{path}" in said
        new = {"login": "boss", "name": "局长", "password": PASSWORD, "again": PASSWORD}
        made = http.post(path, data=new)
        assert (made.status_code, made.headers["location"]) == (303, "/")
        assert http.get("/", headers={"Accept": "text/html"}).headers["location"] == "/account/second-factor"
        assert http.post(path, data=new | {"login": "other"}).status_code == 404
        assert PASSWORD not in up.log_path.read_text()


async def _acts(address: str) -> list[dict[str, object]]:
    ledger = await Ledger.connect(address)
    entries = [decode(line) async for _, line in ledger.read()]
    await ledger.close()
    return [entry.body for entry in entries if entry.kind == "act"]
