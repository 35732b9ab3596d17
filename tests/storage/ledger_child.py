"""A process that appends: `python -m tests.storage.ledger_child ADDRESS NAME COUNT GROUP`.

It says `N INDEX` on standard output for each entry when the ledger has acknowledged it.
"""

import asyncio
import sys

from domain.clock import Instant
from storage.ledger.entry import Entry
from storage.ledger.ledger import Ledger


def entry(name: str, number: int) -> Entry:
    return Entry(kind="access", at=Instant(number), body={"by": name, "number": number}, recorder_id=name)


async def main(address: str, name: str, count: int, group: int) -> None:
    ledger = await Ledger.connect(address)
    for begin in range(0, count, group):
        numbers = range(begin, min(begin + group, count))
        found = await asyncio.gather(*(ledger.append([entry(name, number)]) for number in numbers))
        for number, (index,) in zip(numbers, found, strict=True):
            sys.stdout.write(f"{number} {index}\n")
            sys.stdout.flush()
    await ledger.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
