"""Pictures in messages, and back."""

import ast
import sys
import types
from array import array
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image

import facefusion_ros
from facefusion_ros.errors import FacefusionError
from facefusion_ros.frames.frame import FrameInfo
from facefusion_ros.frames.intrinsics import Intrinsics
from facefusion_ros.ros.image import (
    from_camera_info,
    from_compressed,
    from_image,
    to_camera_info,
    to_compressed,
    to_image,
)
from facefusion_ros.ros.messages import from_time

INFO = FrameInfo(stamp_ns=12_000_000_345, frame_id='camera_optical_frame', sequence=7)
sides = st.integers(1, 9)
pictures = st.tuples(sides, sides).flatmap(lambda size: arrays(np.uint8, (*size, 3)))


def message_of(pixels, encoding, *, padding=0):
    """Make an Image of (height, width, channels), each row followed by bytes that are not pixels."""
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, -1)
    rows = np.hstack([rows, np.full((height, padding), 0xEE, np.uint8)])
    return Image(height=height, width=width, encoding=encoding, step=rows.shape[1], data=array('B', rows.tobytes()))


@given(pictures)
def test_a_picture_comes_back_over_the_wire(pixels):
    message = deserialize_message(serialize_message(to_image(pixels, INFO)), Image)
    assert (message.height, message.width, message.encoding) == (*pixels.shape[:2], 'bgr8')
    assert message.step == pixels.shape[1] * 3
    assert message.is_bigendian == 0
    assert (from_time(message.header.stamp), message.header.frame_id) == (INFO.stamp_ns, INFO.frame_id)
    np.testing.assert_array_equal(from_image(message), pixels)


def test_a_part_of_a_picture_goes_into_a_message_without_its_surroundings():
    whole = np.arange(10 * 12 * 3, dtype=np.uint8).reshape(10, 12, 3)
    part = whole[2:7, 3:9]
    np.testing.assert_array_equal(from_image(to_image(part, INFO)), part)


@given(pictures, st.integers(0, 5))
def test_padding_at_the_end_of_rows_is_passed_over(pixels, padding):
    np.testing.assert_array_equal(from_image(message_of(pixels, 'bgr8', padding=padding)), pixels)


def test_bgr_is_looked_at_where_it_lies():
    message = message_of(np.zeros((4, 6, 3), np.uint8), 'bgr8', padding=2)
    picture = from_image(message)
    message.data[message.step + 3] = 99
    assert picture[1, 1, 0] == 99


@given(pictures, st.integers(0, 3))
def test_other_encodings_become_bgr(pixels, padding):
    opaque = np.dstack([pixels, np.full(pixels.shape[:2], 17, np.uint8)])
    for encoding, stored in {
        'rgb8': pixels[..., ::-1],
        'bgra8': opaque,
        'rgba8': opaque[..., [2, 1, 0, 3]],
    }.items():
        message = message_of(np.ascontiguousarray(stored), encoding, padding=padding)
        np.testing.assert_array_equal(from_image(message), pixels, err_msg=encoding)
    grey = np.ascontiguousarray(pixels[..., :1])
    np.testing.assert_array_equal(from_image(message_of(grey, 'mono8', padding=padding)), np.repeat(grey, 3, axis=2))


GREENISH = (110, 90, 101)  # Y, U, V
SEEN = (33, 146, 66)  # BGR of that: ITU-R BT.601, 8 bits, luma from 16


@pytest.mark.parametrize('padding', [0, 2, 7])
@pytest.mark.parametrize('encoding', ['yuv422', 'uyvy', 'yuv422_yuy2', 'yuyv', 'nv12', 'nv21'])
def test_pictures_of_luma_and_chroma_become_bgr(encoding, padding):
    y, u, v = GREENISH
    luma = np.full((6, 8, 1), y, np.uint8)
    chroma = np.full((6, 8, 1), u, np.uint8)
    chroma[:, 1::2] = v
    stored = {
        'yuv422': np.dstack([chroma, luma]),
        'uyvy': np.dstack([chroma, luma]),
        'yuv422_yuy2': np.dstack([luma, chroma]),
        'yuyv': np.dstack([luma, chroma]),
        'nv12': np.vstack([luma, chroma[:3]]),
        'nv21': np.vstack([luma, chroma[:3, ::-1]]),
    }[encoding]
    message = message_of(stored, encoding, padding=padding)
    message.height = 6
    picture = from_image(message)
    assert picture.shape == (6, 8, 3)
    assert np.abs(picture.astype(int) - SEEN).max() <= 2
    del message.data[-padding - 1 :]
    with pytest.raises(FacefusionError, match=f'8x6 {encoding} holds .* too few'):
        from_image(message)


