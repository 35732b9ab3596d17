"""The guard at every route: no answer before it is known who asks, and that they may.

A route that declares no right cannot be made, so none can be forgotten. Whether somebody may see one thing and not
another of its kind (a unit's, a site's, their own) is asked where the thing is known, by `Guard.check`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Protocol, TypeVar

from fastapi import APIRouter, Depends, Request

from dashboards.people.bodies import limited
from dashboards.people.rights import Person, Place, Right
from dashboards.problem import First, Forbidden, Missing, NotSignedIn, ProblemRoute
from domain.errors import OfficeUnavailable

F = TypeVar("F", bound=Callable[..., Any])

_DECLARED = "__liuhen_right__"


class Door(Protocol):
    """Finds out who asks."""

    async def who(self, request: Request) -> Person | None:
        """Return who asks; None where nobody is signed in.

        Raises:
            NotSignedIn: What was shown is forged, or over.
            Forbidden: A form that was not sent from a page of ours.
            First: They must do something else before.
            OfficeUnavailable: It cannot be told: nothing is answered.
        """

    def knock(self, request: Request) -> None:
        """See that nobody else's page sends what is open to all.

        Raises:
            Forbidden: Another site's page sent it.
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
            NotSignedIn, Forbidden, First, OfficeUnavailable: It is not let in.
        """
        if right is Right.PUBLIC:
            request.state.person = None
            self._door.knock(request)
            return
        request.state.person = await self._door.who(request)
        if request.state.person is None:
            raise NotSignedIn("sign in first")
        if not request.state.person.may(right):
            raise Forbidden(f"this takes the right {right}")

    async def still(self, request: Request, right: Right) -> bool:
        """Tell, of an answer that goes on for long, whether it would be begun again now."""
        try:
            person = await self._door.who(request)
        except (NotSignedIn, Forbidden, First, OfficeUnavailable):
            return False
        return person is not None and person.may(right) and person == request.state.person

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

    async def before(self, request: Request) -> Request:
        """Ask the guard; return the request with a limit to its body."""
        request = limited(request)
        await self.guard.admit(request, declared(self.endpoint) or Right.SIGNED_IN)
        return request


def _signed_in(request: Request) -> Person:
    person = request.state.person
    if not isinstance(person, Person):
        msg = "a public route asked who is signed in"
        raise LookupError(msg)
    return person


SignedIn = Annotated[Person, Depends(_signed_in)]
"""Parameter of a route: who asks."""
