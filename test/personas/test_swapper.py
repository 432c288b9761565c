import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facefusion_ros.faces.alignment import apply, invert, whole_face
from facefusion_ros.faces.face import Face
from facefusion_ros.personas.persona import Persona
from facefusion_ros.personas.swapper import BORDER_PX, Swapper, WarpSwapper

SIZE = 256
FRAME = np.zeros((8, 8, 3), np.uint8)
# A head in three dimensions, in eye distances: x right, y down, z away from the viewer.
HEAD = np.array([[-0.5, 0, 0], [0.5, 0, 0], [0, 0.58, -0.40], [-0.41, 1.10, -0.02], [0.41, 1.10, -0.02]])


def face(landmarks: np.ndarray) -> Face:
    return Face((0.0, 0.0, 1.0, 1.0), 1.0, np.asarray(landmarks, np.float32))


def posed(yaw: float, pitch: float, roll: float, eyes_px: float, smile: float = 0.0) -> np.ndarray:
    """Landmarks of a turned head, orthographic."""
    head = HEAD.copy()
    head[3:, 0] *= 1 + smile
    yaw_t = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    pitch_t = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    roll_t = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return (head @ (roll_t @ pitch_t @ yaw_t).T)[:, :2] * eyes_px + (300.0, 200.0)


@pytest.fixture(scope='module')
def beacons(porcelain: Persona) -> WarpSwapper:
    """A persona that is black but for a soft white dot on each landmark: shows where they land."""
    y, x = np.mgrid[:512, :512].astype(np.float32)
    light = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 8.0**2)) for px, py in porcelain.landmarks)
    pixels = np.zeros((512, 512, 4), np.uint8)
    pixels[..., :3] = np.round(255 * np.clip(light, 0, 1))[..., None]
    pixels[..., 3] = 255
    return WarpSwapper(Persona('beacons', '', pixels, porcelain.landmarks.copy(), 'nobody'), SIZE)


@pytest.fixture(scope='module')
def swapper(porcelain: Persona) -> WarpSwapper:
    return WarpSwapper(porcelain, SIZE)


def dot_near(grey: np.ndarray, point: np.ndarray, reach: int = 6) -> np.ndarray:
    """Centre of the light near a point."""
    x0, y0 = (np.round(point) - reach).astype(int)
    part = grey[y0 : y0 + 2 * reach + 1, x0 : x0 + 2 * reach + 1].astype(float)
    part = np.clip(part - 0.6 * part.max(), 0, None)
    y, x = np.mgrid[: part.shape[0], : part.shape[1]]
    return np.array([(part * x).sum(), (part * y).sum()]) / part.sum() + (x0, y0)


def check_landing(swapper: WarpSwapper, landmarks: np.ndarray) -> None:
    out = np.empty((SIZE, SIZE, 4), np.uint8)
    image_from_patch = swapper.swap(FRAME, face(landmarks), out)
    for target in apply(invert(image_from_patch), np.float32(landmarks)):
        assert np.hypot(*(dot_near(out[..., 0], target) - target)) < 1.0


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    yaw=st.floats(-0.5, 0.5),
    pitch=st.floats(-0.3, 0.3),
    roll=st.floats(-3.1, 3.1),
    eyes_px=st.floats(12, 400),
    smile=st.floats(-0.15, 0.2),
)
def test_landmarks_land_on_those_of_the_face(beacons, yaw, pitch, roll, eyes_px, smile) -> None:
    check_landing(beacons, posed(yaw, pitch, roll, eyes_px, smile))


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(*[st.floats(-500, 2500, width=32)] * 2), min_size=5, max_size=5).map(np.array))
def test_the_edge_is_transparent_whatever_the_landmarks(swapper, landmarks) -> None:
    out = np.full((SIZE, SIZE, 4), 255, np.uint8)
    try:
        swapper.swap(FRAME, face(landmarks), out)
    except ValueError:
        return  # five points that no similarity reaches
    alpha = out[..., 3]
    inner = alpha[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX]
    assert int(alpha.sum(dtype=np.int64)) == int(inner.sum(dtype=np.int64))


@pytest.mark.parametrize('size', [32, 64, 256, 512])
def test_every_size_shows_the_face(porcelain: Persona, size: int) -> None:
    out = np.empty((size, size, 4), np.uint8)
    landmarks = whole_face(size).landmarks
    to_image = WarpSwapper(porcelain, size).swap(FRAME, face(landmarks), out)
    np.testing.assert_allclose(to_image, [[1, 0, 0], [0, 1, 0]], atol=1e-3)
    x, y = np.round(landmarks[2]).astype(int)
    assert out[y, x, 3] > 250
    ours = cv2.resize(porcelain.pixels, (64, 64), interpolation=cv2.INTER_AREA)[..., 3].mean()
    assert 0.5 < out[..., 3].mean() / ours < 4


def test_the_same_face_gives_the_same_patch(swapper: WarpSwapper) -> None:
    first, second = np.zeros((SIZE, SIZE, 4), np.uint8), np.full((SIZE, SIZE, 4), 9, np.uint8)
    swapper.swap(FRAME, face(posed(0.2, 0, 0, 50)), first)
    swapper.swap(FRAME, face(posed(-0.5, 0.2, 1, 90)), second)
    swapper.swap(FRAME, face(posed(0.2, 0, 0, 50)), second)
    np.testing.assert_array_equal(first, second)


def test_a_warp_swapper_is_a_swapper(swapper: WarpSwapper, porcelain: Persona) -> None:
    plugged: Swapper = swapper
    assert plugged.persona is porcelain
    assert plugged.size == SIZE


@pytest.mark.parametrize(
    'out',
    [
        np.empty((SIZE, SIZE, 3), np.uint8),
        np.empty((SIZE, SIZE + 1, 4), np.uint8),
        np.empty((SIZE, SIZE, 4), np.float32),
        np.empty((SIZE, SIZE * 2, 4), np.uint8)[:, ::2],
    ],
)
def test_a_wrong_out_is_refused(swapper: WarpSwapper, out: np.ndarray) -> None:
    with pytest.raises(ValueError, match='out must be'):
        swapper.swap(FRAME, face(posed(0, 0, 0, 60)), out)


@pytest.mark.parametrize('landmarks', [np.full((5, 2), 7.0), np.full((5, 2), np.nan), np.zeros((4, 2))])
def test_impossible_landmarks_are_refused(swapper: WarpSwapper, landmarks: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r'point|similarity'):
        swapper.swap(FRAME, face(landmarks), np.empty((SIZE, SIZE, 4), np.uint8))
