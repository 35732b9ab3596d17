"""Enforcement units by name. Recorders and duties say `unit_id`; what people call it stands here."""

from __future__ import annotations

from sqlalchemy import Column, String, Table, select

from storage.office.office import Office, metadata

units = Table(
    "units",
    metadata,
    Column("unit_id", String(200), primary_key=True),
    Column("name", String(200), nullable=False),
)


async def names(office: Office) -> dict[str, str]:
    """Return the name of every unit that has one, by id."""
    query = select(units).order_by(units.c.unit_id)
    return await office.read(lambda connection: {row.unit_id: row.name for row in connection.execute(query)})


async def set_name(office: Office, unit_id: str, name: str) -> None:
    """Name a unit, or rename it."""
    statement = office.insert(units).values(unit_id=unit_id, name=name)
    await office.write(
        lambda connection: connection.execute(
            statement.on_conflict_do_update(index_elements=["unit_id"], set_={"name": name})
        )
    )
