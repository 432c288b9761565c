import numpy as np
import pytest

from facefusion_ros.faces.alignment import apply, similarity, whole_face
from facefusion_ros.personas import anatomy
from facefusion_ros.personas.persona import load_persona, persona_names
from facefusion_ros.personas.porcelain import CERAMICS, paint


def grey_at(pixels: np.ndarray, point: np.ndarray, reach: int = 1) -> float:
    x, y = np.round(point).astype(int)
    return float(pixels[y - reach : y + reach + 1, x - reach : x + reach + 1, :3].mean())


@pytest.fixture(params=persona_names())
def painted(request: pytest.FixtureRequest):
    return load_persona(request.param)


def test_painting_is_deterministic() -> None:
    first, second = (paint(CERAMICS['porcelain']) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_shapes_and_types(painted) -> None:
    assert (painted.pixels.shape, painted.pixels.dtype) == ((512, 512, 4), np.uint8)
    assert (painted.landmarks.shape, painted.landmarks.dtype) == ((5, 2), np.float32)


def test_the_mask_is_soft_and_ends_inside_the_picture(painted) -> None:
    alpha = painted.pixels[..., 3].astype(int)
    assert not alpha[:8].any()
    assert not alpha[-8:].any()
    assert not alpha[:, :8].any()
    assert not alpha[:, -8:].any()
    assert max(np.abs(np.diff(alpha, axis=0)).max(), np.abs(np.diff(alpha, axis=1)).max()) < 40


def test_the_mask_covers_the_face_from_the_brows_to_the_chin(painted) -> None:
    alpha = painted.pixels[..., 3]
    eyes_px = painted.landmarks[1, 0] - painted.landmarks[0, 0]
    middle, eye_line = painted.landmarks[:2].mean(axis=0)
    for x, y in painted.landmarks:
        assert alpha[round(float(y)), round(float(x))] == 255
    for up, right in ((0.5, 0.0), (0.4, 0.5), (0.4, -0.5), (-1.5, 0.0), (-0.5, 0.8), (-0.5, -0.8)):
        assert alpha[round(float(eye_line - up * eyes_px)), round(float(middle + right * eyes_px))] > 230
    assert not alpha[: round(float(eye_line - eyes_px))].any()


def test_the_pupils_are_dark_in_the_middle_of_a_ring(painted) -> None:
    radius_px = 2 * anatomy.IRIS_RADIUS
    for eye in painted.landmarks[:2]:
        pupil = grey_at(painted.pixels, eye)
        assert pupil < 25
        for right in (-0.7, 0.7):
            assert grey_at(painted.pixels, eye + np.array([right * radius_px, 2])) > pupil + 25


def test_the_corners_of_the_mouth_end_the_lips(painted) -> None:
    _, _, _, left, right = painted.landmarks.astype(float)
    for corner, outwards in ((left, -1), (right, 1)):
        inside = painted.pixels[round(corner[1]) + 2, round(corner[0] - 14 * outwards), :3].astype(int)
        outside = painted.pixels[round(corner[1]) + 2, round(corner[0] + 14 * outwards), :3].astype(int)
        assert np.abs(inside - outside).max() > 12


def test_the_proportions_are_those_of_an_average_face(painted) -> None:
    template = whole_face(256)
    mapped = apply(similarity(painted.landmarks, template.landmarks), painted.landmarks)
    eyes_px = np.hypot(*(template.landmarks[1] - template.landmarks[0]))
    assert np.hypot(*(mapped - template.landmarks).T).max() < 0.06 * eyes_px


def test_no_crack_in_the_relief() -> None:
    step_mm = 0.25
    half = anatomy.Half(np.arange(0, 70, step_mm)[None], np.arange(-60, 110, step_mm)[:, None])
    relief = anatomy.relief(half)
    assert np.isfinite(relief).all()
    relief[anatomy.outline_ratio(half) > 0.85] = np.nan
    assert max(np.nanmax(np.abs(np.diff(relief, axis=axis))) for axis in (0, 1)) < 1.5
