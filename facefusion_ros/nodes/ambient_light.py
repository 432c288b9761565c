"""The light sensor: reads a BH1750 over I2C and publishes illuminance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sensor_msgs.msg import Illuminance

from facefusion_ros.ros.messages import to_header
from facefusion_ros.ros.parameters import Parameter
from facefusion_ros.ros.run import run
from facefusion_ros.ros.simulation import BUS, WORLD, WORLD_EPOCH, open_bus
from facefusion_ros.ros.stage import Health, StageNode, sampling_health
from facefusion_ros.sensors.bh1750 import Bh1750
from facefusion_ros.sensors.sampling import SamplingLoop
from facefusion_ros.sim.bh1750 import EmulatedBh1750

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facefusion_ros.sensors.chip import LightReading


class AmbientLight(StageNode):
    """Publishes ``illuminance``."""

    NAME = 'ambient_light'
    TABLE = (
        BUS,
        Parameter('address', 0x23, 'I2C address: 0x23, or 0x5C with the ADDR pin high', '', 0x03, 0x77, fixed=True),
        Parameter(
            'frame_id', 'ambient_light_link', 'Frame of the sensor; its x axis points towards the light', fixed=True
        ),
        WORLD,
        WORLD_EPOCH,
    )

    def configure(self) -> None:
        """Make the publisher."""
        self._illuminance = self.advertise(Illuminance, 'illuminance')
        self._lux = float('nan')

    def activate(self) -> None:
        """Start to read the sensor."""
        address: int = self.values['address']
        bus = open_bus(
            self.values,
            self.while_active,
            lambda world, time: EmulatedBh1750(lambda t_s: world.lux(time(t_s)), address=address),
        )
        self._loop = SamplingLoop(Bh1750(bus, address), self._deliver)
        self._loop.start()
        self.while_active.callback(self._loop.stop)

    def health(self) -> Health:
        """Say how the sensor is."""
        return sampling_health(self._loop.health, self._loop.counters, {'lux': f'{self._lux:.1f}'})

    def _deliver(self, readings: Sequence[LightReading]) -> None:
        for reading in readings:
            self._lux = reading.lux
            header = to_header(reading.stamp_ns, self.values['frame_id'])
            self._illuminance.publish(Illuminance(header=header, illuminance=reading.lux, variance=reading.variance))


def main() -> int:
    """Run the node alone."""
    return run(AmbientLight)
