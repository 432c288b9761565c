import numpy as np
import pytest
from smbus2 import SMBus, i2c_msg

from facefusion_ros.sim.i2c import EmulatedAdapter
from facefusion_ros.sim.world import World, load_world


@pytest.fixture(scope='session')
def head() -> World:
    return load_world('head')


@pytest.fixture(scope='session')
def still() -> World:
    return load_world('still')


@pytest.fixture
def picture(head):
    return np.empty((head.camera.height, head.camera.width, 3), np.uint8)


class ChipOnBus:
    """A chip on a bus, perhaps a bad one, spoken to with smbus2; time passes when told."""

    def __init__(self, emulate, *args, troubles=(), **options):
        self.now_s = 0.0
        self.chip = emulate(*args, clock=self.clock, **options)
        self.adapter = EmulatedAdapter(90, [self.chip], troubles, clock=self.clock)

    def clock(self):
        return round(self.now_s * 1e9)

    def __enter__(self):
        self.adapter.install()
        self.bus = SMBus(90)
        return self

    def __exit__(self, *_):
        self.bus.close()
        self.adapter.remove()

    def wait(self, seconds):
        self.now_s += seconds

    def set(self, *data):
        self.bus.i2c_rdwr(i2c_msg.write(self.chip.address, data))

    def get(self, register, length=1):
        message = i2c_msg.read(self.chip.address, length)
        self.bus.i2c_rdwr(i2c_msg.write(self.chip.address, [register]), message)
        return bytes(message)


@pytest.fixture(scope='session')
def chip_on_bus():
    """The class of benches for one chip; each module's own adds what is peculiar to its chips."""
    return ChipOnBus
