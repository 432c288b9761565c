import pytest

from facefusion_ros.cameras.choose import UnknownSource, choose_source
from facefusion_ros.cameras.gstreamer import GstSource
from facefusion_ros.cameras.source import SourceLost
from facefusion_ros.cameras.v4l2 import V4l2Source
from facefusion_ros.cameras.video import VideoSource


@pytest.mark.parametrize('text', ['/dev/video987', '/dev/v4l/by-id/usb-camera', '/dev/front_camera'])
def test_a_device_is_spoken_to_directly(text, clock):
    source = choose_source(text, clock=clock)
    assert isinstance(source, V4l2Source)
    with pytest.raises(SourceLost, match=text):
        source.open()
    source.close()


@pytest.mark.parametrize('text', ['csi://0', 'gst:rtsp://camera/1', 'gst:videotestsrc ! identity'])
def test_a_pipeline_is_gstreamers(text, clock):
    assert isinstance(choose_source(text, clock=clock), GstSource)


@pytest.mark.parametrize('text', ['films/a.mp4', '~/a.mp4', 'rtsp://camera/1', ' tcp://127.0.0.1:9 '])
def test_what_names_a_source_is_one(text, clock):
    assert isinstance(choose_source(text, clock=clock), VideoSource)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'no camera source'),
        ('0', 'use /dev/video0'),
        ('gopher://x', 'cannot begin with gopher'),
        ('concat://a|b', 'cannot begin with concat'),
    ],
)
def test_anything_else_is_refused_with_what_is_accepted(text, message, clock):
    with pytest.raises(UnknownSource, match=message) as refusal:
        choose_source(text, clock=clock)
    assert '/dev/video' in str(refusal.value)


def test_a_path_that_is_missing_is_told_on_opening(clock, tmp_path):
    with pytest.raises(SourceLost, match='no such file'):
        choose_source(str(tmp_path / 'none.mp4'), clock=clock).open()
