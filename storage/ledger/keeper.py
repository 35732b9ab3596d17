"""One turn of keeping the ledger provable: a checkpoint, the entries it covers, its copies, its timestamp.

The same numbers stand in docs/design/custody.md.

1. **Sign** what is new since the last checkpoint (`notary`).
2. **Write** the entries that it covers to the evidence store (`batches`).
3. **Copy** the checkpoint to every place (`copies`).
4. **Stamp** it (`timestamps`).

Each step begins where it ended last, by what the ledger has recorded of it, so a turn may be cut off anywhere.
"""

from __future__ import annotations

import msgspec

from domain.clock import Clock
from domain.errors import IntegrityError, InvalidSettings, LiuhenError, Refused, Unavailable
from domain.settings import Settings
from storage.ledger.batches import Batches
from storage.ledger.copies import Copier, PlaceState
from storage.ledger.keys import Keys
from storage.ledger.ledger import Ledger
from storage.ledger.notary import Notary
from storage.ledger.places import LogPlace, Place, StorePlace, WitnessPlace
from storage.ledger.timestamps import Authority, Stamper
from storage.objects.connect import connect_second
from storage.objects.port import ObjectStore

MIN_PLACES = 2
_DAY_MS = 86_400_000


class KeeperState(msgspec.Struct, frozen=True):
    """How the ledger stands.

    Attributes:
        places: See `PlaceState`.
        unwritten: Entries covered by a checkpoint that are not in the evidence store.
        troubles: Of the last turn: the step's name and what went wrong.
        faults: Those of them that say that the ledger is not what it was.
    """

    places: list[PlaceState]
    unwritten: int
    troubles: dict[str, str]
    faults: dict[str, str]


class Keeper:
    """See the module; `turn` is called at least every `checkpoint_s`."""

    def __init__(
        self, ledger: Ledger, notary: Notary, batches: Batches, copier: Copier, stamper: Stamper | None
    ) -> None:
        self.copier = copier
        self._ledger = ledger
        self._notary = notary
        self._batches = batches
        self._stamper = stamper
        self._troubles: dict[str, LiuhenError] = {}

    async def turn(self) -> KeeperState:
        """Do the four steps; what fails in one keeps the others from nothing.

        Raises:
            LedgerUnavailable: The ledger's database did not answer when it was asked how things stand.
        """
        self._troubles.clear()
        try:
            await self._notary.make()  # step 1
        except LiuhenError as error:
            self._troubles["sign"] = error
        try:
            newest = await self._ledger.latest_checkpoint()
            await self._batches.write(0 if newest is None else newest.size)  # step 2
        except LiuhenError as error:
            self._troubles["write"] = error
        await self.copier.run()  # step 3
        if self._stamper is not None:
            await self._stamper.run()  # step 4
        return await self.state()

    async def state(self) -> KeeperState:
        """Return how things stand."""
        newest = await self._ledger.latest_checkpoint()
        written = {one.place: one.size for one in await self._ledger.deliveries()}.get("entries", 0)
        places = await self.copier.states()
        troubles = {step: str(error) for step, error in self._troubles.items()}
        if self._stamper is not None and self._stamper.trouble:
            troubles["stamp"] = self._stamper.trouble
        faults = {step: str(error) for step, error in self._troubles.items() if isinstance(error, IntegrityError)}
        faults |= {place.name: place.trouble for place in places if place.contradicts}
        return KeeperState(places, max(0, (0 if newest is None else newest.size) - written), troubles, faults)

    async def close(self) -> None:
        """Let go of places and authority."""
        await self.copier.close()
        if self._stamper is not None:
            await self._stamper.close()


def keeper(settings: Settings, ledger: Ledger, keys: Keys, store: ObjectStore, clock: Clock) -> Keeper:
    """Put one together from the settings.

    Raises:
        InvalidSettings: A place or a file that cannot be.
    """
    lock_ms = settings.ledger_lock_days * _DAY_MS
    stamper = None
    if settings.tsa_url:
        authority = Authority(settings.tsa_url, settings.tsa_certificates)
        stamper = Stamper(ledger, authority, store, lock_ms, clock)
    return Keeper(
        ledger,
        Notary(ledger, keys, clock),
        Batches(ledger, store, lock_ms, clock),
        Copier(ledger, places(settings, ledger, store, clock), clock),
        stamper,
    )


def places(settings: Settings, ledger: Ledger, store: ObjectStore, clock: Clock) -> list[Place]:
    """Return the places of `checkpoint_copies`.

    Raises:
        InvalidSettings: One is of no known kind, or named twice.
    """
    names = [name.strip() for name in settings.checkpoint_copies.split(",") if name.strip()]
    if len(set(names)) < len(names):
        msg = "checkpoint_copies: names a place twice"
        raise InvalidSettings(msg, "checkpoint_copies")
    return [_place(name, settings, ledger, store, clock) for name in names]


async def look_at_places(settings: Settings, ledger: Ledger, store: ObjectStore, clock: Clock) -> list[str]:
    """Open every place that can be opened without giving it something; return their names.

    Raises:
        InvalidSettings: One cannot be, or there are fewer than two: the only copy is no copy.
        Unavailable: One is away.
        Refused: One cannot keep what it is given.
    """
    found = places(settings, ledger, store, clock)
    try:
        for place in found:
            if isinstance(place, StorePlace):
                await place.probe()
    except (Unavailable, Refused) as error:
        msg = f"checkpoint_copies: {place.name}: {error}"
        raise type(error)(msg) from error
    finally:
        for place in found:
            await place.close()
    if len(found) < MIN_PLACES:
        msg = f"checkpoint_copies: names {len(found)} of at least {MIN_PLACES} places"
        raise InvalidSettings(msg, "checkpoint_copies")
    return [place.name for place in found]


def _place(name: str, settings: Settings, ledger: Ledger, store: ObjectStore, clock: Clock) -> Place:
    lock_ms = settings.ledger_lock_days * _DAY_MS
    if name == "log":
        return LogPlace()
    if name == "store":
        return StorePlace(name, store, lock_ms, clock, owned=False)
    if name.startswith(("http://", "https://")):
        return WitnessPlace(name, ledger)
    if name.startswith(("file:", "s3://")):
        return StorePlace(name, connect_second(name, settings, "checkpoint_copies"), lock_ms, clock, owned=True)
    msg = f"checkpoint_copies: {name!r} is not store, log, file:DIR, s3://… or the http(s) address of a witness"
    raise InvalidSettings(msg, "checkpoint_copies")
