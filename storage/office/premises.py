"""Sites and cameras with their papers, as operators enter them; passwords of cameras in a table apart.

What stands here is what counts: topic `registry` is published from it. A camera's password leaves this module only by
`secret`, for the camera itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Connection, ForeignKey, Index, Integer, String, Table, Text, delete, select

from domain import wire
from domain.clock import Instant
from domain.errors import InvalidInput
from storage.office.dossier import Camera, Site
from storage.office.office import Office, metadata

sites = Table(
    "sites",
    metadata,
    Column("site_id", String(63), primary_key=True),
    Column("unit_id", String(63), nullable=False),
    Column("body", Text, nullable=False),
    Column("changed_at_ms", BigInteger, nullable=False),
    Column("changed_by", String(200), nullable=False),
    Index("sites_by_unit", "unit_id"),
)
cameras = Table(
    "cameras",
    metadata,
    Column("camera_id", String(63), primary_key=True),
    Column("site_id", String(63), ForeignKey("sites.site_id"), nullable=False),
    Column("state", String(20), nullable=False),
    Column("body", Text, nullable=False),
    Index("cameras_by_site", "site_id"),
)
camera_secrets = Table(
    "camera_secrets",
    metadata,
    Column("camera_id", String(63), ForeignKey("cameras.camera_id"), primary_key=True),
    Column("address", String(2200), nullable=False),
)
camera_steps = Table(
    "camera_steps",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("camera_id", String(63), ForeignKey("cameras.camera_id"), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("by", String(200), nullable=False),
    Column("what", String(40), nullable=False),
    Column("state", String(20), nullable=False),
    Column("note", Text, nullable=False),
    Index("camera_steps_by_camera", "camera_id", "number"),
)


class Taken(InvalidInput):
    """An id that is in use already."""


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a camera's history.

    Attributes:
        at: When.
        by: Account.
        what: A step, or the part of the dossier that was changed.
        state: Afterwards.
        note: The reason given.
    """

    at: Instant
    by: str
    what: str
    state: str
    note: str = ""


async def all_sites(office: Office) -> list[Site]:
    """Return the sites by id."""
    rows = await office.read(lambda connection: connection.execute(select(sites).order_by(sites.c.site_id)).all())
    return [_site(row) for row in rows]


async def one_site(office: Office, site_id: str) -> Site | None:
    """Return a site; None where there is none of this id."""
    return await office.read(lambda connection: find_site(connection, site_id))


def find_site(connection: Connection, site_id: str) -> Site | None:
    """Do the same within a transaction."""
    row = connection.execute(select(sites).where(sites.c.site_id == site_id)).one_or_none()
    return None if row is None else _site(row)


async def put_site(office: Office, site: Site, *, by: str, at: Instant, is_new: bool) -> None:
    """Enter a site, or change it.

    Raises:
        Taken: It is to be a new one, and its id is in use.
    """
    await office.write(lambda connection: write_site(office, connection, site, by=by, at=at, is_new=is_new))


def write_site(office: Office, connection: Connection, site: Site, *, by: str, at: Instant, is_new: bool) -> None:
    """Do the same within a transaction."""
    if is_new and find_site(connection, site.site_id) is not None:
        msg = f"site_id: {site.site_id} is in use"
        raise Taken(msg, "site_id")
    row = {"unit_id": site.unit_id, "body": _text(site), "changed_at_ms": int(at), "changed_by": by}
    insert = office.insert(sites).values(site_id=site.site_id, **row)
    connection.execute(insert.on_conflict_do_update(index_elements=["site_id"], set_=row))


async def all_cameras(office: Office, site_id: str | None = None) -> list[Camera]:
    """Return the cameras, of one site or all, by id."""
    query = select(cameras.c.body).order_by(cameras.c.camera_id)
    if site_id is not None:
        query = query.where(cameras.c.site_id == site_id)
    found = await office.read(lambda connection: connection.execute(query).scalars().all())
    return [_camera(body) for body in found]


async def one_camera(office: Office, camera_id: str) -> Camera | None:
    """Return a camera; None where there is none of this id."""
    return await office.read(lambda connection: find_camera(connection, camera_id))


