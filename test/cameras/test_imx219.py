"""The bare image sensor's driver, over the real bus code, on an emulated sensor with its true delays."""

from contextlib import closing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.cameras.controls import ControlError
from facefusion_ros.cameras.exposure import AutoExposure, ExposureSettings, Setting
from facefusion_ros.cameras.imx219 import Imx219, gain_codes, gain_of
from facefusion_ros.cameras.metering import Level
from facefusion_ros.errors import FacefusionError
from facefusion_ros.sensors.bus import Bus, KernelOwnsChip, NobodyAnswers
from facefusion_ros.sim.faults import ANY, RandomFaults
from facefusion_ros.sim.i2c import EmulatedAdapter
from facefusion_ros.sim.imx219 import EmulatedImx219

LINE_S = 3448 / 182.4e6


class Clock:
    """Nanoseconds that pass when told."""

    def __init__(self):
        self.now_ns = 1_700_000_000_000_000_000

    def __call__(self):
        return self.now_ns


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def chip(clock):
    return EmulatedImx219(clock=clock)


@pytest.fixture
def sensor(chip, clock):
    with EmulatedAdapter(94, [chip], clock=clock), closing(Imx219(Bus(94))) as made:
        made.open()
        yield made


def test_its_limits_are_those_of_the_frame_rate_it_runs_at(sensor):
    limits = sensor.limits
    assert limits.min_exposure_s == pytest.approx(4 * LINE_S)
    assert limits.max_exposure_s == pytest.approx(1759 * LINE_S)  # 4 lines less than a frame has
    assert limits.exposure_step_s == pytest.approx(LINE_S)
    assert (limits.min_gain, limits.max_gain) == (1.0, pytest.approx(256 / 24 * 0xFFF / 256))
    assert sensor.kelvin_limits is None
    with pytest.raises(ControlError, match='cannot balance white'):
        sensor.balance(5000.0)


@given(gain=st.floats(0.5, 200.0))
def test_analog_and_digital_gain_multiply_to_what_is_wanted(gain):
    analog, digital = gain_codes(gain)
    assert 0 <= analog <= 232
    assert 0x100 <= digital <= 0xFFF
    assert gain_of(analog, digital) == pytest.approx(min(max(gain, 1.0), 170.6), rel=0.002)
    if gain <= 10.0:
        assert digital < 0x100 * 1.05  # digital gain only fills the gaps


def test_what_is_written_comes_to_bear_two_frames_later_and_gain_one(sensor, chip, clock):
    sensor.take_over()
    clock.now_ns = chip.begins_ns(10) + 1_000_000
    sensor.apply(Setting(0.01, 4.0))
    taken = [chip.taken(frame) for frame in range(9, 15)]
    assert [gain for _, gain in taken] == [1.0, 1.0, 4.0, 4.0, 4.0, 4.0]
    lines = round(0.01 / LINE_S)
    assert [round(exposure_s / LINE_S) for exposure_s, _ in taken] == [1000, 1000, 1000, lines, lines, lines]
    assert sensor.read() == Setting(pytest.approx(lines * LINE_S), 4.0)


def test_what_is_beyond_the_limits_is_what_is_nearest(sensor):
    sensor.apply(Setting(1.0, 1000.0))
    assert sensor.read() == Setting(pytest.approx(1759 * LINE_S), pytest.approx(170.6, rel=0.001))
    sensor.apply(Setting(0.0, 0.1))
    assert sensor.read() == Setting(pytest.approx(4 * LINE_S), 1.0)


def test_nothing_is_written_where_nothing_changes(chip, clock):
    with EmulatedAdapter(94, [chip], clock=clock) as adapter, closing(Imx219(Bus(94))) as sensor:
        sensor.open()
        sensor.apply(Setting(0.01, 2.0))
        before = adapter.transactions
        for _ in range(20):
            sensor.apply(Setting(0.01, 2.0))
        assert adapter.transactions == before


@pytest.mark.parametrize('changes', [True, False])
def test_a_sensor_that_lost_its_power_is_noticed_and_set_up_again_by_somebody(sensor, chip, changes):
    sensor.apply(Setting(0.01, 2.0))
    chip.power_cycle()

    def go_on():
        for number in range(40):
            sensor.apply(Setting(0.01, 2.0 + 0.1 * number * changes))

    with pytest.raises(ControlError, match='does not hold what was written'):
        go_on()
    with pytest.raises(ControlError, match='takes no pictures: start its stream'):
        sensor.open()
    chip.write(bytes((0x01, 0x00, 1)))  # somebody starts it
    sensor.open()
    sensor.apply(Setting(0.01, 2.0))
    assert sensor.read().gain == 2.0


