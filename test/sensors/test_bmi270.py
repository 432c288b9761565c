import math

import numpy as np
import pytest

from facefusion_ros.sensors.bmi270 import FIRMWARE_BYTES, NoFirmware, load_firmware
from facefusion_ros.sensors.bus import Stalled
from facefusion_ros.sensors.motion_plan import MotionSettings

PROGRAM = np.random.default_rng(1).integers(0, 256, FIRMWARE_BYTES, np.uint8).tobytes()


def test_the_program_is_read_from_its_bytes_or_from_boschs_source(tmp_path):
    (tmp_path / 'bytes').write_bytes(PROGRAM)
    rows = ',\n'.join(', '.join(f'0x{byte:02x}' for byte in PROGRAM[at : at + 12]) for at in range(0, 8192, 12))
    (tmp_path / 'bmi270.c').write_text(
        f'#include "bmi270.h"\n#define X 0x12\nconst uint8_t bmi270_config_file[] = {{\n{rows}\n}};\nint y = 0x34;\n'
    )
    assert load_firmware(str(tmp_path / 'bytes')) == PROGRAM
    assert load_firmware(str(tmp_path / 'bmi270.c')) == PROGRAM


def test_what_is_no_program_is_refused_with_where_to_get_it(tmp_path):
    (tmp_path / 'short').write_bytes(PROGRAM[:-1])
    for name in ('short', 'missing'):
        with pytest.raises(NoFirmware, match=f'{name}.*save bmi270.c of github.com/boschsensortec/BMI270_SensorAPI'):
            load_firmware(str(tmp_path / name))


def test_a_program_that_the_chip_does_not_take_is_said(motion_world):
    with motion_world('bmi270', lambda _: (0.0, 0.0, 0.0)) as w:
        w.chip._program = PROGRAM
        with pytest.raises(Stalled, match='does not take its program program: is it the one for this chip'):
            w.driver.start()


@pytest.mark.parametrize('cross_axis', [-64, -20, 0, 13, 63])
def test_what_the_z_axis_shows_on_x_is_taken_away(motion_world, read_for, cross_axis):
    with motion_world('bmi270', lambda _: (0.5, 0.2, 4.0), cross_axis=cross_axis) as w:
        w.driver.start()
        samples = [sample for given in read_for(w.driver, w.clock, 1.0) for sample in given]
        mean = np.mean([sample.angular_velocity for sample in samples], axis=0)
        assert mean == pytest.approx([0.5, 0.2, 4.0], abs=1e-3)


def test_the_program_is_given_anew_after_a_loss_of_power(motion_world, read_for):
    with motion_world('bmi270', lambda _: (0.1, 0.2, 0.3)) as w:
        w.driver.start()
        w.chip.power_cycle()
        w.driver.start()
        samples = [sample for given in read_for(w.driver, w.clock, 1.0) for sample in given]
        assert samples[-1].angular_velocity == pytest.approx([0.1, 0.2, 0.3], abs=0.01)


def test_the_smallest_range_is_scaled_exactly(motion_world):
    """Linux has 66 µrad/s for a count of ±125 degrees/s; it is 66.58."""
    with motion_world('bmi270', lambda _: (0.0, 0.0, 0.0), settings=MotionSettings(gyro_range_dps=125.0)) as w:
        assert w.driver.plan.gyro_scale == pytest.approx(math.radians(125.0) / 32768.0)
