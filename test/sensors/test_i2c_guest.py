"""The drivers on buses of a real kernel: an adapter with emulated chips at the far end of a USB cable, and i2c-stub."""

from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from smbus2 import SMBus

from facefusion_ros.app import doctor
from facefusion_ros.sensors.bus import Bus, BusForbidden, BusUnfit, NobodyAnswers, NoBus, WrongIdentity
from facefusion_ros.sensors.light_chips import COLOUR_CHIPS, LIGHT_CHIPS
from facefusion_ros.sensors.motion_chips import make_motion_chip
from facefusion_ros.sensors.motion_plan import MotionSettings
from facefusion_ros.sensors.sampling import SamplingLoop, State
from facefusion_ros.sim.light_chips import emulate_light_chip
from facefusion_ros.sim.motion_chips import emulate_motion_chip

pytestmark = pytest.mark.hardware

OMEGA = np.array([0.5, -0.25, 1.0])
FORCE = np.array([1.0, -2.0, 9.5])
LUX, CCT_K = 300.0, 4000.0


def motion(chip):
    program = bytes(range(256)) * 32
    Path('program').write_bytes(program)
    return emulate_motion_chip(chip, lambda _: OMEGA, lambda _: FORCE, program=program)


def mpu6050(number, address=0):
    return make_motion_chip('mpu6050', Bus(number), address, MotionSettings())


def light(chip):
    return emulate_light_chip(chip, lambda _: LUX, lambda _: CCT_K)


def held(number, address, registers):
    """What the chip's registers hold, through the kernel's SMBus calls and not through the driver."""
    with SMBus(number) as bus:
        return {
            first: tuple(bus.read_i2c_block_data(address, first & 0xFF, len(values)))
            for first, values in registers.items()
        }


@contextmanager
def sampling(driver, deliver):
    loop = SamplingLoop(driver, deliver)
    loop.start()
    try:
        yield loop
    finally:
        loop.stop()


def test_motion_chip(usb_bus, motion_chip, wait_until):
    number = usb_bus(motion(motion_chip))
    driver = make_motion_chip(motion_chip, Bus(number), 0, MotionSettings(rate_hz=50.0), 'program')
    driver.start()
    wanted = {first: values for first, values in driver.plan.registers.items() if first < 0x100}
    assert held(number, driver.ADDRESS, wanted) == wanted
    samples = []
    wait_until(lambda: samples.extend(driver.read()) or len(samples) > 20, 'twenty samples')
    driver.close()
    np.testing.assert_allclose(np.mean([sample.angular_velocity for sample in samples], axis=0), OMEGA, atol=0.02)
    if samples[0].specific_force_variance >= 0.0:
        np.testing.assert_allclose(np.mean([sample.specific_force for sample in samples], axis=0), FORCE, atol=0.2)
    steps_s = np.diff([sample.stamp_ns for sample in samples]) * 1e-9
    assert (steps_s > 0.0).all()
    assert abs(np.median(steps_s) * driver.plan.rate_hz - 1.0) < 0.1


@pytest.mark.parametrize('chip', LIGHT_CHIPS)
def test_light_chip(usb_bus, chip, wait_until):
    driver = LIGHT_CHIPS[chip](Bus(usb_bus(light(chip))))
    readings = []
    with sampling(driver, readings.extend) as loop:
        wait_until(lambda: len(readings) > 2, 'three readings')
    assert not loop.counters.errors
    assert readings[-1].lux == pytest.approx(LUX, rel=0.05)
    assert chip not in COLOUR_CHIPS or readings[-1].cct_k == pytest.approx(CCT_K, rel=0.1)


def test_another_chip_and_no_chip(usb_bus):
    number = usb_bus(motion('bmi160'))
    with closing(mpu6050(number)) as driver, pytest.raises(WrongIdentity, match='BMI160'):
        driver.start()
    nobody = f'0x69 on /dev/i2c-{number}: check power'
    with closing(mpu6050(number, 0x69)) as driver, pytest.raises(NobodyAnswers, match=nobody):
        driver.start()


def test_the_adapter_is_pulled_out_and_plugged_in_again(usb_bus, usb_i2c, wait_until):
    """The kernel cannot let go of the adapter, nor find it again, while anybody holds its device node open."""
    number = usb_bus(light('bh1750'))
    readings = []
    with sampling(LIGHT_CHIPS['bh1750'](Bus(number)), readings.extend) as loop:
        wait_until(lambda: readings, 'a reading')
        usb_i2c.unplug()
        wait_until(lambda: loop.health.state is State.FAILED, 'the loss to be noticed')
        assert f'there is no I2C bus /dev/i2c-{number}' in loop.health.reason
        usb_i2c.plug()
        before = len(readings)
        wait_until(lambda: len(readings) > before, 'a reading after the return')
    assert usb_i2c.bus() == number
    assert loop.counters.recoveries == 1


def test_a_bus_that_only_knows_smbus_is_refused(modules):
    """i2c-stub is such a bus: registers, but no plain transfers, which every driver here needs."""
    modules.load('i2c-dev')
    modules.load('i2c-stub', chip_addr=[0x68])
    number = next(
        int(folder.name[4:])
        for folder in Path('/sys/class/i2c-dev').iterdir()
        if 'stub' in (folder / 'name').read_text()
    )
    with SMBus(number) as bus:
        bus.write_byte_data(0x68, 0x75, 0x68)
        assert bus.read_byte_data(0x68, 0x75) == 0x68
    unfit = f'/dev/i2c-{number} can only do SMBus'
    with closing(mpu6050(number)) as driver, pytest.raises(BusUnfit, match=unfit):
        driver.start()
    modules.unload('i2c-stub')
    with pytest.raises(NoBus, match=f'there is no I2C bus /dev/i2c-{number}'):
        Bus(number).open()


def test_doctor_lists_the_bus_and_says_who_may_use_it(usb_bus, as_user):
    number = usb_bus()
    finding = doctor._i2c()
    assert (finding.present, finding.text) == (True, f'/dev/i2c-{number}')
    refused = as_user('nobody', doctor._i2c)
    assert not refused.present
    assert f'no permission for /dev/i2c-{number}: sudo usermod -aG i2c' in refused.text
    with pytest.raises(BusForbidden, match=f'no permission to use /dev/i2c-{number}'):
        as_user('nobody', Bus(number).open)
