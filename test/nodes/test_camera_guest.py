"""The camera node on a camera of the kernel's, over DDS, which is unplugged and comes back under another number."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from facefusion_ros import msg
from facefusion_ros.cameras.v4l2_controls import V4l2Controls
from facefusion_ros.cameras.v4l2_device import V4l2Device
from facefusion_ros.frames.pool import FrameReader
from facefusion_ros.nodes.camera import Camera
from facefusion_ros.ros.messages import from_frame_ref

pytestmark = pytest.mark.hardware


def set_controls(path, **values):
    device = V4l2Device(path)
    device.open()
    controls = V4l2Controls(device)
    controls.find()
    ids = {control.name: control.id for control in controls.present.values()}
    controls.set({ids[name]: value for name, value in values.items()})
    device.close()


def bars(ref):
    with FrameReader() as reader, reader.lease(ref) as lease:
        return [lease.pixels[ref.height // 2, (2 * bar + 1) * ref.width // 16].tolist() for bar in range(7)]


def test_a_camera_is_unplugged_and_comes_back(modules, listener, start, wait_until):  # modules end last
    modules.load('vivid', n_devs=1, node_types=1, vid_cap_nr=0)
    set_controls('/dev/video0', test_pattern=0, osd_text_mode=2)
    frames, diagnostics = listener.hear(msg.FrameRef, 'frame'), listener.diagnostics('camera')
    start(Camera, source='/dev/video0', width=320, height=180, rate_hz=10.0, pixel_format='NV12')
    frames.wait(3)
    first = from_frame_ref(frames.more(1)[0])
    expected = [each[::-1] for each in ((191, 191, 191), (191, 191, 0), (0, 191, 191), (0, 191, 0))]
    assert np.abs(np.array(bars(first)[:4]) - expected).max() <= 6

    set_controls('/dev/video0', disconnect=1)
    status = diagnostics.until(lambda status: status.level == DiagnosticStatus.ERROR)
    assert 'the camera /dev/video0 has gone away: plug it in again' in status.message
    wait_until(lambda: Path('/sys/module/vivid/refcnt').read_text().strip() == '0', 'the camera let go of')
    modules.unload('vivid')
    gone = len(frames.messages)
    modules.load('vivid', n_devs=1, node_types=1, vid_cap_nr=5)
    refs = [from_frame_ref(message) for message in frames.wait(gone + 3)]
    assert [ref.info.sequence for ref in refs] == list(range(len(refs)))
    assert all(one.info.stamp_ns < other.info.stamp_ns for one, other in itertools.pairwise(refs))
    diagnostics.until(lambda status: status.level == DiagnosticStatus.OK, since=len(diagnostics.messages))
