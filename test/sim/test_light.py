import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.sim.light import Drift, Lamp, Light, Tunnel
from facefusion_ros.sim.world import load_world
from facefusion_ros.sim.worldfile import world_names


def test_lamp_and_tunnel():
    light = Light(300.0, lamps=(Lamp(100.0, 2.0, 3.0, warmth=0.2),), tunnels=(Tunnel(15.0, 5.0, 7.0, warmth=0.1),))
    lux, warmth = light.at(np.array([1.0, 2.5, 4.0, 6.0, 8.0]), 10.0)
    np.testing.assert_allclose(lux, [400.0, 300.0, 400.0, 15.0, 400.0])
    np.testing.assert_allclose(warmth, [0.05, 0.0, 0.05, 0.1, 0.05])


@pytest.mark.parametrize('name', world_names())
def test_light_is_positive_and_periodic(name):
    world = load_world(name)
    lux, warmth = world.light.at(np.linspace(0.0, world.period_s, 5001), world.period_s)
    assert lux.min() > 1.0
    assert np.abs(warmth).max() <= 0.5
    assert world.lux(world.period_s - 1e-9) == pytest.approx(world.lux(0.0), rel=1e-6)
    assert world.lux(1.25 + world.period_s) == pytest.approx(world.lux(1.25))


def test_default_world_has_a_lamp_and_a_tunnel(head):
    assert head.lux(6.0) < 0.8 * head.lux(4.9)
    assert head.lux(13.5) == pytest.approx(15.0)
    assert 300.0 < head.lux(0.0) < 500.0


@given(st.floats(0.0, 0.45), st.floats(0.0, 0.45), st.floats(-50.0, 50.0))
def test_drift_never_puts_the_light_out(a, b, t):
    lux, _ = Light(10.0, drift=(Drift(a, 1), Drift(b, 3, 50.0))).at(np.asarray(t), 7.0)
    assert 0.0 < lux <= 20.0


def test_light_that_cannot_be():
    with pytest.raises(ValueError, match='lux must be'):
        Light(0.0)
    with pytest.raises(ValueError, match='add up'):
        Light(10.0, drift=(Drift(0.6, 1), Drift(0.6, 2)))
    with pytest.raises(ValueError, match='in order'):
        Lamp(10.0, 3.0, 2.0)
    with pytest.raises(ValueError, match='over within'):
        Light(10.0, tunnels=(Tunnel(5.0, 8.0, 9.9),)).check_period(10.0)
