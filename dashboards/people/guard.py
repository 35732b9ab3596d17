"""The guard at every route: no answer before it is known who asks, and that they may.

A route that declares no right cannot be made, so none can be forgotten. Whether somebody may see one thing and not
another of its kind (a unit's, a site's, their own) is asked where the thing is known, by `Guard.check`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Protocol, TypeVar

from fastapi import APIRouter, Depends, Request

from dashboards.people.rights import Person, Place, Right
from dashboards.problem import Forbidden, Missing, NotSignedIn, ProblemRoute

F = TypeVar("F", bound=Callable[..., Any])

_DECLARED = "__liuhen_right__"


class Door(Protocol):
    """Finds out who asks."""

    async def who(self, request: Request) -> Person | None:
        """Return who asks; None where nobody is signed in.

        Raises:
            NotSignedIn: What was shown is forged, or over.
            Forbidden: A form that was not sent from a page of ours.
            OfficeUnavailable: It cannot be told: nothing is answered.
        """


def declare(right: Right) -> Callable[[F], F]:
    """Say which right a route asks for; stands right under the route's decorator."""

    def mark(endpoint: F) -> F:
        setattr(endpoint, _DECLARED, right)
        return endpoint

    return mark


def declared(endpoint: Callable[..., Any]) -> Right | None:
    """Return what a route's function declares."""
    return getattr(endpoint, _DECLARED, None)


class Guard:
    """See the module.

    Args:
        door: Finds out who asks.
    """

    def __init__(self, door: Door) -> None:
        self._door = door

    def router(self, prefix: str = "", *, in_schema: bool = True) -> APIRouter:
        """Make a router whose routes are guarded."""
        guarded = type("Guarded", (GuardedRoute,), {"guard": self})
        return APIRouter(prefix=prefix, route_class=guarded, include_in_schema=in_schema)

    async def admit(self, request: Request, right: Right) -> None:
        """Let a request in, its person in `request.state.person`.

        Raises:
            NotSignedIn, Forbidden, OfficeUnavailable: It is not let in.
        """
        request.state.person = None if right is Right.PUBLIC else await self._door.who(request)
        if right is Right.PUBLIC:
            return
        if request.state.person is None:
            raise NotSignedIn("sign in first")
        if not request.state.person.may(right):
            raise Forbidden(f"this takes the right {right}")

    @staticmethod
    def check(person: Person, right: Right, place: Place, what: str) -> None:
        """Go on only if somebody may do this here.

        Raises:
            Missing: They may not: what is not theirs to see is, for them, not there.
        """
        if not person.may_at(right, place):
            raise Missing(f"no {what}")


class GuardedRoute(ProblemRoute):
    """A route that asks its guard first.

    Raises:
        LookupError: On making it, where the function declares no right.
    """

    guard: Guard

    def __init__(self, path: str, endpoint: Callable[..., Any], **rest: Any) -> None:
        if declared(endpoint) is None:
            msg = f"{path}: {endpoint.__qualname__} declares no right"
            raise LookupError(msg)
        super().__init__(path, endpoint, **rest)

    async def before(self, request: Request) -> None:
        """Ask the guard."""
        await self.guard.admit(request, declared(self.endpoint) or Right.SIGNED_IN)


def _signed_in(request: Request) -> Person:
    person = request.state.person
    if not isinstance(person, Person):
        msg = "a public route asked who is signed in"
        raise LookupError(msg)
    return person


SignedIn = Annotated[Person, Depends(_signed_in)]
"""Parameter of a route: who asks."""
