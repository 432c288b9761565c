"""The motion sensor: reads an MPU-6050 over I2C and publishes angular velocity and specific force."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sensor_msgs.msg import Imu

from facefusion_ros.ros.messages import to_header
from facefusion_ros.ros.parameters import Parameter, ParameterError
from facefusion_ros.ros.run import run
from facefusion_ros.ros.simulation import BUS, WORLD, WORLD_EPOCH, open_bus
from facefusion_ros.ros.stage import Health, StageNode, sampling_health
from facefusion_ros.sensors.mpu6050 import Mpu6050, Mpu6050Settings
from facefusion_ros.sensors.sampling import SamplingLoop
from facefusion_ros.sim.mpu6050 import EmulatedMpu6050

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facefusion_ros.sensors.chip import ImuSample

DEFAULT = Mpu6050Settings()


class Gyro(StageNode):
    """Publishes ``imu/data_raw``, in the sensor's own axes, unfiltered (REP-145)."""

    NAME = 'gyro'
    TABLE = (
        BUS,
        Parameter('address', 0x68, 'I2C address: 0x68, or 0x69 with the AD0 pin high', '', 0x03, 0x77, fixed=True),
        Parameter('frame_id', 'imu_link', 'Frame of the sensor', fixed=True),
        Parameter(
            'rate_hz',
            DEFAULT.rate_hz,
            'Samples per second: 1000 divided by a whole number',
            'Hz',
            4.0,
            1000.0,
            fixed=True,
        ),
        WORLD,
        WORLD_EPOCH,
    )

    def configure(self) -> None:
        """Make the publisher."""
        try:
            self._settings = Mpu6050Settings(rate_hz=self.values['rate_hz'])
        except ValueError as error:
            raise ParameterError(f'parameter {error}') from error
        self._imu = self.advertise(Imu, 'imu/data_raw')
        self._clipped = 0

    def activate(self) -> None:
        """Start to read the sensor."""
        address: int = self.values['address']
        bus = open_bus(
            self.values,
            self.while_active,
            lambda world, time: EmulatedMpu6050(
                lambda t_s: world.angular_velocity_imu(time(t_s)),
                lambda t_s: world.specific_force_imu(time(t_s)),
                address=address,
            ),
        )
        self._loop = SamplingLoop(Mpu6050(bus, address, self._settings), self._deliver)
        self._loop.start()
        self.while_active.callback(self._loop.stop)

    def health(self) -> Health:
        """Say how the sensor is."""
        return sampling_health(self._loop.health, self._loop.counters, {'clipped': self._clipped})

    def _deliver(self, samples: Sequence[ImuSample]) -> None:
        for sample in samples:
            if sample.clipped:  # faster than the range: the number would be a lie
                self._clipped += 1
                continue
            message = Imu(header=to_header(sample.stamp_ns, self.values['frame_id']))
            message.orientation_covariance[0] = -1.0  # not measured (REP-145)
            rate, force = message.angular_velocity, message.linear_acceleration
            rate.x, rate.y, rate.z = (float(value) for value in sample.angular_velocity)
            force.x, force.y, force.z = (float(value) for value in sample.specific_force)
            message.angular_velocity_covariance = (np.eye(3) * sample.angular_velocity_variance).reshape(9)
            message.linear_acceleration_covariance = (np.eye(3) * sample.specific_force_variance).reshape(9)
            self._imu.publish(message)


def main() -> int:
    """Run the node alone."""
    return run(Gyro)
