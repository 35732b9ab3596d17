"""Sign-in by an OpenID Connect provider that is really asked, and lies in every way that a token can."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dashboards.people.provider import Provider as Known
from domain.clock import ManualClock
from domain.errors import InvalidSettings
from domain.settings import Settings
from storage.office import accounts
from storage.office.accounts import DutyRow
from tests.dashboards.test_access_door import Site, opened
from tests.dashboards.visitors import visitor
from tests.services.oidc import CLIENT, SECRET, Provider

HERE = "https://console"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as running:
        yield running


@pytest.fixture
async def site(tmp_path: Path, provider: Provider) -> AsyncIterator[Site]:
    (tmp_path / "oidc.secret").write_text(SECRET)
    settings = {"oidc_issuer": provider.issuer, "oidc_client_id": CLIENT}
    async with opened(tmp_path, oidc_secret_file=f"{tmp_path}/oidc.secret", **settings) as made:
        yield made


async def there(http: httpx.AsyncClient, path: str = "/wall") -> str:
    """Go to the provider; return the address that it sends the browser back to."""
    left = await http.get("/sign-in/provider", params={"next": path})
    assert left.status_code == 303
    async with httpx.AsyncClient() as outside:
        sent = await outside.get(left.headers["location"])
    return str(sent.headers["location"])


async def test_whoever_the_provider_vouches_for_is_signed_in_without_codes_of_ours(site: Site) -> None:
    person = await visitor(site.office, DutyRow("supervisor"), login="wang", seed="")
    async with site.http() as http:
        assert "/sign-in/provider?" in (await http.get("/sign-in")).text
        back = await there(http)
        assert back.startswith(f"{HERE}/sign-in/provider/back?")
        answer = await http.get(back)
        assert (answer.status_code, answer.headers["location"]) == (303, "/wall")
        assert (await http.get("/api/v1/recorders")).status_code == 200
        assert (await http.get(back)).status_code == 401  # an answer counts once
    (begun,) = await site.said("session.begun")
    assert (begun["by"], begun["way"]) == (person.account_id, "provider")


async def test_an_answer_counts_for_the_browser_that_asked_alone(site: Site) -> None:
    await visitor(site.office, DutyRow("supervisor"), login="wang")
    async with site.http() as evil, site.http() as victim:
        back = await there(evil)
        assert (await victim.get(back)).status_code == 401
        await there(victim)  # on a way of its own
        assert (await victim.get(back)).status_code == 401
        assert "__Host-liuhen-session" not in victim.cookies


@pytest.mark.parametrize(
    "lie",
    [
        {"aud": "another client"},
        {"iss": "http://127.0.0.1:1/agency"},
        {"nonce": "0" * 64},
        {"exp": int(time.time()) - 3_600},
        {"azp": "another client"},
        {"preferred_username": "nobody"},
        {"preferred_username": None},
        {"preferred_username": ["wang"]},
    ],
    ids=str,
)
async def test_a_token_that_is_not_right_in_every_way_is_nobody(
    site: Site, provider: Provider, lie: dict[str, Any]
) -> None:
    await visitor(site.office, DutyRow("supervisor"), login="wang")
    provider.lie = lie
    async with site.http() as http:
        answer = await http.get(await there(http))
        assert (answer.status_code, "__Host-liuhen-session" in http.cookies) == (401, False)


async def test_keys_may_change_and_others_do_not_count(site: Site, provider: Provider) -> None:
    await visitor(site.office, DutyRow("supervisor"), login="wang")
    async with site.http() as http:
        assert (await http.get(await there(http))).status_code == 303
        provider.change_key(published=True)
        assert (await http.get(await there(http))).status_code == 303
        provider.change_key(published=False)
        assert (await http.get(await there(http))).status_code == 401


async def test_a_disabled_account_stays_out_and_an_invited_one_needs_no_password(site: Site) -> None:
    made = await site.accounts.make("boss", "wang", "王", [DutyRow("officer")])
    async with site.http() as http:
        assert (await http.get(await there(http))).status_code == 303
        await site.accounts.disable("boss", made)
        assert (await http.get("/api/v1/recorders")).status_code == 401
        assert (await http.get(await there(http))).status_code == 401
    found = await accounts.get(site.office, made.account_id)
    assert found is not None
    assert (found.state, found.has_password) == ("disabled", False)


async def test_a_provider_that_is_away_is_503_and_passwords_still_work(site: Site, provider: Provider) -> None:
    provider.__exit__()
    async with site.http() as http:
        assert (await http.get("/sign-in/provider")).status_code == 503
        assert (await http.get("/sign-in")).status_code == 200


@pytest.mark.parametrize(
    ("issuer", "client", "names"),
    [
        ("http://sso.example.org", "x", "oidc_issuer"),
        ("sso.example.org", "x", "oidc_issuer"),
        ("https://sso.example.org", "", "oidc_client_id"),
    ],
)
def test_settings_that_cannot_be_used_are_named(clock: ManualClock, issuer: str, client: str, names: str) -> None:
    with pytest.raises(InvalidSettings) as told:
        Known(Settings(oidc_issuer=issuer, oidc_client_id=client), clock)
    assert told.value.field == names


@pytest.fixture
def clock() -> ManualClock:
    from domain.clock import Instant

    return ManualClock(Instant(0))
