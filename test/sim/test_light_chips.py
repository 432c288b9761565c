"""The emulated light sensors, spoken to with smbus2 as their data sheets say; time passes when told."""

import errno

import pytest

from facefusion_ros.sensors.light_chips import COLOUR_CHIPS, LIGHT_CHIPS
from facefusion_ros.sim.light_chips import EMULATED_LIGHT_CHIPS, colour_temperature, emulate_light_chip
from facefusion_ros.sim.opt3001 import EmulatedOpt3001
from facefusion_ros.sim.taos import EmulatedTcs34725, EmulatedTsl2591
from facefusion_ros.sim.vishay import EmulatedVeml6040, EmulatedVeml7700


@pytest.fixture(scope='module')
def bench(chip_on_bus):
    class Bench(chip_on_bus):
        def word(self, register, order='little'):
            return int.from_bytes(self.get(register, 2), order)

        def after(self, seconds):
            self.wait(seconds)
            return self

    return Bench


def kilolux(_):
    return 1000.0


@pytest.mark.parametrize(
    ('configuration', 'integration_s', 'count'),
    [
        (0x0000, 0.1, 13_850),  # gain 1, 100 ms: 0.0672 lux per count before the correction
        (0x1000, 0.1, 13_850 / 8),
        (0x1300, 0.025, 13_850 / 32),
        (0x08C0, 0.8, 0xFFFF),
    ],
)
def test_veml7700_counts_after_its_integration_time(bench, configuration, integration_s, count):
    with bench(EmulatedVeml7700, kilolux) as b:
        assert b.word(0x00) == 0x0001
        assert b.after(2.0).word(0x04) == 0, 'asleep after switching on'
        b.set(0x00, configuration & 0xFF, configuration >> 8)
        assert b.after(0.0025 + integration_s - 1e-3).word(0x04) == 0
        assert b.after(2e-3).word(0x04) == pytest.approx(count, rel=0.01)
        b.set(0x00, configuration & 0xFF | 1, configuration >> 8)
        b.chip._lux = lambda _: 0.0
        assert b.after(2.0).word(0x04) > 0, 'asleep it keeps the last result'


def test_veml7700_shows_too_little_of_bright_light(bench):
    shown = []
    for lux in (100.0, 10_000.0):
        with bench(EmulatedVeml7700, lambda _, lux=lux: lux) as b:
            b.set(0x00, 0x00, 0x12)  # gain 1/8, 50 ms
            shown.append(b.after(0.1).word(0x04) * 1.0752 / lux)
    assert shown[0] == pytest.approx(0.99, abs=0.01)
    assert shown[1] == pytest.approx(0.67, abs=0.1)


def test_half_a_register_is_no_write(bench):
    with bench(EmulatedVeml7700, kilolux) as b:
        b.set(0x00, 0x00)
        assert b.word(0x00) == 0x0001
        b.set(0x04, 0x12, 0x34)
        assert b.word(0x04) == 0, 'read only'


def test_veml6040_runs_after_switching_on_and_tells_colours(bench):
    with bench(EmulatedVeml6040, kilolux, lambda _: 4278.6) as b:
        assert b.word(0x00) == 0x0000
        assert [b.after(0.05).word(register) for register in (0x08, 0x09, 0x0A, 0x0B)] == [
            pytest.approx(1000 / 0.25168 * part, abs=1) for part in (1.15, 1.0, 0.65, 1.2)
        ]
        b.set(0x00, 0x30, 0x00)
        assert b.after(0.33).word(0x09) == pytest.approx(8 * 1000 / 0.25168, abs=1)


def test_tsl2591_has_a_command_byte_and_a_valid_bit(bench):
    with bench(EmulatedTsl2591, kilolux, infrared=0.25) as b:
        assert b.get(0xB2, 1) == b'\x50'
        assert b.get(0x12, 1) != b'\x50', 'not a command'
        assert b.get(0xA0, 2) == b'\0\0'
        b.set(0xA0, 0x03, 0x10)  # on to CONTROL: gain 25
        assert b.get(0xA0, 2) == b'\x03\x10'
        assert b.after(0.099).get(0xB3, 1) == b'\0'
        assert b.after(0.002).get(0xB3, 1) == b'\x01'
        everything, infrared = b.word(0xB4), b.word(0xB6)
        assert everything == pytest.approx(1000.0 * 2500.0 / 408.0 / 0.75**2, abs=1)
        assert infrared == pytest.approx(everything / 4, abs=1)
        assert b.get(0xB4, 4) == everything.to_bytes(2, 'little') + infrared.to_bytes(2, 'little')
        b.set(0xA0, 0x01)
        assert b.get(0xB3, 1) == b'\0', 'measuring begins anew'
        b.set(0xA1, 0x80)
        assert b.get(0xA0, 2) == b'\0\0', 'reset by software'


