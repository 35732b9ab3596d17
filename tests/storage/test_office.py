"""The office's database: its schema is what its migrations make, and files stay what they were."""

import importlib
import pkgutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from domain.clock import Instant
from domain.errors import InvalidInput
from storage import office as nouns
from storage.office import documents
from storage.office.office import Office, metadata

for _noun in pkgutil.iter_modules(nouns.__path__):
    importlib.import_module(f"storage.office.{_noun.name}")  # each adds its tables to the metadata

PNG = b"\x89PNG\r\n\x1a\n" + b"picture"


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    opened = await Office.connect(f"sqlite:///{tmp_path}/office.db")
    yield opened
    await opened.close()


async def test_the_migrations_make_what_the_tables_say(office: Office) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    differing = await office.read(differences)
    assert [each for each in differing if "alembic_version" not in str(each)] == []


async def test_a_file_is_kept_once_and_read_back(office: Office) -> None:
    first = await documents.add(office, PNG, name="公示.png", by="zhang", at=Instant(1_000))
    again = await documents.add(office, PNG, name="other", by="li", at=Instant(2_000))
    assert again.sha256 == first.sha256
    assert await documents.read(office, first.sha256) == (first, PNG)
    assert await documents.read(office, "0" * 64) is None


@pytest.mark.parametrize("content", [b"", b"<html>", b"PK\x03\x04", b"%PDF-" + bytes(documents.MAX_BYTES)])
async def test_what_is_no_document_is_refused(office: Office, content: bytes) -> None:
    with pytest.raises(InvalidInput, match="photo") as told:
        await documents.add(office, content, name="x.png", by="zhang", at=Instant(0), field="photo")
    assert told.value.field == "photo"
