"""Sensors through the kernel's own drivers, bound to emulated chips on a real bus, and read from the real sysfs."""

import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import numpy as np
import pytest
from hid_gyro import DEGREES_PER_COUNT, HidGyro

from facefusion_ros.sensors.bus import Bus, BusUnfit, KernelOwnsChip, Overrun
from facefusion_ros.sensors.iio import NAMES as LIGHT_NAMES
from facefusion_ros.sensors.iio import IioDevice, IioPhotometer, NoIioDevice
from facefusion_ros.sensors.iio_imu import NAMES as MOTION_NAMES
from facefusion_ros.sensors.iio_imu import IioImu, exact_scale
from facefusion_ros.sensors.light_chips import LIGHT_CHIPS
from facefusion_ros.sim.light_chips import emulate_light_chip
from facefusion_ros.sim.motion_chips import emulate_motion_chip

pytestmark = pytest.mark.hardware

LUX, CCT_K = 300.0, 4000.0
OMEGA = np.array([0.5, -0.25, 1.0])
FORCE = np.array([1.0, -2.0, 9.5])

LIGHT = {
    'bh1750': ('bh1750', 'bh1750', 0x23),
    'opt3001': ('opt3001', 'opt3001', 0x44),
    'veml7700': ('veml6030', 'veml6030', 0x10),
    'tcs34725': ('tcs3472', 'tcs3472', 0x29),
}
"""Chip -> module of Linux 6.1, its name for the chip, address. It has none for the TSL2591 and the VEML6040."""
MOTION = {
    'mpu6050': ('inv-mpu6050-i2c', 'mpu6050', 0x68),
    'mpu6500': ('inv-mpu6050-i2c', 'mpu6500', 0x68),
    'lsm6dso': ('st_lsm6dsx_i2c', 'lsm6dso', 0x6A),
    'bmi160': ('bmi160_i2c', 'bmi160', 0x68),
    'bmi088': ('bmg160_i2c', 'bmi088_gyro', 0x68),
}
"""The same. The MPU-9250's driver also wants its magnetometer, which is not emulated."""


@pytest.fixture
def bind(usb_bus, modules):
    """Have the kernel drive a chip: ``bind(chip, module, name, address)`` gives the number of its bus."""
    with ExitStack() as bound:

        def drive(chip, module, name, address):
            number = usb_bus(chip)
            modules.load(module)
            adapter = Path(f'/sys/bus/i2c/devices/i2c-{number}')
            (adapter / 'new_device').write_text(f'{name} {address:#x}')
            bound.callback((adapter / 'delete_device').write_text, f'{address:#x}')
            modules.settle()
            return number

        yield drive


def lit(chip):
    return emulate_light_chip(chip, lambda _: LUX, lambda _: CCT_K)


def turning(chip):
    return emulate_motion_chip(chip, lambda _: OMEGA, lambda _: FORCE)


@pytest.mark.parametrize('chip', LIGHT)
def test_light(bind, chip, wait_until):
    bind(lit(chip), *LIGHT[chip])
    device = IioDevice(LIGHT_NAMES[chip])
    device.find()
    if chip == 'tcs34725':  # as it starts, 2.4 ms at gain 1, it tells such light in eight counts
        device.write('in_intensity_integration_time', '0.153600')
        device.write('in_intensity_calibscale', 4)
    photometer = IioPhotometer(LIGHT_NAMES[chip])
    photometer.start()
    readings = []
    wait_until(lambda: readings.extend(photometer.read()) or abs(readings[-1].lux - LUX) < 0.05 * LUX, 'the light')
    assert chip != 'tcs34725' or readings[-1].cct_k == pytest.approx(CCT_K, rel=0.1)


def test_its_own_driver_keeps_off_a_chip_that_the_kernel_has(bind):
    number = bind(lit('bh1750'), *LIGHT['bh1750'])
    owned = f"'bh1750' owns the chip at 0x23 on /dev/i2c-{number}: read it through IIO"
    with closing(LIGHT_CHIPS['bh1750'](Bus(number))) as driver, pytest.raises(KernelOwnsChip, match=owned):
        driver.start()


def test_a_driver_that_goes_is_named(bind, modules):
    bind(lit('bh1750'), *LIGHT['bh1750'])
    photometer = IioPhotometer(LIGHT_NAMES['bh1750'])
    photometer.start()
    modules.unload('bh1750')
    with pytest.raises(NoIioDevice, match='has the chip, or its driver, gone'):
        photometer.read()
    with pytest.raises(NoIioDevice, match='there is no IIO device bh1750'):
        photometer.start()


@pytest.mark.parametrize('chip', MOTION)
def test_scales_of_the_gyroscope(bind, chip, wait_until):
    """What the drivers call one count is what the chip means by it, to the digits that they give."""
    bind(turning(chip), *MOTION[chip])
    device = IioDevice(MOTION_NAMES[chip])
    device.find()

    def omega():
        scale = exact_scale(device.name, device.number('in_anglvel_scale'))
        return np.array([device.number(f'in_anglvel_{axis}_raw') for axis in 'xyz']) * scale

    wait_until(lambda: np.allclose(omega(), OMEGA, atol=0.01), 'the turn')


def test_the_buffer_of_a_gyroscope(modules, wait_until):
    """A HID gyroscope's: what it reports comes out with the times at which it was reported; it goes and comes back."""
    modules.load('uhid')
    hid, imu = HidGyro(), IioImu(('gyro_3d',), rate_hz=50.0)
    for first in 1, 1001:
        hid.plug()
        wait_until(lambda: began(imu), 'the kernel driver')
        wait_until(lambda: hid.reporting, 'the driver to ask for reports')
        assert (imu.rate_hz, hid.interval_s) == (50.0, 0.02)
        sent = [reported(hid, (number, -2 * number, 3)) for number in range(first, first + 20)]
        samples = []
        while len(samples) < len(sent):
            with suppress(Overrun):  # a guest is slow: reports may be more than a period apart
                samples += imu.read()
        for sample, (counts, begun_ns, ended_ns) in zip(samples, sent, strict=True):
            assert begun_ns <= sample.stamp_ns <= ended_ns
            omega = np.radians(np.array(counts) * DEGREES_PER_COUNT)
            np.testing.assert_allclose(sample.angular_velocity, omega, rtol=1e-5)
            assert sample.specific_force_variance == -1.0
        hid.unplug()
        with pytest.raises(NoIioDevice, match='has the chip, or its driver, gone'):
            imu.read()
        imu.close()


def reported(hid, counts):
    """Report after the interval that the driver asked for; returns the counts and the times around it."""
    time.sleep(hid.interval_s)
    begun_ns = time.time_ns()
    hid.report(counts)
    return counts, begun_ns, time.time_ns()


def began(imu):
    try:
        imu.start()
    except NoIioDevice:
        return False
    return True


@pytest.mark.parametrize('chip', ['mpu6050', 'bmi160'])
def test_an_imu_without_an_interrupt_line_is_refused(bind, chip):
    """One driver has no buffer then, the other a buffer without a trigger."""
    bind(turning(chip), *MOTION[chip])
    with pytest.raises(BusUnfit, match='needs an interrupt line or a trigger; read the chip through I2C'):
        IioImu(MOTION_NAMES[chip]).start()
