from types import SimpleNamespace

import pytest

from facefusion_ros.sensors.bus_load import BusLoad, too_slow


def test_the_load_is_that_since_the_last_report():
    bus, now_s = SimpleNamespace(busy_s=3.0), [100.0]
    load = BusLoad(bus, lambda: now_s[0])
    assert load.measure() == 0.0
    bus.busy_s, now_s[0] = 3.5, 102.0
    assert load.measure() == pytest.approx(0.25)
    assert load.measure() == pytest.approx(0.25), 'no time has passed'
    bus.busy_s, now_s[0] = 4.4, 103.0
    assert load.measure() == pytest.approx(0.9)


def test_a_bus_that_is_too_slow_is_told_with_what_to_do():
    assert too_slow('gyroscope', 0.5) == ''
    assert too_slow('gyroscope', 0.9).startswith('the gyroscope takes 90% of the bus: speed up the bus')
