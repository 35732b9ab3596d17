"""A thousand findings, the notifier killed again and again: each is told once, to each who is to be told."""

import random
from collections import Counter
from pathlib import Path

import pytest

from domain.registry import Registration
from storage.office.accounts import DutyRow
from storage.office.office import Office
from tests.faults.notify_house import NotifyHouse
from tests.services import notifying
from tests.services.process import poll_until
from tests.services.receiver import Receiver

FINDINGS = 1000
KILLS = 6


@pytest.fixture
def receiver() -> object:
    with Receiver() as made:
        yield made


async def _office(house: NotifyHouse, receiver: Receiver) -> None:
    office = await Office.connect(house.office)
    await notifying.person(office, "zhang")
    await notifying.person(office, "li", [DutyRow("duty_officer", "north")])
    for name in ("zhang", "li"):
        await notifying.channel(office, name, f"{receiver.url}/{name}")
    await office.close()


@pytest.mark.timeout(300)
async def test_a_thousand_findings_and_many_kills(tmp_path: Path, receiver: Receiver) -> None:
    house = NotifyHouse(tmp_path)
    await _office(house, receiver)
    # Half of them of a unit whose own duty officer is told; nobody's matter is another's.
    registered = [
        Registration(
            recorder_id=f"cam-{n}", kind="premises_camera", policy="wucheng", site_id=f"site-{n}", unit_id="north"
        )
        for n in range(0, FINDINGS, 2)
    ]
    generator = random.Random(3)
    kill_after = set(generator.sample(range(20, FINDINGS - 20), KILLS))
    expected: dict[str, str] = {}
    with house:
        house.publish(*registered)
        house.kill()
        house.start()
        for number in range(FINDINGS):
            found = notifying.finding(f"cam-{number}")
            expected[found.id] = "/zhang" if number % 2 else "/li"
            house.publish(found)
            if number in kill_after:
                house.kill()
                house.start()
        poll_until(lambda: len(receiver.named()) >= FINDINGS, "every finding was told", 60)
        house.stop()
        house.start()  # what was under way or waited would come now
        last = notifying.finding("cam-last")
        house.publish(last)
        poll_until(lambda: last.id in receiver.named(), "the last was told", 30)

    named = receiver.named()
    assert set(named) == {*expected, last.id}
    assert set(named.values()) == {1}, "by id, each was told once"
    where = {finding: path for path, _, body, _ in receiver.requests for finding in body["findings"]}
    assert {finding: where[finding] for finding in expected} == expected
    # By raw request: what was in flight when the process was killed came again, under the same id.
    repeated = sum(times - 1 for times in receiver.ids().values())
    assert house.kills >= KILLS + 1
    assert repeated <= 48 * 2 * house.kills
    numbers = Counter((body["alert"], body["number"], path) for path, _, body, _ in receiver.requests)
    assert len(numbers) == len(receiver.ids()), "an id is one message to one person"