def test_what_was_set_without_an_error_is_set(chip, clock):
    """Whatever goes wrong on the bus, at random: a write of which nothing is said has arrived."""
    trouble = RandomFaults(0.05, seed=7)
    set_well, said, is_open = 0, [], False
    with EmulatedAdapter(94, [chip], [trouble], clock=clock), closing(Imx219(Bus(94))) as sensor:
        for number in range(1500):
            clock.now_ns += chip.frame_ns
            wanted = Setting(0.001 + 1e-5 * (number % 900), 1.0 + number % 7)
            try:
                if not is_open:
                    sensor.open()
                    is_open = True
                sensor.apply(wanted)
            except FacefusionError as error:
                said.append(str(error))
                is_open = False
                # What a bit flip in a register's number set elsewhere, or a power glitch stopped, somebody mends.
                chip.power_cycle()
                chip.write(bytes((0x01, 0x00, 1)))
                continue
            set_well += 1
            exposure_s, gain = chip.taken(chip.frame(clock()) + 2)
            assert exposure_s == pytest.approx(wanted.exposure_s, abs=LINE_S)
            assert gain == pytest.approx(wanted.gain, rel=0.005)
    assert len(trouble.struck) == len(ANY)
    assert len(said) > 50
    assert not any('\n' in text for text in said)
    assert set_well > 1000


def test_another_chip_is_told(clock):
    class Other(EmulatedImx219):
        def _reset(self):
            super()._reset()
            self._registers[0:2] = b'\x04\x77'

    with (
        EmulatedAdapter(94, [Other(clock=clock)], clock=clock),
        closing(Imx219(Bus(94))) as sensor,
        pytest.raises(ControlError, match='0x10 on /dev/i2c-94 is no IMX219: it calls itself 0x0477'),
    ):
        sensor.open()


def test_nobody_at_the_address_is_told(chip, clock):
    with (
        EmulatedAdapter(94, [chip], clock=clock),
        closing(Imx219(Bus(94), 0x36)) as sensor,
        pytest.raises(NobodyAnswers, match='0x36 on /dev/i2c-94'),
    ):
        sensor.open()


def test_a_sensor_that_a_kernel_driver_owns_is_refused(chip, clock, tmp_path):
    drivers = tmp_path / 'drivers' / 'imx219'
    drivers.mkdir(parents=True)
    (tmp_path / '94-0010').mkdir()
    (tmp_path / '94-0010' / 'driver').symlink_to(drivers)
    with EmulatedAdapter(94, [chip], clock=clock) as adapter:
        with closing(Imx219(Bus(94, sysfs=tmp_path))) as sensor, pytest.raises(KernelOwnsChip):
            sensor.open()
        assert adapter.transactions == 0


def test_a_sensor_that_is_not_set_up_is_told(clock):
    with (
        EmulatedAdapter(94, [EmulatedImx219(clock=clock, frame_lines=6)], clock=clock),
        closing(Imx219(Bus(94))) as sensor,
        pytest.raises(ControlError, match='it has 6 lines a frame'),
    ):
        sensor.open()


def test_automatic_exposure_settles_through_registers_and_delays(sensor, chip, clock):
    """The whole loop: registers, their delays, frames that tell nothing, and what they show."""
    auto = AutoExposure(ExposureSettings(0.18, limits=sensor.limits, mains_hz=50.0))
    brightness = []
    for frame in range(120):
        clock.now_ns = chip.begins_ns(frame + 1) + 3_000_000  # it has come, and the next one is being exposed
        exposure_s, gain = chip.taken(frame)
        lux = 40.0 if frame < 60 else 2000.0
        light = 0.03 * lux * exposure_s * gain
        brightness.append(light)
        level = Level(min(light, 1.0), white=light > 1.0)
        sensor.apply(auto.observe_frame(chip.begins_ns(frame) + chip.frame_ns // 2, frame, level))
    assert brightness[30:60] == pytest.approx([0.18] * 30, rel=0.05)
    assert brightness[90:] == pytest.approx([0.18] * 30, rel=0.05)
    assert np.ptp(np.log2(brightness[95:])) < 0.05
    # At 40 lux for whole periods of flicker, and at 2000 lux as long as there is too much light for one.
    assert chip.taken(59)[0] * 100.0 == pytest.approx(3.0, abs=0.003)
    assert chip.taken(119)[0] == pytest.approx(0.003, rel=0.05)


def test_the_emulation_counts_frames_of_the_rate_it_runs_at(clock):
    chip = EmulatedImx219(clock=clock)
    assert chip.frame_ns == pytest.approx(1e9 / 30.0, rel=0.001)
    assert chip.streams
    clock.now_ns += 10 * chip.frame_ns + 5
    assert chip.frame(clock()) == 10
    chip.power_cycle()
    assert not chip.streams
    deaf = EmulatedImx219(clock=clock, boot_s=0.01)
    deaf.power_cycle()
    with pytest.raises(OSError, match='No such device'):
        deaf.read(1)
    clock.now_ns += 20_000_000
    deaf.write(bytes((0x00, 0x00)))
    assert deaf.read(2) == b'\x02\x19'
