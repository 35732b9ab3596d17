"""What is on file about a site and its cameras: the papers that must be there before a camera records. Pure.

Wucheng W-NS 第十一、十二条: equipment fits its matter and meets standards, is verified where that is compulsory; before
use both sides sign a confirmation in which the party agrees to the installation and to what is recorded; afterwards a
notice is put up at the place. Where an agency uses the cameras as electronic monitoring, 行政处罚法第四十一条 asks
besides for a review of legality and technology, for markings, and for publishing where they stand.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from domain.clock import Instant
from domain.errors import InvalidInput
from domain.events import Name
from domain.ids import RecorderId, Sha256

Line = Annotated[str, Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f\ud800-\udfff]*\Z")]
Text = Annotated[str, Meta(max_length=4000, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]*\Z")]
Day = Annotated[str, Meta(pattern=r"^(\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01]))?\Z")]
"""A day of China, `YYYY-MM-DD`; empty: not known."""
Paper = Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")]
"""SHA-256 of a document; empty: none."""
SiteId = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}\Z")]
UnitId = Annotated[str, Meta(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,62})?\Z")]
State = Literal["draft", "confirmed", "noticed", "active", "suspended", "retired"]
Channel = Literal["sms", "phone", "mail", "wechat", "fax"]

CREDIT_LETTERS = "0123456789ABCDEFGHJKLMNPQRTUWXY"
CREDIT_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)


class File(msgspec.Struct, frozen=True, kw_only=True):
    """Part of what is on file."""


class Contact(File, frozen=True, kw_only=True):
    """Somebody of the party who is told of findings (W-NS 第十五条), and who agreed to these addresses (第十九条).

    Attributes:
        name: Who.
        role: What they are there.
        phone: Number for calls and messages.
        mail: Address for mail.
        channel: How they are told.
    """

    name: Line
    role: Line = ""
    phone: Annotated[str, Meta(max_length=40, pattern=r"^[0-9+ ()-]*\Z")] = ""
    mail: Annotated[str, Meta(max_length=200, pattern=r"^([^\s@\x00-\x1f]+@[^\s@\x00-\x1f]+)?\Z")] = ""
    channel: Channel = "phone"


class Site(File, frozen=True, kw_only=True):
    """The premises of a supervised party.

    Attributes:
        site_id: Its id.
        unit_id: Enforcement unit that supervises it; decides who may see it.
        name: What people call it.
        party_name: The supervised party (行政相对人), as on its licence.
        credit_code: Its unified social credit code (GB 32100), or nothing.
        address: Where it is.
        contacts: Who is told.
        note: Anything else.
    """

    site_id: SiteId
    unit_id: UnitId = ""
    name: Line
    party_name: Line = ""
    credit_code: Annotated[str, Meta(max_length=18)] = ""
    address: Line = ""
    contacts: Annotated[tuple[Contact, ...], Meta(max_length=10)] = ()
    note: Text = ""


class Seen(File, frozen=True, kw_only=True):
    """What a look at the camera's address showed.

    Attributes:
        at: When.
        url: The address that was looked at, without credentials: another one must be looked at anew.
        ok: Whether pictures came.
        trouble: Why not, a word of `domain.probe.Trouble`.
        codec: Of the pictures.
        width: Of the pictures, pixels.
        height: Of the pictures, pixels.
        fps: Pictures a second.
        bits_per_s: Bits a second of everything that came.
        audio: Codec of the sound; empty: none.
        clock_offset_s: The camera's clock − ours, where it tells.
        picture: SHA-256 of the first picture, a document.
    """

    at: Instant
    url: str = ""
    ok: bool = False
    trouble: str = ""
    codec: str = ""
    width: int = 0
    height: int = 0
    fps: float = 0.0
    bits_per_s: int = 0
    audio: str = ""
    clock_offset_s: float | None = None
    picture: Paper = ""


class Confirmation(File, frozen=True, kw_only=True):
    """The installation confirmation (设备安装确认书), signed by both sides (W-NS 第十二条).

    Attributes:
        document: Its scan.
        signed_on: When.
        agency_signatory: Who signed for the agency.
        party_signatory: Who signed for the party.
        consents: What the party agreed to, in the policy's words; each by itself.
    """

    document: Paper = ""
    signed_on: Day = ""
    agency_signatory: Line = ""
    party_signatory: Line = ""
    consents: Annotated[tuple[Line, ...], Meta(max_length=10)] = ()


class Notice(File, frozen=True, kw_only=True):
    """The public notice at the place (公告明示).

    Attributes:
        photo: Of it, hanging there.
        posted_on: When.
        where: Where exactly.
    """

    photo: Paper = ""
    posted_on: Day = ""
    where: Line = ""


class Certificate(File, frozen=True, kw_only=True):
    """Quality test or metrological verification (专业质量检测、计量检定).

    Attributes:
        required: The equipment is under compulsory verification (强制检定), so that it must have one.
        kind: Which of the two, in the policy's words.
        number: Of the certificate.
        issuer: Who gave it.
        expires_on: Its last day.
        document: Its scan.
    """

    required: bool = False
    kind: Line = ""
    number: Line = ""
    issuer: Line = ""
    expires_on: Day = ""
    document: Paper = ""


class Review(File, frozen=True, kw_only=True):
    """What 行政处罚法第四十一条 asks of electronic monitoring equipment.

    Attributes:
        legality_by: Who reviewed legality (法制审核).
        technology_by: Who reviewed technology (技术审核).
        reviewed_on: When.
        document: The finding of the reviews.
        markings: How the place is marked, clearly visible.
        published_at: Where its location was published to all.
        published_on: When.
    """

    legality_by: Line = ""
    technology_by: Line = ""
    reviewed_on: Day = ""
    document: Paper = ""
    markings: Line = ""
    published_at: Line = ""
    published_on: Day = ""


class Camera(File, frozen=True, kw_only=True):
    """One camera of a site, and its papers.

    Attributes:
        camera_id: Its id, which is also its recorder id.
        site_id: Where it is.
        name: What people call it.
        policy: Name of the policy that it is under.
        place: The point: which step of the work, where in the house (W-NS 第十条).
        point: Fixed or mobile (定点、移动监控).
        standard: Standard and parameters that it meets (W-NS 第十一条).
        url: RTSP address without credentials; those are kept apart.
        transport: How to pull RTP.
        tls_sha256: Certificate that an rtsps camera must show.
        expects_audio: Silence is worth a finding.
        continuous: Recording is expected at all times.
        seen: The newest look at the address.
        confirmation: Signed before use.
        notice: Put up at the place.
        certificate: Where verification is compulsory.
        review: Where the agency asks for it.
        state: How far it is.
        reason: Why it is out of use.
        decided_by: Who decided that.
        changed_at: When anything of this last changed.
        changed_by: By whom.
        prepared_by: Accounts that entered the papers in force, for whoever must not be one of them.
    """

    camera_id: RecorderId
    site_id: SiteId
    name: Line = ""
    policy: Name = "wucheng"
    place: Line = ""
    point: Literal["fixed", "mobile"] = "fixed"
    standard: Line = ""
    url: Annotated[str, Meta(max_length=2000, pattern=r"^(rtsps?://[^\s\x00-\x1f]+)?\Z")] = ""
    transport: Literal["tcp", "udp"] = "tcp"
    tls_sha256: Annotated[str, Meta(pattern=r"^(([0-9a-fA-F]{2}:?){31}[0-9a-fA-F]{2})?\Z")] = ""
    expects_audio: bool = False
    continuous: bool = True
    seen: Seen | None = None
    confirmation: Confirmation = Confirmation()
    notice: Notice = Notice()
    certificate: Certificate = Certificate()
    review: Review = Review()
    state: State = "draft"
    reason: Text = ""
    decided_by: str = ""
    changed_at: Instant = msgspec.field(default_factory=lambda: Instant(0))
    changed_by: str = ""
    prepared_by: tuple[str, ...] = ()

    @property
    def papers(self) -> frozenset[Sha256]:
        """Documents that belong to it."""
        named = (self.confirmation.document, self.notice.photo, self.certificate.document, self.review.document)
        return frozenset(one for one in (*named, self.seen.picture if self.seen else "") if one)

    @property
    def is_seen(self) -> bool:
        """Whether pictures came from the address that it has now."""
        return self.seen is not None and self.seen.ok and self.seen.url == self.url


def check_text(text: str, field: str) -> str:
    """Return a text of several lines, stripped.

    Raises:
        InvalidInput: Too long, or with characters that are none; names `field`.
    """
    try:
        return msgspec.convert(text.strip(), Text)
    except msgspec.ValidationError as error:
        msg = f"{field}: at most 4000 characters, and no control characters"
        raise InvalidInput(msg, field) from error


def check_credit_code(code: str) -> str:
    """Return a unified social credit code in capitals.

    Raises:
        InvalidInput: 18 characters of the code's own alphabet with a right check character (GB 32100-2015) it is not.
    """
    code = code.strip().upper()
    if not code:
        return code
    values = [CREDIT_LETTERS.find(letter) for letter in code]
    if len(code) != 18 or -1 in values or (31 - _weighed(values)) % 31 != values[17]:
        msg = "credit_code: not a unified social credit code (18 characters, the last one checks the others)"
        raise InvalidInput(msg, "credit_code")
    return code


def _weighed(values: list[int]) -> int:
    return sum(value * weight for value, weight in zip(values, CREDIT_WEIGHTS, strict=False)) % 31
