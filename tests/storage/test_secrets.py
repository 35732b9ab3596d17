"""Secrets by file: taken from there, named when missing, shown nowhere."""

from __future__ import annotations

import logging
import traceback
import uuid
from pathlib import Path

import pytest

from domain.errors import CatalogUnavailable, InvalidSettings
from domain.settings import Settings
from storage.catalog.catalog import CATALOGUE, Catalog
from storage.database import Database
from storage.ledger.timestamps import Authority
from storage.objects.connect import connect, connect_second
from storage.secrets import read_secret, split_secret_file
from tests.services.postgres import PostgresServer

WHERE = "postgresql+psycopg://liuhen@db:5432/catalog"


def test_options_stand_without_the_file() -> None:
    assert split_secret_file("a://b/c?x=1&secret_file=/run/s&y=2") == ("a://b/c?x=1&y=2", "/run/s")
    assert split_secret_file("a://b/c?secret_file=/run/s") == ("a://b/c", "/run/s")
    assert split_secret_file("a://b/c") == ("a://b/c", "")


def test_a_password_is_read_without_its_line_end(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("p@ss:w/rd 密\n", encoding="utf-8")
    database = Database(f"{WHERE}?secret_file={file}&connect_timeout=3", CATALOGUE)
    assert database.url.password == "p@ss:w/rd 密"
    assert database.url.query == {"connect_timeout": "3"}
    assert "p@ss" not in repr(database.url)


@pytest.mark.parametrize("content", [None, b"", b" \n", b"two\nlines", b"\xff\xfe", b"x" * 5000])
def test_what_is_wrong_with_a_file_is_said_without_what_it_holds(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InvalidSettings, match=r"^catalog: .*secret") as raised:
        read_secret(str(file), "catalog")
    assert raised.value.field == "catalog"
    shown = "".join(traceback.format_exception(raised.value))
    assert all(word not in shown for word in ("two", "xxxx", "0xff"))


@pytest.mark.parametrize(
    "address",
    [
        "sqlite:///x.db?secret_file={file}",
        "postgresql+psycopg://db/catalog?secret_file={file}",
        "postgresql+psycopg://liuhen:hidden@db/catalog?secret_file={file}",
    ],
)
def test_a_file_that_serves_nothing_is_refused(tmp_path: Path, address: str) -> None:
    (tmp_path / "secret").write_text("s3cret")
    with pytest.raises(InvalidSettings, match="catalog: secret_file") as raised:
        Database(address.format(file=tmp_path / "secret"), CATALOGUE)
    assert "hidden" not in str(raised.value)


def test_stores_and_authorities_name_their_setting(tmp_path: Path) -> None:
    settings = Settings(store="s3://ID@h:9000/bucket", store_secret_file=str(tmp_path / "none"))
    with pytest.raises(InvalidSettings, match=r"store_secret_file: .*none"):
        connect(settings)
    with pytest.raises(InvalidSettings, match=r"offsite: .*none"):
        connect_second(f"s3://ID@h:9000/bucket?secret_file={tmp_path}/none", settings, "offsite")
    with pytest.raises(InvalidSettings, match=r"tsa_url: .*none"):
        Authority(f"https://us@tsa.example.org/tsr?secret_file={tmp_path}/none")
    with pytest.raises(InvalidSettings, match="tsa_url") as raised:
        Authority("https://us:hidden@tsa.example.org/tsr")
    assert "hidden" not in str(raised.value)


@pytest.mark.postgres
async def test_a_catalogue_opens_by_its_file_and_a_wrong_one_is_not_told(
    tmp_path: Path, postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = Database(postgres.create_database(f"secrets_{uuid.uuid4().hex}"), CATALOGUE).url
    assert url.password
    file = tmp_path / "secret"
    address = f"{url._replace(password=None).render_as_string()}?secret_file={file}"
    file.write_text("not-the-password")
    with pytest.raises(CatalogUnavailable) as raised:
        await Catalog.connect(address)
    file.write_text(f"{url.password}\n")
    opened = await Catalog.connect(address)
    await opened.close()
    shown = "".join(traceback.format_exception(raised.value)) + caplog.text
    assert "not-the-password" not in shown
    assert url.password not in shown
