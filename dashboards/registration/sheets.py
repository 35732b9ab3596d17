"""Tables that go out and come in: CSV and XLSX, with bounds on what comes in and no formulas in what goes out.

A cell that a spreadsheet would take for a formula (CWE-1236) goes out behind an apostrophe, and comes in without it.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any

import msgspec
from openpyxl import Workbook, load_workbook

from domain.errors import InvalidInput

MAX_BYTES = 2_000_000
MAX_UNPACKED_BYTES = 30_000_000
MAX_FILES = 200
"""In the archive that an XLSX is. A few kilobytes of it can be made to unpack into gigabytes."""
MAX_ROWS = 5_000
MAX_COLUMNS = 60
MAX_CELL_CHARACTERS = 4_000
_DANGEROUS = ("=", "+", "-", "@", "\t", "\r")
_UNWRITABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|[\ud800-\udfff]")


class Line(msgspec.Struct, frozen=True):
    """One row of a sheet.

    Attributes:
        number: As the spreadsheet counts it, the header being 1.
        cells: By column.
    """

    number: int
    cells: dict[str, str]


def read(content: bytes) -> list[Line]:
    """Read a sheet, XLSX or CSV by what is in it; its first row names the columns. Takes a while: run it in a thread.

    Raises:
        InvalidInput: Too large, too many rows or columns, no header, or no sheet at all; `field` is `file`.
    """
    if not content or len(content) > MAX_BYTES:
        raise _refused(f"{len(content)} bytes; 1 to {MAX_BYTES} are taken")
    rows = _xlsx(content) if content.startswith(b"PK") else _csv(content)
    lines: list[Line] = []
    header: list[str] = []
    for number, row in enumerate(rows, 1):
        if number > MAX_ROWS + 1:
            raise _refused(f"more than {MAX_ROWS} rows")
        if len(row) > MAX_COLUMNS or any(len(cell) > MAX_CELL_CHARACTERS for cell in row):
            raise _refused(f"row {number}: more than {MAX_COLUMNS} columns, or too long a cell")
        if not header:
            header = [cell.strip() for cell in row]
        elif any(cell.strip() for cell in row):
            cells = zip(header, (_plain(cell) for cell in row), strict=False)
            lines.append(Line(number, {name: cell for name, cell in cells if name}))
    if not header or len(set(filter(None, header))) != len([name for name in header if name]):
        raise _refused("no header, or a column twice")
    return lines


def to_csv(header: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """Write CSV in UTF-8, with the mark by which spreadsheets know it."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(header)
    writer.writerows([[_guarded(cell) for cell in row] for row in rows])
    return out.getvalue().encode("utf-8-sig", "replace")


def to_xlsx(header: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """Write XLSX, every cell a text."""
    book = Workbook(write_only=True)
    sheet: Any = book.create_sheet("1")
    sheet.append(list(header))
    for row in rows:
        sheet.append([_guarded(cell) for cell in row])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _guarded(cell: str) -> str:
    cell = _UNWRITABLE.sub("\ufffd", cell)
    return f"'{cell}" if cell.startswith(_DANGEROUS) else cell


def _plain(cell: str) -> str:
    cell = cell.strip()
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_DANGEROUS) else cell


def _csv(content: bytes) -> list[list[str]]:
    text = _decoded(content)
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise _refused(str(error)) from error


def _decoded(content: bytes) -> str:
    for encoding in ("utf-8-sig", "gb18030"):  # what spreadsheets in China write without asking
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\x00" not in text:
            return text
    raise _refused("neither XLSX nor CSV")


def _xlsx(content: bytes) -> list[list[str]]:
    try:
        _check_archive(content)
        book = load_workbook(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
        sheet: Any = book.worksheets[0]
        # What a sheet says of its own size is not believed: rows are counted as they come.
        sheet.reset_dimensions()
        rows = sheet.iter_rows(max_row=MAX_ROWS + 2, max_col=MAX_COLUMNS + 1, values_only=True)
        return [_trimmed([_text(value) for value in row]) for row in rows]
    except InvalidInput:
        raise
    except Exception as error:  # whatever a library that parses hostile XML brings up
        raise _refused(f"no XLSX that can be read: {type(error).__name__}") from error


def _check_archive(content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        infos = archive.infolist()
        if len(infos) > MAX_FILES or sum(info.file_size for info in infos) > MAX_UNPACKED_BYTES:
            raise _refused(f"unpacks into more than {MAX_FILES} files or {MAX_UNPACKED_BYTES} bytes")
        for info in infos:
            if info.filename.endswith((".xml", ".rels")) and b"<!DOCTYPE" in archive.read(info)[:4096].upper():
                raise _refused("XML with a document type")


def _trimmed(row: list[str]) -> list[str]:
    while row and not row[-1]:
        row.pop()
    return row


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime | date):
        return value.isoformat()[:10]
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _refused(why: str) -> InvalidInput:
    return InvalidInput(f"file: {why}", "file")
