"""The office of a demonstration: units, premises with their papers, recorders handed out, requests for footage.

Everything goes the way that people go, through the desks of the console, so that each act is in the custody ledger.
Only what lies in the past is entered below them: who has had a recorder for a week.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from domain.clock import Instant
from domain.registry import hash_token
from house.house import House

if TYPE_CHECKING:
    from dashboards.parts import Parts
    from dashboards.people.rights import Person
    from dashboards.registration.desk import PremisesDesk
    from house.people import Guest
    from storage.office.dossier import Site
    from streams.simulate.script import Device

DAY_MS = 86_400_000
UNITS = {"jd-1": "监督一科", "jd-2": "监督二科"}
SITES = {
    "zwfw": ("政务服务中心", "武城县政务服务中心", "武城县人民路 1 号"),
    "kangning": ("康宁口腔门诊", "康宁口腔门诊部（演示）", "武城县解放街 28 号"),
}


async def furnish(house: House, devices: Sequence[Device], urls: Mapping[str, str], guests: Sequence[Guest]) -> None:
    """Enter everything about the devices of the built-in script; what is there already is brought up to date.

    Raises:
        Unavailable: A part of the house is away.
    """
    from dashboards.registration.desk import PremisesDesk
    from storage.office import units

    console = house.console
    if console is None:
        msg = "no console in this process"
        raise LookupError(msg)
    people = {guest.role: _person(guest) for guest in guests}
    for unit_id, name in UNITS.items():
        await units.set_name(console.parts.office, unit_id, name)
    desk = PremisesDesk(console.parts, console.registering.registrar)
    for device in devices:
        if device.pushes:
            await _recorder(house, device, people["officer"])
        else:
            await _camera(console.parts, desk, device, urls[device.id], people)
    await console.registering.registrar.told()
    await console.registering.holders.look()


def _person(guest: Guest) -> Person:
    from dashboards.people.rights import Duty, Person, Role

    return Person(account_id=guest.account_id, name=guest.name, duties=(Duty(role=Role(guest.role)),))


async def _recorder(house: House, device: Device, officer: Person) -> None:
    """Enter a body-worn recorder, its token, and who has had it for eight days."""
    from storage.office import recorders
    from storage.office.recorders import Card

    office, now = await house.office(), house.clock.now()
    if await recorders.one_card(office, device.id) is None:
        card = Card(
            recorder_id=device.id,
            name=device.name,
            model="DSJ-留痕演示",
            serial=f"SN-{device.id}",
            unit_id=device.unit_id or "",
            policy=device.policy,
            bought_on="2026-01-05",
            expects_audio=device.audio,
        )
        await recorders.add_card(office, card, by="demo", at=now)
        await recorders.issue(office, device.id, officer.account_id, by="demo", at=now.plus(-8 * DAY_MS))
    await recorders.renew_token(office, device.id, hash_token(device.token), old_until=now, by="demo", at=now)


async def _camera(parts: Parts, desk: PremisesDesk, device: Device, url: str, people: Mapping[str, Person]) -> None:
    """Take a camera from draft to active, with its papers; one from a life before gets its new address."""
    from storage.office import premises
    from storage.office.dossier import Camera, Confirmation, Notice

    operator, supervisor = people["site_operator"], people["supervisor"]
    if await premises.one_camera(parts.office, device.id) is not None:
        await premises.change_camera(
            parts.office,
            device.id,
            lambda _, before: msgspec.structs.replace(before, url=url),
            what="address_changed",
            by=operator.account_id,
            at=parts.clock.now(),
            secret=url,
        )
        return
    site = await _site(desk, operator, device.site_id or "", device.unit_id or "")
    camera = Camera(
        camera_id=device.id,
        site_id=site.site_id,
        name=device.name,
        policy=device.policy,
        place=device.name.rpartition(" ")[2],
        standard="GB/T 28181-2022",
    )
    await desk.add(operator, camera)
    await desk.set_address(operator, device.id, url, "", "", expects_audio=device.audio)
    await desk.look(operator, device.id)
    day = parts.clock.now().plus(-20 * DAY_MS).datetime().date().isoformat()
    signed = await desk.hand_in(
        operator, device.id, _paper("设备安装确认书", site, device), "设备安装确认书.pdf", "confirmation.document"
    )
    confirmation = Confirmation(
        document=signed.sha256,
        signed_on=day,
        agency_signatory="李建国",
        party_signatory=site.contacts[0].name,
        consents=desk.rules(camera).consents,
    )
    await desk.change(
        operator, device.id, "confirmation", lambda one: msgspec.structs.replace(one, confirmation=confirmation)
    )
    await desk.step(operator, device.id, "confirm")
    hung = await desk.hand_in(operator, device.id, _paper("视频监控公告", site, device), "公告.pdf", "notice.photo")
    notice = Notice(photo=hung.sha256, posted_on=day, where="入口右侧")
    await desk.change(operator, device.id, "notice", lambda one: msgspec.structs.replace(one, notice=notice))
    await desk.step(operator, device.id, "notice")
    await desk.step(supervisor, device.id, "activate")


async def _site(desk: PremisesDesk, operator: Person, site_id: str, unit_id: str) -> Site:
    from dashboards.problem import Missing
    from storage.office.dossier import Contact, Site

    try:
        return await desk.site(operator, site_id)
    except Missing:
        name, party, address = SITES.get(site_id, (site_id, site_id, ""))
        contact = Contact(name="刘芳", role="负责人", phone="0579-8000 0000", channel="phone")
        site = Site(site_id=site_id, unit_id=unit_id, name=name, party_name=party, address=address, contacts=(contact,))
        return await desk.put_site(operator, site, is_new=True)


async def ask(house: House, guests: Sequence[Guest], sessions: Sequence[tuple[str, str, Instant, Instant]]) -> None:
    """Ask for the footage of two sessions, and grant the first, where nobody has asked yet.

    Args:
        house: With a console.
        guests: Its people.
        sessions: Recorder, session, from and to.
    """
    from dashboards.footage.desk import Form
    from storage.office import requests

    console = house.console
    if console is None or await requests.newest(console.parts.office, limit=1):
        return
    people = {guest.role: _person(guest) for guest in guests}
    desk = console.footage.desk
    for number, (recorder_id, session_id, begin, end) in enumerate(sessions[:2]):
        form = Form(
            recorder_id=recorder_id,
            session_id=session_id,
            from_at=begin,
            to_at=end,
            who="handler",
            want="view",
            reason="核对现场检查笔录",
            matter=f"武卫监〔2026〕{17 + number} 号",
        )
        kept = await desk.ask(people["officer"], form, ())
        asked = kept.request.application
        for step in asked.steps if number == 0 else ():
            await desk.decide(
                people["supervisor"],
                asked.id,
                agrees=True,
                acting_as=asked.approver or "",
                reason="同意，仅限核对笔录",
                days=7,
                step=step,
            )


def _paper(title: str, site: Site, device: Device) -> bytes:
    """Return a page that says what it stands for, as PDF."""
    from reportlab.lib.pagesizes import A4
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.pdfgen.canvas import Canvas

    pdfmetrics.registerFont(UnicodeCIDFont("STSong-Light"))
    sink = io.BytesIO()
    page = Canvas(sink, pagesize=A4)
    lines = (
        f"{title}（演示用）",
        f"当事人：{site.party_name}",
        f"地点：{site.address}",
        f"设备：{device.name}  {device.id}",
    )
    for number, line in enumerate(lines):
        page.setFont("STSong-Light", 22 if number == 0 else 13)
        page.drawString(90, 720 - number * 40, line)
    page.save()
    return sink.getvalue()
