"""What the colour sensors make of colours, and the nonlinear ones of bright light."""

from contextlib import closing

import numpy as np
import pytest

from facefusion_ros.sensors.bus import Bus, Saturated
from facefusion_ros.sensors.tcs34725 import Tcs34725, light_of
from facefusion_ros.sensors.veml6040 import Veml6040
from facefusion_ros.sensors.veml7700 import MOST_LINEAR_LUX, Veml7700, corrected
from facefusion_ros.sim.i2c import EmulatedAdapter
from facefusion_ros.sim.taos import EmulatedTcs34725
from facefusion_ros.sim.vishay import EmulatedVeml6040, EmulatedVeml7700


def read(clock, make, chip, seconds=4.0, **driver):
    with EmulatedAdapter(90, [chip], clock=clock), closing(make(Bus(90), clock=clock, **driver)) as driver:
        driver.start()
        readings = []
        end_s = clock.elapsed_s + seconds
        while clock.elapsed_s < end_s:
            clock.sleep(max(driver.period_s, 1e-3))
            readings += driver.read()
    return readings


PAIRS = [(Tcs34725, EmulatedTcs34725), (Veml6040, EmulatedVeml6040)]


@pytest.mark.parametrize('cct_k', [2000.0, 2700.0, 4000.0, 6500.0, 9000.0])
@pytest.mark.parametrize('lux', [20.0, 500.0, 5000.0])
@pytest.mark.parametrize(('make', 'emulate'), PAIRS)
def test_colour_temperature(make_clock, make, emulate, lux, cct_k):
    clock = make_clock()
    reading = read(clock, make, emulate(lambda _: lux, lambda _: cct_k, clock=clock))[-1]
    assert reading.cct_k == pytest.approx(cct_k, rel=0.04)
    assert reading.lux == pytest.approx(lux, rel=0.02)


@pytest.mark.parametrize(('make', 'emulate'), PAIRS)
def test_next_to_no_light_has_no_colour(make_clock, make, emulate):
    clock = make_clock()
    readings = read(clock, make, emulate(lambda _: 0.1, lambda _: 4000.0, clock=clock))
    assert readings
    assert {reading.cct_k for reading in readings} == {None}


@pytest.mark.parametrize(('make', 'emulate'), PAIRS)
def test_a_colour_beyond_all_lamps_is_none(make_clock, make, emulate):
    clock = make_clock()
    readings = read(clock, make, emulate(lambda _: 500.0, lambda _: 1410.0, clock=clock))
    assert {reading.cct_k for reading in readings} == {None}


@pytest.mark.parametrize('infrared', [0.0, 60.0])
@pytest.mark.parametrize('scale', [1.0, 30.0])
def test_the_variance_of_a_colour_temperature_is_that_of_many_parts_in_the_same_light(infrared, scale):
    """Parts whose colours are as far from typical as the data sheet allows, and counts as noisy as electrons are."""
    rng = np.random.default_rng(3)
    red, green, blue = (scale * (each + infrared) for each in (200.0, 260.0, 240.0))
    clear = scale * (700.0 + infrared)
    told = light_of(clear, red, green, blue, 1.0)
    measured = []
    for _ in range(4000):
        of_red, of_blue = rng.uniform(80.0, 110.0) / 95.0, rng.uniform(65.0, 88.0) / 76.5
        means = (clear, red + scale * 200.0 * (of_red - 1.0), green, blue + scale * 240.0 * (of_blue - 1.0))
        # What a filter lets through less of, the channel without one does not see more of.
        means = (clear + means[1] - red + means[3] - blue, *means[1:])
        reading = light_of(*np.rint(rng.poisson(means)).tolist(), 1.0)
        measured.append(reading.cct_k)
    assert np.mean(measured) == pytest.approx(told.cct_k, rel=0.03)
    assert np.var(measured) == pytest.approx(told.cct_variance, rel=0.2)


def test_what_no_data_sheet_says_has_no_variance(make_clock):
    clock = make_clock()
    reading = read(clock, Veml6040, EmulatedVeml6040(lambda _: 500.0, lambda _: 4000.0, clock=clock))[-1]
    assert reading.cct_variance == 0.0


def test_the_veml7700_is_corrected_as_far_as_its_polynomial_goes():
    assert corrected(0.0) == 0.0
    assert corrected(1000.0) == pytest.approx(1002.3 + 81.488 - 9.3924 + 0.60135)
    shown = [corrected(x) for x in range(0, int(MOST_LINEAR_LUX), 50)]
    assert shown == sorted(shown)
    assert 115_000 < shown[-1] < 121_000


def test_the_veml7700_does_not_go_beyond(make_clock):
    clock = make_clock()
    with pytest.raises(Saturated, match='beyond the 1201'):
        read(clock, Veml7700, EmulatedVeml7700(lambda _: 125_000.0, clock=clock))


def test_the_veml7700s_disputed_constant_is_a_parameter(make_clock):
    clock = make_clock()
    lux = read(clock, Veml7700, EmulatedVeml7700(lambda _: 10.0, clock=clock), lux_per_count=0.0036)[-1].lux
    assert lux == pytest.approx(10.0 * 0.0036 / 0.0042, rel=0.01)


def test_the_tcs34725_is_full_before_its_largest_count_where_light_may_ripple(make_clock):
    clock = make_clock()
    with pytest.raises(Saturated, match='TCS34725'):  # 18 000 counts of 21 504, of which 16 128 are trusted
        read(clock, Tcs34725, EmulatedTcs34725(lambda _: 26_000.0, clock=clock))


@pytest.mark.parametrize(('make', 'emulate'), [(Veml7700, EmulatedVeml7700), (Veml6040, EmulatedVeml6040)])
def test_a_slow_chip_without_a_flag_is_not_read_in_a_range_it_was_not_in(make_clock, make, emulate):
    """Its integration takes 1.4 times as long; so much brighter it seems, and no more."""
    clock = make_clock()
    begin_s = clock.START_NS * 1e-9

    def light(time_s):
        return (1.0, 3000.0, 40.0, 8000.0)[int((time_s - begin_s) / 1.7) % 4]

    readings = read(clock, make, emulate(light, clock=clock, clock_error=-0.28), seconds=20.0)
    assert len(readings) > 40
    assert max(reading.lux for reading in readings) < 1.5 * 8000.0
    for reading in readings:
        at_s = reading.stamp_ns * 1e-9
        seen = [light(at_s + dt * 0.05) for dt in range(-14, 15)]
        assert 0.9 * min(seen) - 1.0 <= reading.lux <= 1.6 * max(seen) + 1.0
