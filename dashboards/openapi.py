"""The OpenAPI document of the console's API: the routes as they are, what they answer from the structs themselves."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi

from dashboards.people.guard import Guard, SignedIn, declare
from dashboards.people.rights import Right
from domain.clock import Instant

PATH = "/api/v1/openapi.json"
TITLE = "Liuhen 留痕"
_PREFIX = "/api/v1/"
_REF = "#/components/schemas/{name}"
_INSTANT = {"type": "string", "format": "date-time", "description": "RFC 3339 with offset, to the millisecond."}


class Problem(msgspec.Struct, omit_defaults=True):
    """What is wrong (RFC 9457).

    Attributes:
        title: The kind of it, in words.
        status: Of the answer.
        detail: What is wrong.
        field: The parameter or field that is to blame.
    """

    title: str
    status: int
    detail: str
    field: str = ""


_PROBLEM = {"content": {"application/problem+json": {"schema": {"$ref": _REF.format(name="Problem")}}}}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"description": "No request that can be read.", **_PROBLEM},
    401: {"description": "Nobody is signed in.", **_PROBLEM},
    403: {"description": "Not allowed to whoever asks.", **_PROBLEM},
    404: {"description": "Not there, or not for whoever asks.", **_PROBLEM},
    409: {"description": "Somebody else was quicker.", **_PROBLEM},
    413: {"description": "Too large.", **_PROBLEM},
    422: {"description": "A value that cannot be used; `field` names it.", **_PROBLEM},
    502: {"description": "What was read is not what was stored.", **_PROBLEM},
    503: {"description": "A part that it takes is away.", **_PROBLEM},
}

_known: dict[str, Any] = {}
"""Types that routes answer, by the placeholder that stands for them; filled as modules make their routers."""


def answers(kind: Any, what: str = "As asked for.", status: int = 200) -> dict[int | str, dict[str, Any]]:
    """Say what a route answers, for its `responses=`.

    Args:
        kind: Struct, or any type that msgspec can describe.
        what: In words.
        status: Under which.
    """
    name = f"answer:{kind!r}"
    _known[name] = kind
    schema = {"content": {"application/json": {"schema": {"x-answer": name}}}}
    return _PROBLEMS | {status: {"description": what, **schema}}


def streams(what: str) -> dict[int | str, dict[str, Any]]:
    """Say that a route answers server-sent events."""
    return _PROBLEMS | {200: {"description": what, "content": {"text/event-stream": {"schema": {"type": "string"}}}}}


def openapi_router(guard: Guard) -> APIRouter:
    """Make the router of the document."""
    router = guard.router(in_schema=False)

    @router.get(PATH)
    @declare(Right.SIGNED_IN)
    async def document(request: Request, person: SignedIn) -> Response:
        content = msgspec.json.encode(describe(request.app), enc_hook=str)  # defaults may be moments
        return Response(content, media_type="application/json")

    return router


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the document of an application."""
    document = get_openapi(title=TITLE, version="1", routes=app.routes)
    document["paths"] = {path: what for path, what in document["paths"].items() if path.startswith(_PREFIX)}
    kinds = [Problem, *_known.values()]
    schemas, components = msgspec.json.schema_components(kinds, schema_hook=_hook, ref_template=_REF)
    places = dict(zip(_known, schemas[1:], strict=True))
    _put_in_place(document["paths"], places)
    document["components"] = {
        "schemas": components,
        "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
    }
    document["security"] = [{"token": []}]
    return document


def _put_in_place(node: Any, places: dict[str, Any]) -> None:
    """Put schemas where their placeholders stand."""
    if isinstance(node, list):
        for each in node:
            _put_in_place(each, places)
    elif isinstance(node, dict):
        for key, value in node.items():
            if isinstance(value, dict) and "x-answer" in value:
                node[key] = places[value["x-answer"]]
            else:
                _put_in_place(value, places)


def _hook(kind: type) -> dict[str, Any]:
    if kind is Instant:
        return dict(_INSTANT)
    msg = f"no schema for {kind.__name__}"
    raise TypeError(msg)
