"""What is done about sites and cameras: who may, said in the custody ledger, then entered, then told to the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from dashboards.parts import Parts
from dashboards.people.rights import Person, Place, Right
from dashboards.problem import Missing
from dashboards.registration.addresses import HIDDEN, Address, address_of
from dashboards.registration.registrar import Registrar
from domain.errors import InvalidInput, Unavailable
from domain.ids import is_recorder_id
from domain.probe import ProbeRequest
from storage.office import admission, documents, premises
from storage.office.admission import REVIEWED, Gap, Part, Rules, Step
from storage.office.documents import Document
from storage.office.dossier import Camera, Seen, Site, check_credit_code, check_text

MAX_PREPARERS = 50
"""Accounts remembered that entered papers of one camera; the newest."""
Change = Callable[[Camera], Camera]


class PremisesDesk:
    """See the module.

    Args:
        parts: What the console is made of.
        registrar: Tells the log.
    """

    def __init__(self, parts: Parts, registrar: Registrar) -> None:
        self._parts, self._registrar = parts, registrar

    # -- sites --------------------------------------------------------------------------------------------------

    async def sites(self, person: Person) -> list[Site]:
        """Return the sites that somebody may see."""
        found = await premises.all_sites(self._parts.office)
        return [site for site in found if person.may_at(Right.PREMISES_SEE, place_of(site))]

    async def site(self, person: Person, site_id: str, right: Right = Right.PREMISES_SEE) -> Site:
        """Return a site.

        Raises:
            Missing: There is none, or not for them to do this at.
        """
        found = await premises.one_site(self._parts.office, site_id) if is_recorder_id(site_id) else None
        if found is None:
            raise Missing(f"no site {site_id[:100]}")
        self._parts.guard.check(person, right, place_of(found), f"site {site_id[:100]}")
        return found

    async def has_site(self, site_id: str) -> bool:
        """Tell whether there is such a site, theirs or not."""
        return is_recorder_id(site_id) and await premises.one_site(self._parts.office, site_id) is not None

    async def put_site(self, person: Person, site: Site, *, is_new: bool) -> Site:
        """Enter a site, or change it.

        Raises:
            InvalidInput: Its id is taken, its credit code is none, or it would not be theirs to see to any more.
        """
        site = msgspec.structs.replace(site, credit_code=check_credit_code(site.credit_code))
        if not site.name.strip():
            msg = "site.name: missing"
            raise InvalidInput(msg, "site.name")
        if not is_new:
            await self.site(person, site.site_id, Right.PREMISES_EDIT)
        elif await premises.one_site(self._parts.office, site.site_id) is not None:
            msg = f"site_id: {site.site_id} is in use"
            raise premises.Taken(msg, "site_id")
        if not person.may_at(Right.PREMISES_EDIT, place_of(site)):
            msg = "unit_id: not a unit or site of yours"
            raise InvalidInput(msg, "unit_id")
        what = "site.added" if is_new else "site.changed"
        await self._parts.audit.note(person, what, site=site.site_id, unit=site.unit_id, name=site.name)
        now = self._parts.clock.now()
        await premises.put_site(self._parts.office, site, by=person.account_id, at=now, is_new=is_new)
        await self._registrar.told()
        return site

    # -- cameras ------------------------------------------------------------------------------------------------

    async def camera(
        self, person: Person, camera_id: str, right: Right = Right.PREMISES_SEE, *, site_id: str | None = None
    ) -> tuple[Site, Camera]:
        """Return a camera and its site.

        Raises:
            Missing: There is none, it is at another site than named, or not for them to do this with.
        """
        found = await premises.one_camera(self._parts.office, camera_id) if is_recorder_id(camera_id) else None
        if found is None or site_id not in (None, found.site_id):
            raise Missing(f"no camera {camera_id[:100]}")
        return await self.site(person, found.site_id, right), found

    async def add(self, person: Person, camera: Camera, address: Address | None = None) -> Camera:
        """Enter a camera, as a draft.

        Raises:
            InvalidInput: Its id is in use, here or by a recorder that the log knows.
        """
        await self.site(person, camera.site_id, Right.PREMISES_EDIT)
        await self.check_free(camera.camera_id)
        self.check_policy(camera.policy)
        camera = msgspec.structs.replace(
            Camera(camera_id=camera.camera_id, site_id=camera.site_id),
            **{name: getattr(camera, name) for name in ("name", "policy", "place", "point", "standard")},
            url=address.shown if address else "",
            prepared_by=(person.account_id,),
        )
        await self._note(person, "camera.added", camera)
        secret, now = address.whole if address else "", self._parts.clock.now()
        await premises.add_camera(self._parts.office, camera, secret, by=person.account_id, at=now)
        await self._registrar.told()
        return camera

    async def check_free(self, recorder_id: str) -> None:
        """See that an id is nobody's yet.

        Raises:
            Taken: Of a camera, of a recorder of the ledger, or of one that stands in a file.
        """
        await self._registrar.settle()
        if self._registrar.knows(recorder_id):
            msg = f"recorder_id: {recorder_id} is in use"
            raise premises.Taken(msg, "recorder_id")

    def check_policy(self, name: str) -> None:
        """See that there is such a policy.

        Raises:
            InvalidInput: There is none.
        """
        if self._parts.book.find(name) is None:
            msg = f"policy: no policy {name!r}"
            raise InvalidInput(msg, "policy")

    async def change(
        self, person: Person, camera_id: str, part: Part, change: Change, *, secret: str | None = None
    ) -> Camera:
        """Change a part of a camera's dossier.

        Raises:
            Missing: It is not theirs to change.
            NotReady: It is in use.
        """
        _, camera = await self.camera(person, camera_id, Right.PREMISES_EDIT)
        changed = self._changed(person, part, change, camera)
        if changed == camera and secret is None:
            return camera
        self.check_policy(changed.policy)
        facts = {"papers": sorted(changed.papers)} if part not in ("basics", "address") else {}
        await self._note(person, f"camera.{part}_changed", changed, **facts)
        return await self._enter(
            person,
            camera_id,
            lambda _site, now: self._changed(person, part, change, now),
            what=f"{part}_changed",
            secret=secret,
        )

    def _changed(self, person: Person, part: Part, change: Change, camera: Camera) -> Camera:
        state = admission.after_change(part, camera)
        changed = change(camera)
        if changed == camera:
            return camera
        others = tuple(one for one in camera.prepared_by if one != person.account_id)
        return msgspec.structs.replace(changed, state=state, prepared_by=(*others, person.account_id)[-MAX_PREPARERS:])

    async def set_address(
        self, person: Person, camera_id: str, url: str, user: str, password: str, **more: Any
    ) -> Camera:
        """Change the address of a camera, and how it is pulled.

        Where the address is given as it was shown, what is secret of it stays as it was.

        Raises:
            InvalidInput: It is no address.
        """
        _, camera = await self.camera(person, camera_id, Right.PREMISES_EDIT)
        known = (await premises.secrets(self._parts.office)).get(camera_id, "")
        if url.strip() == camera.url and not user and not password:
            new, secret = camera.url, None
        else:
            typed = known if HIDDEN in url and url.strip() == camera.url else url
            new, whole = address_of(typed, user, password)
            secret = whole
        return await self.change(
            person,
            camera_id,
            "address",
            lambda before: msgspec.structs.replace(
                before, url=new, seen=before.seen if secret is None else None, **more
            ),
            secret=secret,
        )

    async def look(self, person: Person, camera_id: str) -> Camera:
        """Look at a camera's address and keep what was seen.

        Raises:
            Unavailable: No process here looks.
            NotReady: It is in use: what it sends is on the wall.
        """
        _, camera = await self.camera(person, camera_id, Right.PREMISES_EDIT)
        if self._parts.probe is None:
            raise Unavailable("this console cannot look at cameras")
        admission.after_change("address", camera)
        if not camera.url:
            msg = "address.url: missing"
            raise InvalidInput(msg, "address.url")
        await self._note(person, "camera.looked_at", camera, url=camera.url)
        whole = (await premises.secrets(self._parts.office)).get(camera_id, "") or camera.url
        request = ProbeRequest(url=whole, transport=camera.transport, tls_sha256=camera.tls_sha256 or None)
        found = await self._parts.probe(request)
        now, picture = self._parts.clock.now(), ""
        if found.picture:
            kept = await documents.add(
                self._parts.office, found.picture, name=f"{camera_id}.jpg", by=person.account_id, at=now
            )
            picture = kept.sha256
        seen = Seen(
            at=now,
            url=camera.url,
            ok=not found.trouble,
            trouble=found.trouble,
            codec=found.codec,
            width=found.width,
            height=found.height,
            fps=found.fps,
            bits_per_s=found.bits_per_s,
            audio=found.audio,
            clock_offset_s=found.clock_offset_s,
            picture=picture,
        )

        def change(_site: Site, before: Camera) -> Camera:
            admission.after_change("address", before)
            return msgspec.structs.replace(before, seen=seen)

        return await self._enter(person, camera_id, change, what="looked_at", note=found.trouble)

    # -- steps --------------------------------------------------------------------------------------------------

    def rules(self, camera: Camera) -> Rules:
        """Return what is asked for of a camera here, today."""
        today = self._parts.clock.now().datetime().date()
        return Rules.of(self._parts.book.find(camera.policy), today, review=self._parts.settings.monitoring_review)

    def gaps(self, step: Step, site: Site, camera: Camera) -> list[Gap]:
        """Return what a step still lacks."""
        return admission.gaps(step, site, camera, self.rules(camera))

    async def step(self, person: Person, camera_id: str, step: Step, reason: str = "") -> Camera:
        """Take a step.

        Raises:
            Missing: It is not theirs to take.
            NotReady: It cannot be taken.
        """
        right = Right.PREMISES_REVIEW if step in REVIEWED else Right.PREMISES_EDIT
        site, camera = await self.camera(person, camera_id, right)
        by, reason = person.account_id, check_text(reason, "reason")

        def take(at: Site, before: Camera) -> Camera:
            state = admission.after(step, at, before, self.rules(before), by=by, reason=reason)
            out = state in ("suspended", "retired")
            return msgspec.structs.replace(
                before, state=state, reason=reason if out else "", decided_by=by if out else ""
            )

        after = take(site, camera)
        await self._note(person, f"camera.{step}", after, state=after.state, reason=reason)
        return await self._enter(person, camera_id, take, what=step, note=reason)

    # -- papers -------------------------------------------------------------------------------------------------

    async def hand_in(self, person: Person, camera_id: str, content: bytes, name: str, field: str) -> Document:
        """Keep a file that belongs to a camera; it belongs to it once a part of the dossier names it.

        Raises:
            InvalidInput: It is no file of a kind that is taken.
        """
        await self.camera(person, camera_id, Right.PREMISES_EDIT)
        now = self._parts.clock.now()
        return await documents.add(self._parts.office, content, name=name, by=person.account_id, at=now, field=field)

    async def check_papers(self, part: msgspec.Struct) -> None:
        """See that the documents that a part names were handed in.

        Raises:
            InvalidInput: One was not.
        """
        for field in ("document", "photo"):
            sha256 = getattr(part, field, "")
            if sha256 and await documents.read(self._parts.office, sha256) is None:
                msg = f"{field}: no such document was handed in"
                raise InvalidInput(msg, field)

    async def paper(self, person: Person, camera_id: str, sha256: str) -> tuple[Document, bytes]:
        """Return a document of a camera.

        Raises:
            Missing: It is none of this camera's, or not theirs to see.
        """
        _, camera = await self.camera(person, camera_id)
        found = await documents.read(self._parts.office, sha256) if sha256 in camera.papers else None
        if found is None:
            raise Missing("no such document")
        return found

    async def _enter(
        self,
        person: Person,
        camera_id: str,
        change: Callable[[Site, Camera], Camera],
        *,
        what: str,
        note: str = "",
        secret: str | None = None,
    ) -> Camera:
        camera = await premises.change_camera(
            self._parts.office,
            camera_id,
            change,
            what=what,
            by=person.account_id,
            at=self._parts.clock.now(),
            note=note,
            secret=secret,
        )
        await self._registrar.told()
        return camera

    async def _note(self, person: Person, what: str, camera: Camera, **facts: Any) -> None:
        await self._parts.audit.note(person, what, recorder_id=camera.camera_id, site=camera.site_id, **facts)


def place_of(site: Site) -> Place:
    """Return where a site is, as far as rights go."""
    return Place(unit_id=site.unit_id, site_id=site.site_id)
