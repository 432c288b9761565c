"""A light sensor beside a camera that sees a face, in simulated time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from facefusion_ros.blending.plausibility import Brightness, LightCheck

MS = 1_000_000
FRAME_MS = 33
KAPPA_EV = math.log2(0.04)


class Scene:
    """A face under a light, a camera with its own slow exposure, and a sensor that can be broken."""

    def __init__(self, period_ms=100, albedo=1.0):
        self.check = LightCheck()
        self.period_ms = period_ms
        self.albedo = albedo
        self.track = 1
        self.now_ms = 1_000_000
        self.exposure_ev = -7.0
        self.rng = np.random.default_rng(1)

    def run(self, seconds, light, sensor=lambda lux: lux, metadata=True, faces=True):
        """Play; light maps seconds to lx. Returns after how many seconds a fault was first told, or None."""
        begin = self.now_ms
        told = None
        while self.now_ms < begin + 1000 * seconds:
            t = (self.now_ms - begin) / 1000
            if self.now_ms % self.period_ms < FRAME_MS:
                reading = sensor(light(max(0.0, t - 0.5e-3 * self.period_ms)))
                if reading is not None:
                    self.check.observe((self.now_ms - self.period_ms // 2) * MS, reading)
            ev = math.log2(light(t) * self.albedo) + KAPPA_EV
            value = ev + self.exposure_ev + self.rng.normal(0, 0.02)
            clear = 0.0 if value > -0.5 or value < -9 else 1.0
            seen = Brightness(self.track, min(max(value, -9.0), -0.1), clear)
            self.check.judge(self.now_ms * MS, self.exposure_ev if metadata else math.nan, [seen] if faces else [])
            if self.check.fault and told is None:
                told = t
            self.exposure_ev += 0.2 * np.clip(-2.0 - value, -1.5, 8.0)
            self.now_ms += FRAME_MS
        return told


def constant(_t):
    return 300.0


def tunnel(t):
    """Two hundred times less light between the fourth and the ninth second."""
    inside = np.clip((t - 4.0) / 0.2, 0, 1) - np.clip((t - 9.0) / 0.2, 0, 1)
    return 20000.0 * (1.0 - inside) + 100.0 * inside


def clouds(t):
    return 10_000.0 * 2.0 ** (2.5 * math.sin(t))


@pytest.mark.parametrize('light', [constant, tunnel, clouds])
@pytest.mark.parametrize('period_ms', [50, 100, 400])
def test_no_false_alarm(light, period_ms):
    assert Scene(period_ms).run(20.0, light) is None


@pytest.mark.parametrize(
    ('sensor', 'word'),
    [
        (lambda _: 0.0, 'dead or covered'),
        (lambda lux: 0.05 * lux + 3.0, 'covered'),
        (lambda _: 7.0, 'frozen or covered'),
        (lambda lux: 8.0 * lux, 'face is not in'),
    ],
)
def test_a_broken_sensor_is_told_within_a_second(sensor, word):
    scene = Scene()
    assert scene.run(5.0, constant) is None
    lux_before = scene.check.lux(scene.now_ms * MS)
    assert lux_before == pytest.approx(300.0)
    assert scene.run(3.0, constant, sensor) < 1.0
    assert word in scene.check.fault
    assert 'not used' in scene.check.fault
    assert '\n' not in scene.check.fault
    assert math.isnan(scene.check.lux(scene.now_ms * MS))


def test_a_saturated_sensor_is_told_within_a_second():
    scene = Scene()
    scene.run(4.0, constant)
    told = scene.run(4.0, lambda t: 300.0 * 100.0 ** min(t / 0.2, 1.0), lambda lux: min(lux, 1000.0))
    assert told < 1.2  # the light itself takes 0.2 s
    assert 'saturated' in scene.check.fault


def test_a_frozen_sensor_is_told_when_the_light_changes():
    scene = Scene()
    scene.run(4.0, constant)
    assert scene.run(4.0, constant, lambda _: 300.0) is None
    told = scene.run(3.0, lambda t: 300.0 / 50.0 ** min(t / 0.2, 1.0), lambda _: 300.0)
    assert told < 1.2
    assert 'reads 300 lx' in scene.check.fault


def test_a_sensor_that_falls_silent_is_told_within_a_second():
    scene = Scene()
    scene.run(3.0, constant)
    assert scene.run(3.0, constant, lambda _: None) < 1.0
    assert 'nothing for' in scene.check.fault
    assert scene.run(2.0, constant) is not None  # at once, from before
    assert scene.check.fault == ''


def test_a_sensor_that_works_again_is_believed_again():
    scene = Scene()
    scene.run(5.0, constant)
    scene.run(3.0, constant, lambda _: 0.0)
    scene.run(2.0, constant)
    assert scene.check.fault == ''
    assert scene.check.lux(scene.now_ms * MS) == pytest.approx(300.0)


def test_light_from_elsewhere_is_believed_once_it_follows():
    """The robot turns its back to the window: the sensor sees a fifth, but goes with the light."""
    scene = Scene()
    scene.run(5.0, clouds)
    assert scene.run(5.0, clouds, lambda lux: 0.2 * lux) < 1.0
    scene.run(30.0, clouds, lambda lux: 0.2 * lux)
    assert scene.check.fault == ''


def test_another_face_is_no_fault():
    scene = Scene()
    scene.run(5.0, constant)
    scene.track, scene.albedo = 2, 0.2
    assert scene.run(5.0, constant) is None


def test_a_face_that_comes_while_the_sensor_is_broken_does_not_hide_it():
    scene = Scene()
    scene.run(5.0, constant)
    scene.run(2.0, constant, lambda _: 7.0)
    scene.track = 2
    scene.run(5.0, constant, lambda _: 7.0)
    assert scene.check.fault


@pytest.mark.parametrize('lacking', ['metadata', 'faces'])
def test_nothing_is_claimed_where_nothing_can_be_compared(lacking):
    scene = Scene()
    scene.run(3.0, constant, **{lacking: False})
    assert scene.run(3.0, constant, lambda _: 7.0, **{lacking: False}) is None
    assert scene.check.lux(scene.now_ms * MS) == 7.0


def test_without_a_sensor_there_is_no_fault():
    scene = Scene()
    assert scene.run(3.0, constant, lambda _: None) is None
    assert math.isnan(scene.check.lux(scene.now_ms * MS))


@given(
    st.lists(
        st.tuples(
            st.integers(0, 5_000), st.floats(), st.floats(), st.floats(-20, 1), st.floats(0, 1), st.integers(0, 99)
        ),
        max_size=60,
    )
)
@example([(at_ms, 1.0, -1024.0 * (at_ms > 500), -8.0, 1.0, 1) for at_ms in range(0, 3000, 100)])
def test_anything_may_come(events):
    check = LightCheck()
    for at_ms, lux, exposure_ev, level_ev, clear, track in events:
        check.observe(at_ms * MS, lux)
        check.judge(at_ms * MS, exposure_ev, [Brightness(track, level_ev, clear)])
        assert not check.lux(at_ms * MS) < 0
