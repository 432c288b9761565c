"""The nodes of the sensors on a bus of a real kernel, heard through real DDS."""

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Illuminance, Imu

from facefusion_ros.nodes.ambient_light import AmbientLight
from facefusion_ros.nodes.gyro import Gyro
from facefusion_ros.ros.messages import vector
from facefusion_ros.sim.light_chips import emulate_light_chip
from facefusion_ros.sim.motion_chips import emulate_motion_chip

pytestmark = pytest.mark.hardware

OMEGA = np.array([0.5, -0.25, 1.0])
FORCE = np.array([1.0, -2.0, 9.5])
LUX = 300.0


def test_two_sensors_on_one_bus(usb_bus, usb_i2c, start, listener):
    """Each node opens the bus for itself; when its adapter is pulled out and plugged in again, both go on."""
    motion = emulate_motion_chip('mpu6050', lambda _: OMEGA, lambda _: FORCE)
    bus = f'/dev/i2c-{usb_bus(motion, emulate_light_chip("bh1750", lambda _: LUX, lambda _: 5000.0))}'
    turns, lights = listener.hear(Imu, 'imu/data_raw'), listener.hear(Illuminance, 'illuminance')
    states = [listener.diagnostics(name) for name in ('gyro', 'ambient_light')]
    start(Gyro, bus=bus, rate_hz=50.0)
    start(AmbientLight, bus=bus)
    for given in (20, 3), (10, 2):
        samples, readings = turns.more(given[0]), lights.more(given[1])
        np.testing.assert_allclose(
            np.mean([vector(sample.angular_velocity) for sample in samples], axis=0), OMEGA, atol=0.02
        )
        np.testing.assert_allclose(
            np.mean([vector(sample.linear_acceleration) for sample in samples], axis=0), FORCE, atol=0.2
        )
        assert readings[-1].illuminance == pytest.approx(LUX, rel=0.02)
        if given == (20, 3):
            usb_i2c.unplug()
            for state in states:
                status = state.until(lambda status: status.level == DiagnosticStatus.ERROR)
                assert f'there is no I2C bus {bus}' in status.message
            usb_i2c.plug()