def find_camera(connection: Connection, camera_id: str, *, to_change: bool = False) -> Camera | None:
    """Do the same within a transaction; where it is to be changed nobody else changes it before that one ends."""
    query = select(cameras.c.body).where(cameras.c.camera_id == camera_id)
    body = connection.execute(query.with_for_update() if to_change else query).scalar_one_or_none()
    return None if body is None else _camera(body)


async def add_camera(office: Office, camera: Camera, secret: str, *, by: str, at: Instant) -> None:
    """Enter a camera.

    Args:
        office: Where.
        camera: As it begins, a draft.
        secret: Its whole address, with credentials; empty where `camera.url` is whole.
        by: Account.
        at: When.

    Raises:
        Taken: Its id is in use.
    """
    await office.write(lambda connection: write_camera(office, connection, camera, secret, by=by, at=at))


def write_camera(office: Office, connection: Connection, camera: Camera, secret: str, *, by: str, at: Instant) -> None:
    """Do the same within a transaction."""
    if find_camera(connection, camera.camera_id) is not None:
        msg = f"camera_id: {camera.camera_id} is in use"
        raise Taken(msg, "camera_id")
    camera = msgspec.structs.replace(camera, changed_at=at, changed_by=by)
    row = {"site_id": camera.site_id, "state": camera.state, "body": _text(camera)}
    connection.execute(office.insert(cameras).values(camera_id=camera.camera_id, **row))
    _set_secret(office, connection, camera.camera_id, secret)
    _note(office, connection, camera, "added", "")


async def change_camera(
    office: Office,
    camera_id: str,
    change: Callable[[Site, Camera], Camera],
    *,
    what: str,
    by: str,
    at: Instant,
    note: str = "",
    secret: str | None = None,
) -> Camera:
    """Change a camera as it stands when nobody else changes it; return it as it is then.

    Args:
        office: Where.
        camera_id: Which.
        change: Makes the new one of site and old one; what it raises is raised, and nothing is changed.
        what: For its history.
        by: Account.
        at: When.
        note: For its history.
        secret: Its new whole address, empty where `camera.url` is whole; the one it has where None.

    Raises:
        InvalidInput: There is no such camera.
    """

    def work(connection: Connection) -> Camera:
        before = find_camera(connection, camera_id, to_change=True)
        site = None if before is None else find_site(connection, before.site_id)
        if before is None or site is None:
            msg = f"camera_id: no camera {camera_id}"
            raise InvalidInput(msg, "camera_id")
        camera = msgspec.structs.replace(change(site, before), changed_at=at, changed_by=by)
        connection.execute(
            cameras.update()
            .where(cameras.c.camera_id == camera_id)
            .values(site_id=camera.site_id, state=camera.state, body=_text(camera))
        )
        if secret is not None:
            _set_secret(office, connection, camera_id, secret)
        _note(office, connection, camera, what, note)
        return camera

    return await office.write(work)


async def history(office: Office, camera_id: str) -> list[Done]:
    """Return what was done about a camera, newest first."""
    query = select(camera_steps).where(camera_steps.c.camera_id == camera_id).order_by(camera_steps.c.number.desc())
    rows = await office.read(lambda connection: connection.execute(query).all())
    return [Done(at=Instant(row.at_ms), by=row.by, what=row.what, state=row.state, note=row.note) for row in rows]


async def secrets(office: Office) -> dict[str, str]:
    """Return the whole addresses of cameras that have a password. For the cameras alone: never shown, never logged."""
    rows = await office.read(lambda connection: connection.execute(select(camera_secrets)).all())
    return {row.camera_id: row.address for row in rows}


def _set_secret(office: Office, connection: Connection, camera_id: str, secret: str) -> None:
    connection.execute(delete(camera_secrets).where(camera_secrets.c.camera_id == camera_id))
    if secret:
        connection.execute(office.insert(camera_secrets).values(camera_id=camera_id, address=secret))


def _note(office: Office, connection: Connection, camera: Camera, what: str, note: str) -> None:
    connection.execute(
        office.insert(camera_steps).values(
            camera_id=camera.camera_id,
            at_ms=int(camera.changed_at),
            by=camera.changed_by,
            what=what,
            state=camera.state,
            note=note,
        )
    )


def _text(value: msgspec.Struct) -> str:
    return wire.encode(value).decode()


def _site(row: Any) -> Site:
    return wire.convert(msgspec.json.decode(row.body), Site)


def _camera(body: str) -> Camera:
    return wire.convert(msgspec.json.decode(body), Camera)