def test_tsl2591_is_full_below_the_largest_word_at_100_ms(bench):
    with bench(EmulatedTsl2591, kilolux) as b:
        b.set(0xA1, 0x20)
        b.set(0xA0, 0x03)
        assert b.after(0.2).word(0xB4) == 36_863
        b.set(0xA1, 0x21)
        assert b.after(0.6).word(0xB4) == 65_535


def test_tcs34725_counts_1024_a_step_at_most(bench):
    with bench(EmulatedTcs34725, lambda _: 1e6) as b:
        assert b.get(0xB2, 1) == b'\x44'
        b.set(0xA1, 0x100 - 10)
        b.set(0xA0, 0x03)
        assert b.after(0.0024 + 0.0239).get(0xB3, 1) == b'\0'
        assert b.after(0.0002).get(0xB3, 1) == b'\x01'
        assert b.word(0xB4) == 10_240


def test_opt3001_finds_its_range_and_flags(bench):
    with bench(EmulatedOpt3001, kilolux) as b:
        assert (b.word(0x7E, 'big'), b.word(0x7F, 'big'), b.word(0x01, 'big')) == (0x5449, 0x3001, 0xC810)
        b.set(0x01, 0xC2, 0x10)  # once, 100 ms
        assert b.word(0x01, 'big') == 0xC210
        assert b.after(0.107).word(0x00, 'big') == 0
        assert b.after(0.002).word(0x01, 'big') == 0xC090, 'ready, and shut down again'
        assert b.word(0x01, 'big') == 0xC010, 'reading takes the flag away'
        result = b.word(0x00, 'big')
        assert 0.01 * (result & 0xFFF) * 2 ** (result >> 12) == pytest.approx(1000.0, rel=1e-3)
        assert result >> 12 == 5
        b.set(0x01, 0x02, 0x10)  # in the smallest range
        assert b.after(0.2).word(0x01, 'big') & 0x0100, 'overflow'
        assert b.word(0x00, 'big') == 0x0FFF


@pytest.mark.parametrize(
    ('emulate', 'register'), [(EmulatedVeml7700, 0x00), (EmulatedTsl2591, 0xA0), (EmulatedOpt3001, 0x01)]
)
def test_power_comes_back_after_a_while(bench, emulate, register):
    with bench(emulate, kilolux, boot_s=0.1) as b:
        b.get(register, 1)
        b.chip.power_cycle()
        with pytest.raises(OSError, match='No such device') as error:
            b.after(0.09).get(register, 1)
        assert error.value.errno == errno.ENXIO
        assert b.after(0.02).get(register, 1)


def test_light_is_integrated_and_flicker_averages_out(bench):
    with bench(EmulatedVeml7700, lambda t_s: 1000.0 if t_s % 0.01 < 0.005 else 0.0) as b:
        b.set(0x00, 0x00, 0x00)
        assert b.after(0.11).word(0x04) == pytest.approx(500.0 / 0.0672, rel=0.15)


def test_noise_clock_and_sensitivity_are_its_own(bench):
    with bench(EmulatedVeml7700, kilolux, clock_error=0.25, sensitivity=1.1, noise_counts=5.0) as b:
        b.set(0x00, 0x00, 0x10)
        assert b.after(0.0825).word(0x04) == pytest.approx(1.1 * 1000.0 / 0.5376 * 0.93, rel=0.02)
        seen = {b.after(0.1).word(0x04) for _ in range(50)}
        assert len(seen) > 8


def test_every_driver_has_its_emulation_at_the_same_address():
    assert set(EMULATED_LIGHT_CHIPS) == set(LIGHT_CHIPS)
    assert set(COLOUR_CHIPS) < set(LIGHT_CHIPS)
    for name, driver in LIGHT_CHIPS.items():
        chip = emulate_light_chip(name, lambda _: 1.0, lambda _: 5000.0)
        assert chip.address == driver(None)._address
        assert emulate_light_chip(name, lambda _: 1.0, lambda _: 5000.0, 0x5C).address == 0x5C


def test_warm_light_has_a_low_colour_temperature():
    assert colour_temperature(0.0) == pytest.approx(6504, abs=15)
    kelvins = [colour_temperature(warmth) for warmth in (-0.3, -0.1, 0.0, 0.1, 0.3, 0.5)]
    assert kelvins == sorted(kelvins, reverse=True)
    assert 3000 < kelvins[-1] < 4500
