import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.cameras.calibration import CalibrationError, at_size, read_calibration
from facefusion_ros.frames.intrinsics import Intrinsics

# As camera_calibration writes it.
FILE = """image_width: 640
image_height: 480
camera_name: narrow_stereo
camera_matrix:
  rows: 3
  cols: 3
  data: [438.78, 0.     , 305.59,
         0.    , 437.34, 243.74,
         0.    , 0.    , 1.    ]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.361976, 0.110510, 0.001014, 0.000505, 0.000000]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1., 0., 0., 0., 1., 0., 0., 0., 1.]
projection_matrix:
  rows: 3
  cols: 4
  data: [393.65, 0., 322.79, 0., 0., 394.61, 241.09, 0., 0., 0., 1., 0.]
"""


def test_a_file_of_ros_is_read(tmp_path):
    path = tmp_path / 'camera.yaml'
    path.write_text(FILE)
    lens = (-0.361976, 0.110510, 0.001014, 0.000505, 0.0)
    assert read_calibration(path) == Intrinsics(640, 480, 438.78, 437.34, 305.59, 243.74, lens)


def test_a_file_without_distortion_is_of_a_pinhole(tmp_path):
    path = tmp_path / 'camera.yaml'
    for text in (
        FILE.replace('distortion_coefficients', 'other'),
        FILE.replace('-0.361976, 0.110510, 0.001014, 0.000505', '0., 0, 0, 0'),
    ):
        path.write_text(text)
        assert read_calibration(path) == Intrinsics(640, 480, 438.78, 437.34, 305.59, 243.74)


def test_a_missing_or_unreadable_file_is_named(tmp_path):
    with pytest.raises(CalibrationError, match=r'no\.yaml.*No such file'):
        read_calibration(tmp_path / 'no.yaml')
    (tmp_path / 'photo.yaml').write_bytes(b'\xff\xd8\xff\xe0')
    with pytest.raises(CalibrationError, match='not text'):
        read_calibration(tmp_path / 'photo.yaml')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('a: [1', ':1: this is not YAML'),
        ('', 'not a camera calibration'),
        ('- 1', 'not a camera calibration'),
        (FILE.replace('640', 'wide'), 'image_width must be a whole number'),
        (FILE.replace('480', '0'), 'image_height must be a whole number'),
        (FILE.replace('438.78, ', ''), '9 numbers'),
        (FILE.replace('438.78', 'x'), '9 numbers'),
        (FILE.replace('438.78', '.nan'), '9 numbers'),
        (FILE.replace('camera_matrix', 'matrix'), '9 numbers'),
        (FILE.replace('438.78', '-438.78'), 'positive focal'),
        (FILE.replace('plumb_bob', 'equidistant'), 'distortion_model equidistant of 5 numbers is not known'),
        (FILE.replace('-0.361976, 0.110510, ', ''), 'of 3 numbers is not known'),
        (FILE.replace('-0.361976', 'x'), 'distortion_coefficients needs data of numbers'),
        (FILE.replace('0.    , 0.    , 1. ', '0.    , 0.    , 2. '), 'positive focal'),
    ],
)
def test_a_file_that_means_nothing_says_what_is_wrong(tmp_path, text, message):
    path = tmp_path / 'camera.yaml'
    path.write_text(text)
    with pytest.raises(CalibrationError, match=message) as refusal:
        read_calibration(path)
    assert str(path) in str(refusal.value)
    assert '\n' not in str(refusal.value)


@given(st.integers(1, 50), st.integers(1, 50), st.floats(-0.5, 8), st.floats(-0.5, 6))
def test_scaled_intrinsics_see_what_the_scaled_picture_shows(up, down, u, v):
    calibrated = Intrinsics(800 * down, 600 * down, 500.0, 510.0, 390.0, 310.0)
    scaled = at_size(calibrated, 800 * up, 600 * up)
    scale = up / down
    # A ray through pixel (u, v) of one picture goes through the same point of the other, corner to corner.
    x, y = (u - calibrated.cx) / calibrated.fx, (v - calibrated.cy) / calibrated.fy
    assert scaled.fx * x + scaled.cx == pytest.approx((u + 0.5) * scale - 0.5, abs=1e-6)
    assert scaled.fy * y + scaled.cy == pytest.approx((v + 0.5) * scale - 0.5, abs=1e-6)
    assert at_size(scaled, calibrated.width, calibrated.height).cx == pytest.approx(calibrated.cx)


def test_a_picture_of_another_shape_is_refused():
    with pytest.raises(CalibrationError, match='640 x 480 pixels and delivers 1280 x 720'):
        at_size(Intrinsics(640, 480, 1.0, 1.0, 0.0, 0.0), 1280, 720)
