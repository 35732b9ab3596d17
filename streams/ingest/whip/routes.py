"""WHIP over HTTP (RFC 9725)."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from domain.errors import InvalidMedia
from streams.ingest.api.auth import authenticate
from streams.ingest.api.body import media_type, read_body
from streams.ingest.api.problems import Handler, Problem, answers_problems
from streams.ingest.ports import IngestPort
from streams.ingest.whip.offer import MAX_OFFER_BYTES, UnreadableOffer, read_offer
from streams.ingest.whip.peer import WhipPeer
from streams.ingest.whip.service import WhipService
from streams.ingest.whip.trickle import MAX_BYTES, MEDIA_TYPE, read_fragment

SDP: Final = "application/sdp"

_CORS: Final = {
    # Bearer tokens are the key, never cookies, so that any page may try.
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Location, ETag, Accept-Post, Accept-Patch, Retry-After, WWW-Authenticate",
}
_ENDPOINT: Final = {"Accept-Post": SDP, "Allow": "OPTIONS, POST"}
_RESOURCE: Final = {"Accept-Patch": MEDIA_TYPE, "Allow": "DELETE, OPTIONS, PATCH"}


def whip_router(ingest: IngestPort, service: WhipService, *, public_url: str = "") -> Router:
    """Make the router for `/whip/{recorder_id}`.

    Args:
        ingest: Knows the recorders.
        service: Keeps the peers.
        public_url: How devices reach this very process; `Location` is relative to the server where empty.
    """
    api = _WhipApi(ingest, service, public_url.rstrip("/"))
    endpoint, resource = "/whip/{recorder_id}", "/whip/{recorder_id}/{peer_id}"
    return Router(
        [
            Route(path, _with_cors(answers_problems(handler)), methods=[method])
            for method, path, handler in (
                ("POST", endpoint, api.publish),
                ("OPTIONS", endpoint, api.describe),
                ("PATCH", resource, api.trickle),
                ("DELETE", resource, api.delete),
                ("OPTIONS", resource, api.describe_resource),
            )
        ]
    )


class _WhipApi:
    def __init__(self, ingest: IngestPort, service: WhipService, base_url: str) -> None:
        self._ingest = ingest
        self._service = service
        self._base_url = base_url

    async def publish(self, request: Request) -> Response:
        registration = authenticate(request, self._ingest)
        if media_type(request) != SDP:
            raise Problem(415, f"send {SDP}", headers={"Accept-Post": SDP})
        data = await read_body(request, MAX_OFFER_BYTES)
        try:
            offer = read_offer(data)
        except InvalidMedia as error:
            raise _refusal(error) from error
        peer, answer = await self._service.publish(registration, offer)
        headers = {"Location": self._location(registration.recorder_id, peer), "ETag": _etag(peer)}
        return Response(answer, 201, headers=headers, media_type=SDP)

    async def trickle(self, request: Request) -> Response:
        peer = self._peer(request)
        if media_type(request) != MEDIA_TYPE:
            raise Problem(415, f"send {MEDIA_TYPE}", headers={"Accept-Patch": MEDIA_TYPE})
        expected = request.headers.get("if-match", _etag(peer))
        if expected not in {"*", _etag(peer)}:
            raise Problem(412, "this is another ICE session")
        try:
            fragment = read_fragment(await read_body(request, MAX_BYTES))
        except InvalidMedia as error:
            raise _refusal(error) from error
        if expected == "*" or fragment.ufrag not in {"", peer.offer.ufrag}:
            raise Problem(422, "ICE restarts are not supported: publish anew, it replaces this session")
        await peer.transport.add_candidates(fragment.candidates)
        return Response(status_code=204, headers={"ETag": _etag(peer)})

    async def delete(self, request: Request) -> Response:
        await self._service.delete(self._peer(request))
        return Response(status_code=200)

    async def describe(self, _request: Request) -> Response:
        allow = {"Access-Control-Allow-Methods": "OPTIONS, POST"}
        return Response(status_code=204, headers={**_ENDPOINT, **allow, **_preflight()})

    async def describe_resource(self, _request: Request) -> Response:
        allow = {"Access-Control-Allow-Methods": "DELETE, OPTIONS, PATCH"}
        return Response(status_code=204, headers={**_RESOURCE, **allow, **_preflight()})

    def _peer(self, request: Request) -> WhipPeer:
        recorder_id = authenticate(request, self._ingest).recorder_id
        peer = self._service.find(recorder_id, request.path_params["peer_id"])
        if peer is None:
            raise Problem(404, "no such WHIP session, or it is over")
        return peer

    def _location(self, recorder_id: str, peer: WhipPeer) -> str:
        return f"{self._base_url}/whip/{recorder_id}/{peer.id}"


def _refusal(error: InvalidMedia) -> Problem:
    status = 400 if isinstance(error, UnreadableOffer) else 422
    return Problem(status, str(error), field=error.field)


def _etag(peer: WhipPeer) -> str:
    return f'"{peer.id[:16]}"'


def _preflight() -> dict[str, str]:
    return {"Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match", "Access-Control-Max-Age": "86400"}


def _with_cors(handler: Handler) -> Handler:
    async def answered(request: Request) -> Response:
        response = await handler(request)
        response.headers.update(_CORS)
        return response

    answered.__name__ = handler.__name__
    return answered
