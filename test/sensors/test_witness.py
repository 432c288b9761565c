"""Adafruit's drivers, written by others for real chips, on our emulated chips: they read what ours read."""

import importlib
import types

import pytest

from facefusion_ros.sensors.bh1750 import Bh1750
from facefusion_ros.sensors.bus import Bus
from facefusion_ros.sensors.tcs34725 import Tcs34725
from facefusion_ros.sensors.tsl2591 import Tsl2591
from facefusion_ros.sensors.veml7700 import Veml7700
from facefusion_ros.sim.bh1750 import EmulatedBh1750
from facefusion_ros.sim.i2c import EmulatedAdapter
from facefusion_ros.sim.taos import EmulatedTcs34725, EmulatedTsl2591
from facefusion_ros.sim.vishay import EmulatedVeml7700

pytest.importorskip('adafruit_bus_device', reason='pip install --no-deps --requirement requirements/witness.txt')

adafruit_bh1750, adafruit_tcs34725, adafruit_tsl2591, adafruit_veml7700 = (
    importlib.import_module(f'adafruit_{chip}') for chip in ('bh1750', 'tcs34725', 'tsl2591', 'veml7700')
)


@pytest.fixture
def clock(make_clock, monkeypatch):
    clock = make_clock()
    time = types.SimpleNamespace(sleep=clock.sleep, monotonic=lambda: clock.elapsed_s)
    for module in (adafruit_tcs34725, adafruit_veml7700):
        monkeypatch.setattr(module, 'time', time)
    monkeypatch.setattr(adafruit_bh1750, 'sleep', clock.sleep)
    return clock


def ours(clock, make, chip):
    """What our driver reads from a chip."""
    with EmulatedAdapter(90, [chip], clock=clock):
        driver = make(Bus(90), clock=clock)
        driver.start()
        readings = []
        end_s = clock.elapsed_s + 4.0
        while clock.elapsed_s < end_s:
            clock.sleep(max(driver.period_s, 1e-3))
            readings += driver.read()
        driver.close()
    return readings[-1]


LUX = (3.0, 40.0, 310.0, 2500.0, 9000.0)


@pytest.mark.parametrize('lux', LUX)
def test_bh1750(clock, theirs, lux):
    driver = adafruit_bh1750.BH1750(theirs(clock, EmulatedBh1750(lambda _: lux, clock=clock)))
    clock.sleep(0.2)
    seen = ours(clock, Bh1750, EmulatedBh1750(lambda _: lux, clock=clock)).lux
    assert driver.lux == pytest.approx(seen, abs=1.7)


@pytest.mark.parametrize('lux', LUX)
def test_veml7700(clock, theirs, lux):
    driver = adafruit_veml7700.VEML7700(theirs(clock, EmulatedVeml7700(lambda _: lux, clock=clock)))
    driver.light_gain, driver.light_integration_time = driver.ALS_GAIN_1_8, driver.ALS_50MS
    clock.sleep(1.0)
    seen = ours(clock, Veml7700, EmulatedVeml7700(lambda _: lux, clock=clock)).lux
    assert driver.compute_lux(driver.light, use_correction=True) == pytest.approx(seen, rel=1e-3, abs=1.1)
    assert driver.autolux == pytest.approx(seen, rel=0.01, abs=0.3)


@pytest.mark.parametrize('infrared', [0.1, 0.25, 0.5])
@pytest.mark.parametrize('lux', LUX)
def test_tsl2591(clock, theirs, lux, infrared):
    driver = adafruit_tsl2591.TSL2591(theirs(clock, EmulatedTsl2591(lambda _: lux, clock=clock, infrared=infrared)))
    driver.gain = adafruit_tsl2591.GAIN_LOW if lux > 1000.0 else adafruit_tsl2591.GAIN_MED
    clock.sleep(1.0)
    everything, infrared_count = driver.raw_luminosity
    counts_per_lux = (100.0 if lux > 1000.0 else 2500.0) / 408.0
    seen = ours(clock, Tsl2591, EmulatedTsl2591(lambda _: lux, clock=clock, infrared=infrared)).lux
    visible = everything - infrared_count
    assert visible * (1.0 - infrared_count / everything) / counts_per_lux == pytest.approx(
        seen, rel=0.01, abs=1.0 / counts_per_lux
    )
    # Their older formula differs, by more the more infrared there is.
    assert driver.lux == pytest.approx(seen, rel={0.1: 0.04, 0.25: 0.06, 0.5: 0.3}[infrared], abs=1.0)


@pytest.mark.parametrize('cct_k', [2700.0, 4000.0, 6500.0])
@pytest.mark.parametrize('lux', LUX[1:])
def test_tcs34725(clock, theirs, lux, cct_k):
    driver = adafruit_tcs34725.TCS34725(theirs(clock, EmulatedTcs34725(lambda _: lux, lambda _: cct_k, clock=clock)))
    driver.gain, driver.integration_time = (4 if lux < 3000.0 else 1), 50.5
    reading = ours(clock, Tcs34725, EmulatedTcs34725(lambda _: lux, lambda _: cct_k, clock=clock))
    assert driver.lux == pytest.approx(reading.lux, rel=0.01, abs=3.0)
    assert driver.color_temperature == pytest.approx(reading.cct_k, rel=0.05)