@pytest.mark.parametrize('big', [False, True])
@pytest.mark.parametrize('padding', [0, 3])
def test_sixteen_bits_are_read_in_their_order(big, padding):
    values = np.array([[0, 300, 65535], [256 * 77, 256 * 150, 256 * 200]], '>u2' if big else '<u2')
    message = message_of(values.view(np.uint8).reshape(2, 3, 2), 'mono16', padding=padding)
    message.is_bigendian = int(big)
    assert from_image(message)[..., 1].tolist() == [[0, 1, 255], [77, 150, 200]]


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_bayer_patterns_become_colours(pattern, bits):
    levels = {'r': 200, 'g': 100, 'b': 40}
    tile = np.array([levels[each] for each in pattern]).reshape(2, 2)
    mosaic = np.tile(tile, (4, 4)) << (bits - 8)
    stored = mosaic.astype('<u2' if bits == 16 else np.uint8)
    picture = from_image(message_of(stored.view(np.uint8).reshape(8, 8, -1), f'bayer_{pattern}{bits}', padding=1))
    assert picture[3:5, 3:5].reshape(-1, 3).tolist() == [[40, 100, 200]] * 4


def test_a_size_that_shares_no_colour_is_refused():
    with pytest.raises(FacefusionError, match='yuyv shares colour among pixels and cannot be 5 x 4'):
        from_image(message_of(np.zeros((4, 5, 2), np.uint8), 'yuyv'))


@pytest.mark.parametrize('encoding', ['bgr8', 'rgb8', 'rgba8', 'bgra8', 'mono8'])
def test_too_few_bytes_are_refused_with_the_numbers(encoding):
    channels = {'mono8': 1, 'rgb8': 3, 'bgr8': 3}.get(encoding, 4)
    message = message_of(np.zeros((4, 6, channels), np.uint8), encoding)
    del message.data[-1]
    with pytest.raises(FacefusionError, match=rf'6x4 {encoding} holds {4 * 6 * channels - 1} bytes'):
        from_image(message)


def test_a_step_shorter_than_a_row_is_refused():
    message = message_of(np.zeros((4, 6, 3), np.uint8), 'bgr8')
    message.step = 17
    with pytest.raises(FacefusionError, match='step 17'):
        from_image(message)


def test_an_unknown_encoding_is_named_where_cv_bridge_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, 'cv_bridge', None)  # as if it were not installed
    message = message_of(np.zeros((4, 6, 6), np.uint8), 'bgr16')
    with pytest.raises(FacefusionError, match=r"'bgr16' is not one of .*nv12.*install cv_bridge") as refusal:
        from_image(message)
    assert '\n' not in str(refusal.value)


@pytest.fixture
def cv_bridge(monkeypatch):
    """A cv_bridge as a ROS installation has it, which knows one more encoding."""
    module = types.ModuleType('cv_bridge')

    class CvBridgeError(TypeError):
        pass

    class CvBridge:
        def imgmsg_to_cv2(self, message, desired_encoding):
            if (message.encoding, desired_encoding) != ('bgr16', 'bgr8'):
                raise CvBridgeError(f'[{message.encoding}] is not a color format')
            raw = np.frombuffer(message.data, np.uint16).reshape(message.height, message.width, 3)
            return (raw >> 8).astype(np.uint8)

    module.CvBridge, module.CvBridgeError = CvBridge, CvBridgeError
    monkeypatch.setitem(sys.modules, 'cv_bridge', module)


@pytest.mark.usefixtures('cv_bridge')
def test_cv_bridge_converts_what_we_do_not_where_it_is_installed():
    raw = np.full((4, 6, 3), (7 << 8, 8 << 8, 9 << 8), np.uint16)
    picture = from_image(message_of(raw.view(np.uint8), 'bgr16'))
    assert picture.tolist() == [[[7, 8, 9]] * 6] * 4


@pytest.mark.usefixtures('cv_bridge')
def test_what_even_cv_bridge_does_not_know_is_named():
    with pytest.raises(FacefusionError, match="cv_bridge cannot convert image encoding '32FC1'"):
        from_image(message_of(np.zeros((4, 6, 4), np.uint8), '32FC1'))


def test_a_compressed_picture_comes_back_nearly_the_same():
    x, y = np.meshgrid(np.arange(64), np.arange(48))
    pixels = np.dstack([4 * x, 5 * y, 255 - 2 * x - 2 * y]).astype(np.uint8)
    message = deserialize_message(serialize_message(to_compressed(pixels, INFO)), CompressedImage)
    assert message.format == 'bgr8; jpeg compressed bgr8'  # as compressed_image_transport writes it
    assert from_time(message.header.stamp) == INFO.stamp_ns
    back = from_compressed(message)
    assert back.shape == pixels.shape
    assert np.abs(back.astype(int) - pixels).mean() < 4


