"""Parameters by which nodes reach a chip, on a bus or in the simulated world that they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from facefusion_ros.ros.parameters import Parameter
from facefusion_ros.sensors.bus import Bus
from facefusion_ros.sim.i2c import EmulatedAdapter
from facefusion_ros.sim.world import World, load_world

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import ExitStack

    from facefusion_ros.sim.i2c import EmulatedChip

SIM = 'sim'
EMULATED_BUS = '/dev/i2c-facefusion-sim'

WORLD = Parameter('world', 'head', 'Simulated world: a name from config/worlds or the path of a YAML file', fixed=True)
WORLD_EPOCH = Parameter(
    'world_epoch_ns',
    0,
    'Time of the ROS clock at which the simulated world begins; the same for all nodes',
    'ns',
    fixed=True,
)
BUS = Parameter(
    'bus', SIM, "I2C bus: a number, a device node such as /dev/i2c-1, or 'sim' for the simulated world", fixed=True
)

ADDRESS = Parameter('address', 0, "I2C address; 0 for the chip's usual one", '', 0, 0x77, fixed=True)
ACCESS = Parameter(
    'access',
    'i2c',
    'How the chip is reached: i2c, over the bus; iio, through its kernel driver',
    choices=('i2c', 'iio'),
    fixed=True,
)


def open_bus(
    values: Mapping[str, Any],
    while_active: ExitStack,
    chip_in: Callable[[World, Callable[[float], float]], EmulatedChip],
) -> Bus:
    """Return the bus that the parameters name; for the simulated one, put the chip on it while the node is active.

    ``chip_in`` makes the emulated chip from the world and a function from seconds of the clock to seconds of the world.
    """
    bus: str = values['bus']
    if bus != SIM:
        return Bus(int(bus) if bus.isdigit() else bus)
    world, epoch_ns = load_world(values['world']), int(values['world_epoch_ns'])

    def world_time(clock_s: float) -> float:
        return world.time_s(round(clock_s * 1e9), epoch_ns)

    while_active.enter_context(EmulatedAdapter(EMULATED_BUS, [chip_in(world, world_time)]))
    return Bus(EMULATED_BUS)
