import numpy as np
import pytest

from training.faces.light import hidden_light, irradiance, lamp_seen, lighting, lobe
from training.faces.parameters import Lamp, Light

DARK = ((0.0, 0.0, 0.0),) * 9


@pytest.mark.parametrize('direction', [(0.0, 0.0, 1.0), (0.0, 1.0, 0.3), (-1.0, 0.4, 0.2)])
def test_what_stands_before_a_lamp_casts_shadow_behind_it_and_nowhere_else(direction):
    way = np.array(direction) / np.linalg.norm(direction)
    across = np.cross(way, [0.3, 0.5, -0.8])
    across /= np.linalg.norm(across)
    other = np.cross(way, across)
    corners = [40 * way + 30 * (a * across + b * other) for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    board = np.array(corners, np.float32)
    lamp, faces = Lamp(direction, (1, 1, 1), 0.1), np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    light = lighting(Light(DARK, (lamp,)), board, faces, 0)
    assert lamp_seen(light, 0, 0.0, 0.0, 0.0, 1.5) == 0
    x, y, z = -50 * way
    assert lamp_seen(light, 0, x, y, z, 1.5) == 0
    x, y, z = 60 * way
    assert lamp_seen(light, 0, x, y, z, 1.5) == 1
    x, y, z = 45 * across
    assert lamp_seen(light, 0, x, y, z, 1.5) == 1


def test_ambient_light_comes_from_where_it_is_said_to():
    up = np.zeros((9, 3), np.float32)
    up[0], up[1] = 0.5, 0.3
    assert irradiance(up, 0.0, 1.0, 0.0)[0] == pytest.approx(0.8)
    assert irradiance(up, 0.0, -1.0, 0.0)[0] == pytest.approx(0.2)
    up[1] = -0.9
    assert irradiance(up, 0.0, 1.0, 0.0) == (0, 0, 0)


def test_a_hollow_gets_less_light_than_a_plain_and_a_ridge():
    depth = np.full((64, 64), 500.0, np.float32)
    depth[:, 28:36] += 12
    depth[:8] = 1e9
    out = np.empty((32, 32), np.float32)
    hidden_light(depth, 8.0, out)
    assert out[20, 16] < 0.8
    assert out[20, 5] == pytest.approx(1.0, abs=0.02)
    assert (out[:4] == 1).all()


@pytest.mark.parametrize('power', [4.0, 20.0, 100.0])
def test_a_lobe_is_about_a_power_of_the_cosine(power):
    angles = np.linspace(0, np.pi / 2, 50)
    got = np.array([lobe(float(np.cos(a)), power) for a in angles])
    assert got[0] == pytest.approx(1)
    assert (np.diff(got) <= 1e-9).all()
    assert np.abs(got - np.cos(angles) ** power).max() < 0.13
