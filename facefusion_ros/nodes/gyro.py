"""The motion sensor: reads a gyroscope and publishes angular velocity and specific force."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from sensor_msgs.msg import Imu

from facefusion_ros.ros.messages import to_header
from facefusion_ros.ros.parameters import Parameter, ParameterError
from facefusion_ros.ros.run import run
from facefusion_ros.ros.simulation import ACCESS, ADDRESS, BUS, WORLD, WORLD_EPOCH, open_bus
from facefusion_ros.ros.stage import OK, WARN, Health, StageNode, sampling_health
from facefusion_ros.sensors.bmi270 import FIRMWARE, load_firmware
from facefusion_ros.sensors.bus_load import BusLoad, too_slow
from facefusion_ros.sensors.iio_imu import NAMES, IioImu
from facefusion_ros.sensors.motion_chips import MOTION_CHIPS, make_motion_chip
from facefusion_ros.sensors.motion_plan import MotionSettings
from facefusion_ros.sensors.sampling import SamplingLoop
from facefusion_ros.sim.motion_chips import emulate_motion_chip

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from facefusion_ros.sensors.chip import ImuSample
    from facefusion_ros.sensors.motion import MotionChip
    from facefusion_ros.sim.i2c import EmulatedChip
    from facefusion_ros.sim.world import World

DEFAULT = MotionSettings()


class Gyro(StageNode):
    """Publishes ``imu/data_raw``, in the sensor's own axes, unfiltered (REP-145)."""

    NAME = 'gyro'
    TABLE = (
        BUS,
        Parameter('chip', 'mpu6050', 'Motion sensor', choices=tuple(MOTION_CHIPS), fixed=True),
        ADDRESS,
        ACCESS,
        Parameter('frame_id', 'imu_link', 'Frame of the sensor', fixed=True),
        Parameter(
            'rate_hz',
            DEFAULT.rate_hz,
            'Samples per second; the chip takes its slowest rate that is not slower',
            'Hz',
            4.0,
            2000.0,
            fixed=True,
        ),
        Parameter(
            'gyro_range_dps',
            DEFAULT.gyro_range_dps,
            'Greatest angular rate; faster motion is counted and not published',
            'degrees/s',
            125.0,
            2000.0,
            fixed=True,
        ),
        Parameter('accel_range_g', DEFAULT.accel_range_g, 'Greatest acceleration', 'g', 2.0, 24.0, fixed=True),
        Parameter(
            'bandwidth_hz',
            DEFAULT.bandwidth_hz,
            "Of the gyroscope's low-pass filter, where the chip lets it choose; 0 for half the rate",
            'Hz',
            0.0,
            1000.0,
            fixed=True,
        ),
        Parameter('firmware', FIRMWARE, "Program of a BMI270: a file of its bytes, or Bosch's bmi270.c", fixed=True),
        WORLD,
        WORLD_EPOCH,
    )

    def configure(self) -> None:
        """Make the publisher; raises SettingError for what the chip cannot do."""
        values = self.values
        self._settings = MotionSettings(
            values['rate_hz'], values['gyro_range_dps'], values['accel_range_g'], values['bandwidth_hz']
        )
        self._plan = MOTION_CHIPS[values['chip']].planned(self._settings)
        if values['access'] == 'iio' and values['chip'] not in NAMES:
            raise ParameterError(f'Linux has no driver for the {values["chip"]}: set access:=i2c')
        self._imu = self.advertise(Imu, 'imu/data_raw')
        self._clipped = 0

    def activate(self) -> None:
        """Start to read the sensor."""
        self._bus_load: BusLoad | None = None
        self._chip = self._through_the_kernel() if self.values['access'] == 'iio' else self._over_the_bus()
        self._loop = SamplingLoop(self._chip, self._deliver)
        self._loop.start()
        self.while_active.callback(self._loop.stop)

    def health(self) -> Health:
        """Say how the sensor is."""
        values: dict[str, object] = {'clipped': self._clipped}
        if isinstance(self._chip, IioImu):
            values['rate Hz'] = f'{self._chip.rate_hz:.3f}'
        else:
            values['dropped'] = self._chip.dropped
            values['rate Hz'] = f'{1.0 / self._chip.sample_period_s:.3f}'
            values['stamp jitter us'] = f'{self._chip.jitter_s * 1e6:.1f}'
        load = self._bus_load.measure() if self._bus_load is not None else 0.0
        if self._bus_load is not None:
            values['bus load'] = f'{load:.1%}'
        health = sampling_health(self._loop.health, self._loop.counters, values)
        slow = too_slow('motion sensor', load)
        return replace(health, level=WARN, message=slow) if slow and health.level == OK else health

    def _through_the_kernel(self) -> IioImu:
        return IioImu(NAMES[self.values['chip']], rate_hz=self._settings.rate_hz, delay_s=self._plan.delay_s)

    def _over_the_bus(self) -> MotionChip:
        values = self.values
        bus = open_bus(values, self.while_active, self._emulated)
        self._bus_load = BusLoad(bus)
        return make_motion_chip(values['chip'], bus, values['address'], self._settings, values['firmware'])

    def _emulated(self, world: World, time: Callable[[float], float]) -> EmulatedChip:
        chip: str = self.values['chip']
        return emulate_motion_chip(
            chip,
            lambda t_s: world.angular_velocity_imu(time(t_s)),
            lambda t_s: world.specific_force_imu(time(t_s)),
            address=self.values['address'],
            program=load_firmware(self.values['firmware']) if chip == 'bmi270' else b'',
        )

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
            message.angular_velocity_covariance = _diagonal(sample.angular_velocity_variance)
            if sample.specific_force_variance < 0.0:
                message.linear_acceleration_covariance[0] = -1.0
            else:
                message.linear_acceleration_covariance = _diagonal(sample.specific_force_variance)
            self._imu.publish(message)


def _diagonal(variance: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return (np.eye(3) * variance).reshape(9)


def main() -> int:
    """Run the node alone."""
    return run(Gyro)
