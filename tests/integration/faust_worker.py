"""A Faust worker as a process of its own, for the tests that kill it: `python -m tests.integration.faust_worker`."""

from __future__ import annotations

import sys

from detectors.registry import rules
from streams.bus.kafka import KafkaBus
from streams.bus.kafka_driver import KafkaSettings
from streams.runners import faust_app


def main(bootstrap: str, data_dir: str, partitions: int) -> None:
    bus = KafkaBus(KafkaSettings(bootstrap, "faust-test"), partitions=partitions)
    faust_app.run(faust_app.FaustDetect(bootstrap, bus, rules(), data_dir=data_dir), log_level="INFO")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
