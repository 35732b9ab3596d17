"""Tables as XLSX, for those who go on reckoning with them. What is a text stays one, whatever it begins with."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import msgspec
from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import Cell
from openpyxl.styles import Alignment, Font

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
MAX_CELL = 32_000
_UNWRITABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|[\ud800-\udfff]")
_UNNAMED = re.compile(r"[\[\]:*?/\\]")

Value = str | int | float | None


class Table(msgspec.Struct, frozen=True):
    """One sheet.

    Attributes:
        title: Its name, and its first line.
        header: Names of the columns.
        rows: Values, row by row.
        notes: Lines below it.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Value]]
    notes: Sequence[str] = ()


def workbook(tables: Sequence[Table]) -> bytes:
    """Write tables as one workbook, a sheet each."""
    book = Workbook(write_only=True)
    for number, table in enumerate(tables, 1):
        sheet = book.create_sheet(_UNNAMED.sub(" ", table.title)[:28] or str(number))
        widths = [
            max(8, *(min(48, 2 * len(str(row[column] or ""))) for row in [table.header, *table.rows]))
            for column in range(len(table.header))
        ]
        for column, width in enumerate(widths):
            sheet.column_dimensions[chr(ord("A") + column) if column < 26 else "Z"].width = width
        sheet.append([_cell(sheet, table.title, bold=True)])
        sheet.append([_cell(sheet, name, bold=True) for name in table.header])
        for row in table.rows:
            sheet.append([_cell(sheet, value) for value in row])
        for note in table.notes:
            sheet.append([_cell(sheet, note)])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _cell(sheet: Any, value: Value, *, bold: bool = False) -> Cell:
    if isinstance(value, str):
        value = _UNWRITABLE.sub("\ufffd", value)[:MAX_CELL]
    cell: Cell = WriteOnlyCell(sheet, value=value)
    if isinstance(value, str):
        cell.data_type = "s"  # a text that begins with = is no formula
        cell.alignment = Alignment(wrap_text=len(value) > 40, vertical="top")
    if bold:
        cell.font = Font(bold=True)
    return cell
