"""The light sensor: reads one of many chips and publishes illuminance and, where it sees colours, their temperature."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from sensor_msgs.msg import Illuminance

from facefusion_ros import msg
from facefusion_ros.ros.messages import to_header
from facefusion_ros.ros.parameters import Parameter
from facefusion_ros.ros.run import run
from facefusion_ros.ros.simulation import ACCESS, ADDRESS, BUS, WORLD, WORLD_EPOCH, open_bus
from facefusion_ros.ros.stage import OK, WARN, Health, StageNode, sampling_health
from facefusion_ros.sensors.bus_load import BusLoad, too_slow
from facefusion_ros.sensors.iio import NAMES, IioPhotometer
from facefusion_ros.sensors.light_chips import COLOUR_CHIPS, LIGHT_CHIPS
from facefusion_ros.sensors.sampling import SamplingLoop
from facefusion_ros.sim.light_chips import colour_temperature, emulate_light_chip

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from facefusion_ros.sensors.chip import Chip, LightReading
    from facefusion_ros.sim.i2c import EmulatedChip
    from facefusion_ros.sim.world import World

_RECENT = 32


class AmbientLight(StageNode):
    """Publishes ``illuminance`` and, with a chip that sees colours, ``colour_temperature``."""

    NAME = 'ambient_light'
    TABLE = (
        BUS,
        Parameter('chip', 'bh1750', 'Light sensor', choices=tuple(LIGHT_CHIPS), fixed=True),
        ADDRESS,
        ACCESS,
        Parameter(
            'rate_hz',
            10.0,
            'Readings per second through a kernel driver; over the bus the chip measures as fast as its range allows',
            'Hz',
            0.1,
            20.0,
            fixed=True,
        ),
        Parameter(
            'frame_id', 'ambient_light_link', 'Frame of the sensor; its x axis points towards the light', fixed=True
        ),
        WORLD,
        WORLD_EPOCH,
    )

    def configure(self) -> None:
        """Make the publishers."""
        self._illuminance = self.advertise(Illuminance, 'illuminance')
        if self.values['chip'] in COLOUR_CHIPS:
            self._colour_temperature = self.advertise(msg.ColourTemperature, 'colour_temperature')
        self._last: LightReading | None = None
        self._stamps_ns: deque[int] = deque(maxlen=_RECENT)

    def activate(self) -> None:
        """Start to read the sensor."""
        values = self.values
        self._bus_load: BusLoad | None = None
        chip: Chip[LightReading]
        if values['access'] == 'iio':
            chip = IioPhotometer(NAMES[values['chip']], period_s=1.0 / values['rate_hz'])
        else:
            bus = open_bus(values, self.while_active, self._emulated)
            self._bus_load = BusLoad(bus)
            chip = LIGHT_CHIPS[values['chip']](bus, values['address'])
        self._stamps_ns.clear()
        self._loop = SamplingLoop(chip, self._deliver)
        self._loop.start()
        self.while_active.callback(self._loop.stop)

    def health(self) -> Health:
        """Say how the sensor is."""
        values: dict[str, object] = {}
        if self._last is not None:
            values['lux'] = f'{self._last.lux:.1f}'
            if self._last.cct_k is not None:
                values['colour temperature K'] = f'{self._last.cct_k:.0f}'
        stamps_ns = list(self._stamps_ns)
        if len(stamps_ns) > 2:
            steps_s = np.diff(stamps_ns) * 1e-9
            values['rate Hz'] = f'{1.0 / steps_s.mean():.2f}'
            values['stamp jitter ms'] = f'{steps_s.std() * 1e3:.1f}'
        load = self._bus_load.measure() if self._bus_load is not None else 0.0
        if self._bus_load is not None:
            values['bus load'] = f'{load:.1%}'
        health = sampling_health(self._loop.health, self._loop.counters, values)
        slow = too_slow('light sensor', load)
        return replace(health, level=WARN, message=slow) if slow and health.level == OK else health

    def _emulated(self, world: World, world_time: Callable[[float], float]) -> EmulatedChip:
        def cct_k(t_s: float) -> float:
            _, warmth = world.light.at(np.asarray(world_time(t_s)), world.period_s)
            return colour_temperature(float(warmth))

        return emulate_light_chip(
            self.values['chip'], lambda t_s: world.lux(world_time(t_s)), cct_k, self.values['address']
        )

    def _deliver(self, readings: Sequence[LightReading]) -> None:
        for reading in readings:
            self._last = reading
            self._stamps_ns.append(reading.stamp_ns)
            header = to_header(reading.stamp_ns, self.values['frame_id'])
            self._illuminance.publish(Illuminance(header=header, illuminance=reading.lux, variance=reading.variance))
            if reading.cct_k is not None:
                self._colour_temperature.publish(
                    msg.ColourTemperature(header=header, kelvin=reading.cct_k, variance=reading.cct_variance)
                )


def main() -> int:
    """Run the node alone."""
    return run(AmbientLight)
