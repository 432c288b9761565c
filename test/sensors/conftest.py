"""A clock that only moves when told, and one life of a driver on an emulated bus."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from facefusion_ros.sensors import motion_chips
from facefusion_ros.sensors.bus import Bus
from facefusion_ros.sim.i2c import EmulatedAdapter
from facefusion_ros.sim.motion_chips import emulate_motion_chip

BUS = 90
UP = (0.0, 0.0, 9.80665)

# All that Adafruit's drivers need of CircuitPython; Blinka, which has it too, would bring half a dozen libraries along.
for module, names in {
    'micropython': {'const': lambda value: value},
    'busio': {'I2C': object},
    'circuitpython_typing': {'ReadableBuffer': bytes, 'WriteableBuffer': bytearray},
    'circuitpython_typing.device_drivers': {'I2CDeviceDriver': object},
}.items():
    sys.modules.setdefault(module, types.SimpleNamespace(**names))


class ManualClock:
    """Nanoseconds that pass when somebody sleeps; starts at a date of these years, as time.time_ns does."""

    START_NS = 1_700_000_000_000_000_000

    def __init__(self):
        self.now_ns = self.START_NS

    def __call__(self):
        return self.now_ns

    @property
    def elapsed_s(self):
        return (self.now_ns - self.START_NS) * 1e-9

    def since_start(self, time_s):
        """Seconds since the start of a time in seconds of the clock."""
        return time_s - self.START_NS * 1e-9

    def sleep(self, seconds):
        self.now_ns += round(seconds * 1e9)


@pytest.fixture(scope='session')
def make_clock():
    return ManualClock


@pytest.fixture(scope='session')
def read_for():
    """Read a chip at its own pace for a time; the list of lists it gave."""

    def read(chip, clock, seconds, late_s=lambda: 0.0):
        given = []
        end_s = clock.elapsed_s + seconds
        due_s = clock.elapsed_s
        while clock.elapsed_s < end_s:
            due_s = max(due_s + chip.period_s, clock.elapsed_s)
            clock.sleep(max(0.0, due_s + late_s() - clock.elapsed_s))
            given.append(list(chip.read()))
        return given

    return read


MOTION_CHIPS = ('mpu6050', 'mpu6500', 'mpu9250', 'icm20948', 'lsm6dso', 'bmi088', 'bmi160', 'bmi270')


class MotionWorld:
    """A motion chip and its driver, moved as a function of seconds since the start."""

    def __init__(self, chip, omega, force=lambda _: UP, settings=None, faults=(), driver_of=None, **options):
        program = bytes(range(256)) * 32
        Path('program').write_bytes(program)
        self.clock = ManualClock()
        since = self.clock.since_start
        self.chip = emulate_motion_chip(
            chip,
            lambda time_s: omega(since(time_s)),
            lambda time_s: force(since(time_s)),
            clock=self.clock,
            program=program,
            **options,
        )
        self.adapter = EmulatedAdapter(BUS, [self.chip], faults, clock=self.clock)
        name = driver_of or chip
        firmware = {'firmware': 'program'} if name == 'bmi270' else {}
        self.driver = motion_chips.MOTION_CHIPS[name](
            Bus(BUS), 0, settings, clock=self.clock, sleep=self.clock.sleep, **firmware
        )

    def __enter__(self):
        self.adapter.install()
        return self

    def __exit__(self, *_):
        self.driver.close()
        self.adapter.remove()


@pytest.fixture(params=MOTION_CHIPS)
def motion_chip(request):
    """The name of each motion chip."""
    return request.param


@pytest.fixture(scope='session')
def motion_world():
    return MotionWorld


class BusIo:
    """What CircuitPython calls ``busio.I2C``, on an emulated adapter."""

    def __init__(self, adapter):
        self.adapter = adapter

    def try_lock(self):
        return True

    def unlock(self):
        pass

    def writeto(self, address, buffer, *, start=0, end=None):
        self.adapter.transact([(address, bytes(buffer[start:end]))])

    def readfrom_into(self, address, buffer, *, start=0, end=None):
        length = len(buffer[start:end])
        buffer[start : start + length] = self.adapter.transact([(address, length)])[-1]

    def writeto_then_readfrom(
        self, address, out_buffer, in_buffer, *, out_start=0, out_end=None, in_start=0, in_end=None
    ):
        length = len(in_buffer[in_start:in_end])
        out = bytes(out_buffer[out_start:out_end])
        in_buffer[in_start : in_start + length] = self.adapter.transact([(address, out), (address, length)])[-1]


@pytest.fixture(scope='session')
def theirs():
    """Make the bus on which a driver of CircuitPython finds a chip."""

    def make(clock, chip):
        return BusIo(EmulatedAdapter(BUS, [chip], clock=clock))

    return make
