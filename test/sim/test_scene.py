import builtins
from dataclasses import replace

import cv2
import numpy as np
import pytest

from facefusion_ros.sim.scene import Scene, SceneError, paint

LANDMARKS = ((30.0, 40.0), (70.0, 40.0), (50.0, 60.0), (35.0, 80.0), (65.0, 80.0))
BOX = (20.0, 20.0, 60.0, 70.0)


@pytest.fixture
def dots(tmp_path):
    """A picture of 200 x 120 with a bright dot at each landmark."""
    pixels = np.full((120, 200, 3), 40, np.uint8)
    for x, y in LANDMARKS:
        cv2.circle(pixels, (int(x), int(y)), 3, (255, 255, 255), cv2.FILLED)
    file = tmp_path / 'dots.png'
    cv2.imwrite(str(file), pixels)
    return Scene(0.5, 0.5, str(file), LANDMARKS, BOX)


@pytest.mark.parametrize('factor', [1.0, 2.3])
def test_landmarks_lie_where_the_photograph_shows_them(dots, factor):
    canvas = paint(dots, 0).shrunk(factor)
    canvas_from_plane = np.linalg.inv(canvas.plane_from_canvas)
    for x, y in canvas.landmarks_m:
        u, v, _ = canvas_from_plane @ [x, y, 1.0]
        r = round(22 / factor)
        x0, y0 = round(u) - r, round(v) - r
        patch = canvas.pixels[y0 : y0 + 2 * r + 1, x0 : x0 + 2 * r + 1].min(axis=2) > 150
        ys, xs = np.nonzero(patch)
        assert xs.mean() + x0 == pytest.approx(u, abs=0.6)
        assert ys.mean() + y0 == pytest.approx(v, abs=0.6)


def test_the_face_lies_where_it_is_put(dots):
    np.testing.assert_allclose(paint(dots, 0).face_corners_m.mean(axis=0), 0.0, atol=1e-12)
    moved = paint(replace(dots, face_at_m=(0.1, -0.05)), 0)
    np.testing.assert_allclose(moved.face_corners_m.mean(axis=0), [0.1, -0.05], atol=1e-12)
    # The photograph is 200 pixels and 0.5 m wide.
    width, height = np.ptp(moved.face_corners_m, axis=0)
    assert (width, height) == pytest.approx((60 * 0.0025, 70 * 0.0025), rel=0.01)


def test_a_photograph_of_any_shape_fits(tmp_path):
    for size in ((3000, 20), (20, 3000), (1, 1)):
        file = tmp_path / f'{size[0]}.png'
        cv2.imwrite(str(file), np.full((size[1], size[0], 3), 200, np.uint8))
        canvas = paint(Scene(0.5, 0.5, str(file), ((0.0, 0.0),) * 5, (0.0, 0.0, 1.0, 1.0)), 0)
        assert canvas.pixels.shape == (2304, 3072, 3)


def test_painting_follows_the_seed(dots):
    first = paint(dots, 1).pixels
    np.testing.assert_array_equal(first, paint(dots, 1).pixels)
    assert (first != paint(dots, 2).pixels).mean() > 0.2


def test_the_wall_has_texture_to_track(still):
    wall = cv2.cvtColor(still.canvas.pixels[:300, :300], cv2.COLOR_BGR2GRAY)
    assert len(cv2.goodFeaturesToTrack(wall, 100, 0.05, 10)) > 20


def test_pictures_that_cannot_be_had(dots, tmp_path, monkeypatch):
    with pytest.raises(SceneError, match='no such picture'):
        paint(replace(dots, image=str(tmp_path / 'gone.png')), 0)
    (tmp_path / 'text.png').write_text('no picture')
    with pytest.raises(SceneError, match='not a picture'):
        paint(replace(dots, image=str(tmp_path / 'text.png')), 0)

    real_import = builtins.__import__

    def without_skimage(name, *args, **kwargs):
        if name.split('.')[0] == 'skimage':
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, '__import__', without_skimage)
    with pytest.raises(SceneError, match='demo extra'):
        paint(Scene(0.5, 0.746), 0)


def test_scenes_that_cannot_be():
    with pytest.raises(ValueError, match='landmarks'):
        Scene(0.5, 0.5, image='face.png')
    with pytest.raises(ValueError, match='name it as image'):
        Scene(0.5, 0.5, landmarks=LANDMARKS)
    with pytest.raises(ValueError, match='distance_m'):
        Scene(0.0, 0.5)
