"""From the camera to the screen: the pipeline's executable on a real display driver, without a desktop."""

from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Image

from facefusion_ros import msg
from facefusion_ros.nodes.blender import Blender
from facefusion_ros.nodes.camera import Camera
from facefusion_ros.nodes.detector import Detector
from facefusion_ros.nodes.renderer import Renderer
from facefusion_ros.nodes.swapper import Swapper
from facefusion_ros.ros.messages import from_time, from_timing

pytestmark = pytest.mark.hardware

STATUS = Path('/sys/class/drm/card0-Virtual-1/status')


def test_what_the_pipeline_puts_out_is_on_the_screen(
    text_console, screen, launch, listener, world_file, tmp_path, wait_until, out
):
    console = text_console()
    world = tmp_path / 'world.yaml'
    camera = 'width: 640, height: 480, rate_hz: 2.0'  # as large as the screen, and no faster than an emulated processor
    world.write_text(Path(world_file).read_text().replace('width: 480, height: 360, rate_hz: 10.0', camera))
    timings, pictures = listener.hear(msg.FrameTiming, 'timing'), listener.hear(Image, 'output/image_raw')
    records = listener.hear(msg.Provenance, 'provenance')
    diagnostics = listener.diagnostics('renderer')
    pipeline = launch('pipeline', source='sim', world=str(world), display='drm:Virtual-1@640x480')
    try:
        timings.wait(4)
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
    timings.more(2)
    shows_the_last_picture(listener, pictures, screen, wait_until)
    screen('drm-pipeline')
    flips = [from_time(timing.header.stamp) + timing.end_ns[-1] for timing in timings.messages]
    assert (np.diff(flips) > 0).all()
    for timing in timings.messages:
        journal = from_timing(timing)
        assert [entry.stage for entry in journal] == ['camera', 'detector', 'swapper', 'blender', 'renderer']
        assert journal[-1].end_ns > journal[-1].begin_ns
    latencies_ms = [timing.end_ns[-1] / 1e6 for timing in timings.messages]
    (out / 'drm-latency.txt').write_text(f'capture to flip, ms: {np.percentile(latencies_ms, (5, 50, 95))}\n')
    assert pipeline.stop() == 0, pipeline.text
    assert np.array_equal(screen(), console)


def test_a_camera_s_picture_is_on_the_screen(text_console, modules, screen, start, listener, wait_until):
    """Two drivers of the kernel: vivid's test picture, by V4L2, on bochs's screen."""
    text_console()
    modules.load('vivid', n_devs=1, node_types=0x1)
    timings, pictures = listener.hear(msg.FrameTiming, 'timing'), listener.hear(Image, 'output/image_raw')
    start(Renderer, display='drm:Virtual-1@640x480')
    for kind in (Blender, Swapper, Detector):
        start(kind)
    start(Camera, source=str(next(Path('/dev').glob('video[0-9]*'))), width=640, height=480)
    timings.wait(5)
    shows_the_last_picture(listener, pictures, screen, wait_until)
    shown = screen('drm-camera')
    # Its bars: white, yellow, cyan, green, magenta, red, blue, black.
    bars = [(1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1), (0, 0, 0)]
    assert ((shown[400, 40::80] > 90) == bars).all()


def shows_the_last_picture(listener, pictures, screen, wait_until):
    """Stop the camera: what is on the screen is then the last picture that was put out, pixel by pixel."""
    assert listener.transit('camera', 'deactivate')

    def holds():
        image = pictures.messages[-1]
        assert image.encoding == 'bgr8'
        picture = np.frombuffer(bytes(image.data), np.uint8).reshape(image.height, image.width, 3)
        return np.array_equal(screen()[..., ::-1], picture)

    wait_until(holds, 'the last picture on the screen')