def test_a_compressed_png_is_read_exactly():
    pixels = np.random.default_rng(1).integers(0, 256, (9, 7, 3), np.uint8)
    png = cv2.imencode('.png', pixels)[1]
    message = CompressedImage(format='bgr8; png compressed bgr8', data=array('B', png.tobytes()))
    np.testing.assert_array_equal(from_compressed(message), pixels)


@pytest.mark.parametrize('data', [b'', b'\xff\xd8\xff\xe0 no picture'])
def test_what_is_no_picture_is_refused_by_its_format(data):
    with pytest.raises(FacefusionError, match="'theora' cannot be decoded"):
        from_compressed(CompressedImage(format='theora', data=array('B', data)))


def test_a_picture_of_distances_is_refused_by_name():
    with pytest.raises(FacefusionError, match='compressedDepth is a picture of distances'):
        from_compressed(CompressedImage(format='32FC1; compressedDepth png', data=array('B', b'x')))


def test_a_picture_that_is_cut_and_binned_has_the_lens_of_what_is_left():
    message = to_camera_info(Intrinsics(640, 480, 500.0, 510.0, 319.5, 239.5), 640, 480, INFO)
    message.roi.x_offset, message.roi.y_offset, message.roi.width, message.roi.height = 120, 40, 400, 400
    assert from_camera_info(message) == Intrinsics(400, 400, 500.0, 510.0, 199.5, 199.5)
    message.binning_x = message.binning_y = 2
    assert from_camera_info(message) == Intrinsics(200, 200, 250.0, 255.0, 99.5, 99.5)


def test_a_calibrated_camera_is_described():
    message = to_camera_info(Intrinsics(640, 480, 500.0, 510.0, 319.5, 239.5), 640, 480, INFO)
    assert message.k.tolist() == [500.0, 0.0, 319.5, 0.0, 510.0, 239.5, 0.0, 0.0, 1.0]
    assert message.p.reshape(3, 4)[:, :3].ravel().tolist() == message.k.tolist()
    assert message.r.tolist() == [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    assert (message.distortion_model, list(message.d)) == ('plumb_bob', [0.0] * 5)
    assert (message.width, message.height, message.header.frame_id) == (640, 480, INFO.frame_id)
    assert from_time(message.header.stamp) == INFO.stamp_ns


@pytest.mark.parametrize(
    ('lens', 'model'),
    [
        ((), 'plumb_bob'),
        ((-0.3, 0.1, 1e-3, -1e-3), 'plumb_bob'),
        ((-0.3, 0.1, 1e-3, -1e-3, 0.02), 'plumb_bob'),
        ((0.5, 0.1, 1e-3, -1e-3, 0.01, 0.8, 0.2, 0.03), 'rational_polynomial'),
    ],
)
def test_the_lens_comes_back_from_camera_info(lens, model):
    message = to_camera_info(Intrinsics(640, 480, 500.0, 510.0, 319.5, 239.5, lens), 640, 480, INFO)
    assert message.distortion_model == model
    padded = lens + (0.0,) * (5 - len(lens)) if lens else ()
    assert from_camera_info(message) == Intrinsics(640, 480, 500.0, 510.0, 319.5, 239.5, padded)


def test_a_lens_of_another_model_is_refused_by_its_name():
    message = to_camera_info(Intrinsics(640, 480, 500.0, 510.0, 319.5, 239.5, (0.1,) * 4), 640, 480, INFO)
    message.distortion_model = 'equidistant'
    with pytest.raises(FacefusionError, match="distortion model 'equidistant' of 5 numbers"):
        from_camera_info(message)


def test_an_uncalibrated_camera_says_so_by_zero():
    message = to_camera_info(None, 64, 48, INFO)
    assert message.k[0] == 0.0
    assert (message.width, message.height) == (64, 48)


def test_no_array_of_numpy_is_ever_assigned_to_image_data():
    """An ndarray there is looked at element by element, which takes 0.4 s for a picture of 1080p."""
    root = Path(facefusion_ros.__file__).parent
    assigned, messages = [], []
    for path in sorted(root.rglob('*.py')):
        if path.is_relative_to(root / 'msg'):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, 'target', None)]
            if any(isinstance(target, ast.Attribute) and target.attr == 'data' for target in targets):
                assigned.append(f'{path}:{node.lineno}')
            called = getattr(getattr(node, 'func', None), 'id', '')
            if isinstance(node, ast.Call) and called in {'Image', 'CompressedImage'}:
                (data,) = [keyword.value for keyword in node.keywords if keyword.arg == 'data']
                messages.append((path.name, ast.unparse(data)))
    assert assigned == []
    # Both are of type array('B'), filled by frombytes.
    assert ('image.py', 'data') in messages
    assert {made for made in messages if made != ('image.py', 'data')} == set()
