"""Rubbish from cameras and devices, while a healthy camera and a healthy recorder run undisturbed."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from domain.events import Fragment
from tests.faults.evidence import check_directory, gaps
from tests.faults.house import TOKEN, Embedded, Program, write_fleet
from tests.faults.rude_cameras import RudeCamera, TimesGoBack, mutations, says_nothing, spoiled
from tests.faults.rude_devices import pester
from tests.faults.settling import drained
from tests.services.process import free_port

pytestmark = pytest.mark.faults

HEALTHY = ("cam-1", "rec-1")
RUN_S = 45


@pytest.mark.timeout(240)
async def test_rubbish_is_told_and_disturbs_nobody(tmp_path: Path) -> None:
    device_port, rtsp_port = free_port(), free_port()
    script = write_fleet(tmp_path, device_port, rtsp_port, more=_STOPS)
    with ExitStack() as stack:
        mute = stack.enter_context(RudeCamera(says_nothing))
        mad = stack.enter_context(RudeCamera(spoiled(rtsp_port, mutations(1, 20_000))))
        madder = stack.enter_context(RudeCamera(spoiled(rtsp_port, mutations(2, 300))))
        back = stack.enter_context(RudeCamera(spoiled(rtsp_port, lambda: TimesGoBack(200, 5 * 90_000))))
        _register_rude(tmp_path, {"cam-mute": mute, "cam-mad": mad, "cam-madder": madder, "cam-back": back})
        up = Embedded(tmp_path, device_port)
        with up.program:
            stack.enter_context(Program(tmp_path / "sim", ["simulate", "--script", str(script)], {}))
            base = f"http://127.0.0.1:{device_port}"
            with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20) as http:
                began_s = time.monotonic()
                answers = pester(http, "rec-rude", rounds=60, seed=3)
                time.sleep(max(0.0, RUN_S - (time.monotonic() - began_s)))
            failed = sum(up.program.samples("liuhen_rejected_total", reason="camera_failed"))
            pid = up.program.pid
            assert up.program.alive
    with up.program:  # alone: what is still open is closed after 30 s of silence
        assert up.program.pid != pid
        time.sleep(35)
    trace = await drained(up.log, lambda trace: check_directory(up.store, trace))

    for recorder in HEALTHY:
        assert gaps(trace.of(recorder)) == [], recorder
        assert len(trace.of(recorder)) > RUN_S / 4
    assert max(answers) < 500, answers
    assert answers[400] + answers[422] > 50, answers
    assert sum(trace.reasons("rec-rude").values()) > 20, "bodies that say nothing are kept, and why"
    assert failed >= 3, "each failure of a camera is counted"
    assert trace.said("recording.stalled", "cam-mute")
    assert trace.said("recording.stalled", "cam-2"), "it stopped in mid-stream"
    assert madder.connections > 3
    assert sum(trace.reasons("cam-madder").values()) >= 1
    assert _is_in_order(trace.of("cam-back"))
    assert "Traceback" not in up.program.log_path.read_text(errors="replace")


_STOPS = {"cam-2": '[[device.fault]]\nat_s=12\ndo="mute_stream"'}


def _register_rude(directory: Path, cameras: dict[str, RudeCamera]) -> None:
    entries = [
        f'[[recorder]]\nrecorder_id="{name}"\nkind="premises_camera"\nurl="rtsp://127.0.0.1:{camera.port}/cam-1"\n'
        "continuous=true"
        for name, camera in cameras.items()
    ]
    entries.append(f'[[recorder]]\nrecorder_id="rec-rude"\nkind="body_worn"\ntoken="{TOKEN}"')
    with (directory / "recorders.toml").open("a", encoding="utf-8") as file:
        file.write("\n" + "\n".join(entries))


def _is_in_order(fragments: list[Fragment]) -> bool:
    """Whether times that went back stayed out of the capture times: what is kept covers the run once."""
    kept_s = sum(fragment.duration_s for fragment in fragments)
    span_s = (fragments[-1].captured_at - fragments[0].captured_at) / 1000 + fragments[-1].duration_s
    return kept_s > RUN_S / 2 and kept_s < 1.2 * span_s
