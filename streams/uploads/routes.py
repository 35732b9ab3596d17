"""`/uploads/`: tus 1.0 resumable uploads (core, creation, checksum, expiration, termination).

A recorder sends with its own bearer token. An upload may be cut at any byte and goes on from the offset that HEAD
gives, also after this process was killed. The last PATCH is answered when the whole file's SHA-256 is what its
metadata says; from then on the file is on its way to the store, and nothing is left for the device to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Final
from weakref import WeakValueDictionary

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from domain.clock import Clock
from domain.errors import IntegrityError
from streams.ingest.api.auth import authenticate_as, bearer_token
from streams.ingest.api.problems import Problem, answers_problems, unavailable
from streams.ingest.ports import IngestPort
from streams.uploads.limits import Limits, room_for
from streams.uploads.receiving import ALGORITHMS, Receiver, checksum_of
from streams.uploads.shelf import Shelf
from streams.uploads.upload import Upload, described, metadata_of

VERSION: Final = "1.0.0"
EXTENSIONS: Final = "creation,checksum,expiration,termination"
MAX_PATCHES: Final = 64
"""At once in this process; a device beyond it is told when to come again."""
LOCKED_S: Final = 40.0
"""How long a request waits for another one of the same upload: a little longer than a silent one lives."""

Answer = Callable[[Request, str], Awaitable[Response]]


def uploads_router(ingest: IngestPort, clock: Clock, shelf: Shelf, limits: Limits, *, public_url: str = "") -> Router:
    """Make the router for `/uploads/`.

    Args:
        ingest: Says who is registered and whose sessions are whose; takes what is rejected.
        clock: Says when a file was delivered.
        shelf: Where uploads are, opened.
        limits: What a recorder may have here.
        public_url: For `Location`; relative where empty.
    """
    api = _Uploads(ingest, clock, shelf, limits, public_url.rstrip("/"))
    root = _tus(api.root)
    one = _tus(api.one)
    return Router(
        [
            Route("/uploads/", root, methods=["POST", "OPTIONS"]),
            Route("/uploads", root, methods=["POST", "OPTIONS"]),
            Route("/uploads/{upload_id}", one, methods=["HEAD", "PATCH", "DELETE", "POST", "OPTIONS"]),
        ]
    )


class _Uploads:
    def __init__(self, ingest: IngestPort, clock: Clock, shelf: Shelf, limits: Limits, public_url: str) -> None:
        self._ingest = ingest
        self._clock = clock
        self._shelf = shelf
        self._limits = limits
        self._public_url = public_url
        self._receiver = Receiver(shelf)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._creating = asyncio.Lock()
        self._patches = 0

    async def root(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return self._options()
        return await self._create(request)

    async def one(self, request: Request) -> Response:
        # Senders behind a proxy that knows only GET and POST (tus 1.0, Core).
        method = request.headers.get("x-http-method-override", request.method).upper()
        if method == "OPTIONS":
            return self._options()
        answers: dict[str, Answer] = {"HEAD": self._head, "PATCH": self._patch, "DELETE": self._terminate}
        answer = answers.get(method)
        if answer is None:
            raise Problem(404, "no such upload")
        upload_id = request.path_params["upload_id"]
        lock = self._locks.setdefault(upload_id, asyncio.Lock())
        try:
            async with asyncio.timeout(LOCKED_S):
                await lock.acquire()
        except TimeoutError:
            raise Problem(423, "another request is writing to this upload", headers={"Retry-After": "5"}) from None
        try:
            return await answer(request, upload_id)
        finally:
            lock.release()

    def _options(self) -> Response:
        headers = {
            "Tus-Version": VERSION,
            "Tus-Extension": EXTENSIONS,
            "Tus-Max-Size": str(self._limits.file_bytes),
            "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
        }
        return Response(status_code=204, headers=headers)

    async def _create(self, request: Request) -> Response:
        bearer_token(request)
        length = request.headers.get("upload-length", "")
        if not length.isdecimal() or len(length) > 15 or int(length) == 0:
            raise Problem(400, "Upload-Length: the file's bytes, known beforehand and not 0", field="Upload-Length")
        header = request.headers.get("upload-metadata", "")
        said = metadata_of(header)
        authenticate_as(request, self._ingest, said.get("recorder_id", ""))
        now = self._clock.now()
        upload = described(self._shelf.new_id(), said, length_bytes=int(length), now=now, metadata=header)
        await self._own(upload)
        async with self._creating:
            try:
                await asyncio.to_thread(room_for, upload, self._shelf, self._limits)
                await asyncio.to_thread(self._shelf.create, upload)
            except OSError as error:
                raise _no_room(error) from error
        place = f"{self._public_url}/uploads/{upload.id}"
        return Response(status_code=201, headers={"Location": place, "Upload-Expires": self._expires()})

    async def _own(self, upload: Upload) -> None:
        """Refuse another recorder's session; one that is not known was recorded without us, and is welcome."""
        await self._ingest.caught_up()
        if self._ingest.session_recorder(upload.session_id) not in {None, upload.recorder_id}:
            raise Problem(409, "another recorder has a session of this id", field="session_id")

    async def _head(self, request: Request, upload_id: str) -> Response:
        upload = await self._find(request, upload_id)
        offset = upload.length_bytes
        if not upload.delivered_ms:
            offset = await asyncio.to_thread(self._shelf.offset, upload_id)
            if offset == upload.length_bytes:  # killed while its hash was taken
                await self._accept(upload)
        headers = {
            "Upload-Offset": str(offset),
            "Upload-Length": str(upload.length_bytes),
            "Upload-Metadata": upload.metadata,
            "Cache-Control": "no-store",
        }
        if not upload.delivered_ms:
            headers["Upload-Expires"] = self._expires()
        return Response(status_code=200, headers=headers)

    async def _patch(self, request: Request, upload_id: str) -> Response:
        upload = await self._find(request, upload_id)
        if request.headers.get("content-type", "") != "application/offset+octet-stream":
            raise Problem(415, "send application/offset+octet-stream")
        claimed = request.headers.get("upload-offset", "")
        if not claimed.isdecimal() or len(claimed) > 15:
            raise Problem(400, "Upload-Offset: a number of bytes", field="Upload-Offset")
        checksum = checksum_of(request)
        offset = upload.length_bytes
        if not upload.delivered_ms:
            offset = await asyncio.to_thread(self._shelf.offset, upload_id)
        if int(claimed) != offset:
            raise Problem(409, f"the upload stands at {offset}", field="Upload-Offset", more={"offset": offset})
        if not upload.delivered_ms:
            if self._patches >= MAX_PATCHES:
                raise unavailable("as many uploads as this process takes at once")
            self._patches += 1
            try:
                offset = await self._receiver.receive(request, upload, checksum)
            except OSError as error:
                raise _no_room(error) from error
            finally:
                self._patches -= 1
            if offset == upload.length_bytes:
                await self._accept(upload)
        return Response(status_code=204, headers={"Upload-Offset": str(offset), "Upload-Expires": self._expires()})

    async def _terminate(self, request: Request, upload_id: str) -> Response:
        upload = await self._find(request, upload_id)
        if upload.delivered_ms:
            raise Problem(409, "delivered; it is evidence now")
        self._receiver.forget(upload_id)
        await asyncio.to_thread(self._shelf.remove, upload_id)
        return Response(status_code=204)

    async def _accept(self, upload: Upload) -> None:
        known = self._receiver.digest(upload)
        try:
            await asyncio.to_thread(self._shelf.accept, upload, self._clock.now(), known)
        except IntegrityError as error:
            await self._ingest.reject(upload.recorder_id, b"", "upload_sha256", f"{upload.session_id}: {error}")
            raise Problem(422, f"{error}; send it anew", field="sha256") from error

    async def _find(self, request: Request, upload_id: str) -> Upload:
        bearer_token(request)
        upload = await asyncio.to_thread(self._look, upload_id)
        if upload is None and self._shelf.is_elsewhere(upload_id):
            raise Problem(
                421, "begun at another host: go on at the Location that was answered there, or begin anew here"
            )
        if upload is None:
            raise Problem(404, "no such upload: never there, expired, or ended")
        authenticate_as(request, self._ingest, upload.recorder_id)
        return upload

    def _look(self, upload_id: str) -> Upload | None:
        return self._shelf.whole(upload_id) or self._shelf.coming(upload_id)

    def _expires(self) -> str:
        """Return when an upload from which nothing more comes will be removed (RFC 9110 §5.6.7)."""
        return formatdate(self._clock.now() / 1000 + self._limits.expires_s, usegmt=True)


def _tus(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Ask for the version, and say it with every answer."""

    async def versioned(request: Request) -> Response:
        if request.method != "OPTIONS" and request.headers.get("tus-resumable") != VERSION:
            raise Problem(412, f"Tus-Resumable: {VERSION}", headers={"Tus-Version": VERSION})
        return await handler(request)

    guarded = answers_problems(versioned)

    async def answered(request: Request) -> Response:
        response = await guarded(request)
        response.headers["Tus-Resumable"] = VERSION
        return response

    return answered


def _no_room(error: OSError) -> Problem:
    return Problem(507, f"not written: {error.strerror or error}", headers={"Retry-After": "60"})
