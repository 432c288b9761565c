"""From the camera to the screen: the pipeline's executable on a real display driver, without a desktop."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Image

from facefusion_ros import msg
from facefusion_ros.ros.messages import from_time, from_timing

pytestmark = pytest.mark.hardware

STATUS = Path('/sys/class/drm/card0-Virtual-1/status')


def test_what_the_pipeline_puts_out_is_on_the_screen(
    text_console, screen, launch, listener, world_file, tmp_path, wait_until, out
):
    console = text_console()
    world = tmp_path / 'world.yaml'
    world.write_text(Path(world_file).read_text().replace('width: 480, height: 360', 'width: 640, height: 480'))
    timings, pictures = listener.hear(msg.FrameTiming, 'timing'), listener.hear(Image, 'output/image_raw')
    records = listener.hear(msg.Provenance, 'provenance')
    diagnostics = listener.diagnostics('renderer')
    pipeline = launch('pipeline', source='sim', world=str(world), display='drm:Virtual-1@640x480')
    try:
        timings.wait(10)
    finally:
        (out / 'drm-pipeline.txt').write_text(pipeline.text)
    records.until(lambda record: record.face_ids)
    # The screen is pulled out and plugged in again under the running pipeline.
    STATUS.write_text('off')
    status = diagnostics.until(lambda status: status.level == DiagnosticStatus.ERROR)
    assert status.message.startswith('nothing is plugged into')
    STATUS.write_text('on')
    diagnostics.until(lambda status: status.level == DiagnosticStatus.OK, since=len(diagnostics.messages))
    STATUS.write_text('detect')
    timings.more(5)
    # Without new frames, what is on the screen is the last one that was put out.
    assert listener.transit('camera', 'deactivate')

    def shows_the_last_one():
        return np.array_equal(screen()[..., ::-1], picture_of(pictures.messages[-1]))

    wait_until(shows_the_last_one, 'the last picture on the screen')
    cv2.imwrite(str(out / 'drm-pipeline.png'), screen()[..., ::-1])
    flips = [from_time(timing.header.stamp) + timing.end_ns[-1] for timing in timings.messages]
    assert (np.diff(flips) > 0).all()
    for timing in timings.messages:
        journal = from_timing(timing)
        assert [entry.stage for entry in journal] == ['camera', 'detector', 'swapper', 'blender', 'renderer']
        assert journal[-1].end_ns > journal[-1].begin_ns
    latencies_ms = [timing.end_ns[-1] / 1e6 for timing in timings.messages]
    (out / 'drm-latency.txt').write_text(f'capture to flip, ms: {np.percentile(latencies_ms, (5, 50, 95))}\n')
    assert pipeline.stop() == 0
    assert np.array_equal(screen(), console)


def picture_of(image):
    return np.frombuffer(bytes(image.data), np.uint8).reshape(image.height, image.width, 3)
