import pytest
from smbus2 import i2c_msg

from facefusion_ros.sim.bh1750 import EmulatedBh1750

POWER_DOWN, POWER_ON, RESET = 0x00, 0x01, 0x07
CONTINUOUS_H, CONTINUOUS_H2, CONTINUOUS_L, ONCE_H = 0x10, 0x11, 0x13, 0x20


@pytest.fixture(scope='module')
def bench(chip_on_bus):
    class Bench(chip_on_bus):
        def __init__(self, lux, **chip):
            super().__init__(EmulatedBh1750, lux, **chip)

        def command(self, *opcodes):
            for opcode in opcodes:
                self.bus.write_byte(0x23, opcode)

        def after(self, seconds):
            self.wait(seconds)
            message = i2c_msg.read(0x23, 2)
            self.bus.i2c_rdwr(message)
            return int.from_bytes(bytes(message), 'big')

    return Bench


def test_data_appears_when_the_conversion_ends_and_not_before(bench):
    with bench(lambda _: 1000.0) as b:
        assert b.after(1.0) == 0
        b.command(POWER_ON, CONTINUOUS_H)
        assert b.after(0.119) == 0
        assert b.after(0.002) == 1200


@pytest.mark.parametrize(
    ('opcode', 'time_bits', 'seconds', 'count'),
    [
        (CONTINUOUS_H, 69, 0.120, 1200),
        (CONTINUOUS_H2, 69, 0.120, 2400),
        (CONTINUOUS_L, 69, 0.016, 1200),
        (CONTINUOUS_H, 254, 0.4418, 4417),
        (CONTINUOUS_H, 31, 0.0540, 539),
        (ONCE_H, 138, 0.240, 2400),
    ],
)
def test_modes_and_measurement_times(bench, opcode, time_bits, seconds, count):
    with bench(lambda _: 1000.0) as b:
        b.command(POWER_ON, 0x40 | time_bits >> 5, 0x60 | time_bits & 0x1F, opcode)
        assert b.after(seconds - 1e-3) == 0
        assert b.after(2e-3) == count


def test_reading_as_if_it_had_registers_starts_the_conversion_anew(bench):
    """The trap that most tutorials walk into: read_word_data sends the opcode each time."""
    with bench(lambda _: 1000.0) as b:
        for _ in range(20):
            assert b.bus.read_word_data(0x23, CONTINUOUS_H) == 0
            b.now_s += 0.1


def test_light_is_integrated_over_the_conversion(bench):
    with bench(lambda t_s: 1000.0 if t_s >= 0.06 else 0.0) as b:
        b.command(CONTINUOUS_H)
        assert b.after(0.121) == 600
        assert b.after(0.120) == 1200


def test_flicker_of_the_mains_averages_out(bench):
    with bench(lambda t_s: 1000.0 if t_s % 0.01 < 0.005 else 0.0) as b:
        b.command(CONTINUOUS_H)
        assert b.after(0.121) == pytest.approx(600, rel=0.13)


def test_too_much_light_stops_at_the_largest_count(bench):
    with bench(lambda _: 60_000.0) as b:
        b.command(CONTINUOUS_H)
        assert b.after(0.13) == 0xFFFF


def test_once_means_once(bench):
    with bench(lambda t_s: 1000.0 * (1.0 + t_s // 1.0)) as b:
        b.command(ONCE_H)
        assert b.after(0.5) == 1200
        assert b.after(5.0) == 1200
        b.command(ONCE_H)
        assert b.after(0.2) == 7200  # begun after 5.5 s


def test_reset_clears_the_data_only_while_powered(bench):
    with bench(lambda _: 1000.0) as b:
        b.command(CONTINUOUS_H)
        assert b.after(0.2) == 1200
        b.command(POWER_DOWN, RESET)
        assert b.after(0.0) == 1200
        b.command(POWER_ON, RESET)
        assert b.after(1.0) == 0


def test_a_brown_out_leaves_it_answering_zero(bench):
    with bench(lambda _: 1000.0) as b:
        b.command(CONTINUOUS_H)
        assert b.after(0.2) == 1200
        b.chip.power_cycle()
        assert b.after(1.0) == 0


def test_its_own_clock_and_sensitivity(bench):
    with bench(lambda _: 1000.0, clock_error=0.5, sensitivity=1.2) as b:
        b.command(CONTINUOUS_H)
        assert b.after(0.079) == 0
        assert b.after(0.002) == 1440
