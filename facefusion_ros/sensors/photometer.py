"""What all light sensors with registers have in common: one measurement after the other, in the range that suits.

A measurement is begun by writing all registers that bear upon it, so that every one starts from a known state at a
known time; it is collected when it must have ended, and believed only if the registers still hold what was written.
A chip is a table of its registers and ranges, and a function from its counts to lux.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from facefusion_ros.sensors.bus import ChipReset, Saturated, SensorError, SettingsLost, Stalled, WrongIdentity
from facefusion_ros.sensors.chip import LightReading
from facefusion_ros.sensors.light_range import choose_range

if TYPE_CHECKING:
    from facefusion_ros.sensors.bus import Bus
    from facefusion_ros.sensors.chip import Clock
    from facefusion_ros.sensors.light_range import Range, Settings

_POLL_S = 0.004
_STALLED_AFTER = 2.0
_SLOWEST_AFTER_CHANGE = 2.0
_LOST_AFTER_S = 1.0
_FEW_COUNTS = 2
_COARSE_COUNTS = 64
"""Up to here rounding is some per cent of a count, and more of what is computed of several."""
_SAME, _SAME_STEPS = 0.1, 4.0
"""How far counts of the same light in two ranges may be apart: a part of them, and steps of rounding and noise."""


@dataclass(frozen=True, slots=True)
class Light:
    """What the counts of one measurement mean."""

    lux: float
    variance: float
    cct_k: float | None = None
    cct_variance: float = 0.0


@dataclass(frozen=True, slots=True)
class Doubted:
    """A reading that may be an old one."""

    reading: LightReading
    count: int
    used: Range


class Photometer(ABC):
    """A light sensor with registers, measured with once at a time.

    :param address: I2C address; 0 for the chip's usual one.
    :param clock: nanoseconds, for stamps.
    """

    NAME: ClassVar[str]
    ADDRESS: ClassVar[int]
    RANGES: ClassVar[tuple[Range, ...]]
    """From sensitive to insensitive; the last is never stayed in."""
    FIRST_RANGE: ClassVar[int] = 1
    COMMAND: ClassVar[int] = 0
    """Bits that go with a register's number."""
    WIDTH: ClassVar[int] = 2
    """Bytes of a register."""
    ORDER: ClassVar[Literal['little', 'big']] = 'little'
    IDENTITY: ClassVar[tuple[tuple[int, tuple[int, ...]], ...]] = ()
    """Registers that say which chip it is, and what they may hold."""
    RESET: ClassVar[Settings] = ()
    """What registers hold after power-on; 0, where a register is not named."""
    CHECKED: ClassVar[Settings] = ()
    """Bits of a register that stay as written; all, where a register is not named."""
    READY: ClassVar[tuple[int, int, int] | None] = None
    """Register, and what its bits (mask and value) hold when a measurement has ended; None where nothing tells."""
    DATA: ClassVar[tuple[tuple[int, int], ...]]
    """First registers of the result and numbers of bytes to read there."""
    SLEEP: ClassVar[Settings]
    """Puts the chip to sleep."""
    WAKE_S: ClassVar[float] = 0.0
    """From beginning a measurement to the beginning of its integration."""
    POWER_UP_S: ClassVar[float] = 0.005
    """From ``start`` to the first measurement."""
    SLOWEST: ClassVar[float] = 1.0
    """How much longer than nominal an integration may take, where nothing tells its end."""
    ONE_SHOT: ClassVar[bool] = False
    """Whether the chip stops by itself after a measurement."""

    def __init__(self, bus: Bus, address: int = 0, *, clock: Clock = time.time_ns) -> None:
        self._bus = bus
        self._address = address or self.ADDRESS
        self._clock = clock
        self._index = self.FIRST_RANGE
        self._begun_ns = 0
        self._due_ns = 0
        self._wait_s = 0.0
        self._measuring = False
        self._settled = False
        self._last = b''
        self._doubted: Doubted | None = None
        self._suspect = False
        self._next = self._index

    @abstractmethod
    def _light(self, data: bytes, used: Range) -> Light:
        """Return what the result's bytes mean; raises Saturated where it means nothing beyond a count that is full."""

    @abstractmethod
    def _greatest(self, data: bytes) -> int:
        """Return the greatest count in the result's bytes."""

    def _other_range(self, data: bytes) -> int:  # noqa: ARG002 - for chips that need to know
        """Return a range in which the light that gave this result gives another, and none that is full."""
        return self._index + 1

    def _step(self, used: Range, count: int) -> float:  # noqa: ARG002 - for chips whose counts are not all alike
        """Return the difference between a count and the next in a range."""
        return 1.0

    @property
    def range(self) -> Range:
        """The range in use."""
        return self.RANGES[self._index]

    @property
    def period_s(self) -> float:
        """Seconds until the measurement may have ended."""
        return min(max(0.0, (self._due_ns - self._clock()) * 1e-9), max(self._wait_s, self.POWER_UP_S))

    def start(self) -> None:
        """Find the chip by its identity, if it has one, and switch it on."""
        self._measuring = False
        self._bus.open()
        self._bus.claim(self._address)
        self._identify()
        self._index = self._next = self.FIRST_RANGE
        self._settled = False
        self._due_ns = 0
        for register, value in self.range.before:
            self._write(register, value)
        self._due_ns = self._clock() + round(self.POWER_UP_S * 1e9)

    def read(self) -> list[LightReading]:
        """Return the reading of the measurement that has ended, if one has, and begin the next."""
        now_ns = self._clock()
        if not self._measuring:
            if 0 < self._due_ns - now_ns < _LOST_AFTER_S * 1e9:
                return []
            self._begin()
            return []
        elapsed_s = (now_ns - self._begun_ns) * 1e-9
        if not 0.0 <= elapsed_s < self._wait_s + _LOST_AFTER_S:  # the clock was set, or the machine slept
            self._begin()
            return []
        if now_ns < self._due_ns:
            return []
        if self.READY is not None and not self._ready():
            if elapsed_s > _STALLED_AFTER * self._wait_s:
                self._check()
                self._measuring = False
                raise Stalled(f'the {self.NAME} at {self._where} does not finish its measurement: check its supply')
            self._due_ns = now_ns + round(_POLL_S * 1e9)
            return []
        data = self._read(*self.DATA)
        self._check()
        return self._collected(data, self._middle_ns(elapsed_s))

    def close(self) -> None:
        """Put the chip to sleep if it still answers, and close the bus."""
        self._measuring = False
        with suppress(SensorError):
            for register, value in self.SLEEP:
                self._write(register, value)
        self._bus.close()

    def _collected(self, data: bytes, middle_ns: int) -> list[LightReading]:
        used, greatest = self.range, self._greatest(data)
        doubted, self._doubted = self._doubted, None
        repeated, self._last = data == self._last, data
        if doubted is not None:
            confirmed = not repeated and self._confirms(greatest, used, doubted)
            self._begin()  # in the range of the reading that was doubted
            self._suspect = repeated  # unless the light has just changed by as much as the ranges differ
            return [doubted.reading] if confirmed else []
        suspect, self._suspect = self._suspect, False
        if suspect and repeated:
            self._measuring = False
            raise Stalled(f'the {self.NAME} at {self._where} always shows the same: it measures no more')
        if greatest >= used.full_count:
            return self._saturated()
        self._next = choose_range(self.RANGES, greatest, self._index)
        if greatest <= _COARSE_COUNTS and self._next < self._index:  # the chip can do better
            self._begin()
            return []
        light = self._light(data, used)
        reading = LightReading(middle_ns, light.lux, light.variance, light.cct_k, light.cct_variance)
        if repeated and greatest > _FEW_COUNTS:
            # Perhaps the light is the same to a count, perhaps the chip has stopped: another range must tell.
            self._begin(self._other_range(data))
            self._doubted = Doubted(reading, greatest, used)
            return []
        self._begin()
        return [reading]

    def _confirms(self, count: int, used: Range, doubted: Doubted) -> bool:
        """Tell whether a count in another range is of the same light."""
        ratio = used.sensitivity / doubted.used.sensitivity
        steps = self._step(used, count) + ratio * self._step(doubted.used, doubted.count)
        near = abs(count - ratio * doubted.count) <= _SAME * ratio * doubted.count + _SAME_STEPS * steps
        return near and count < used.full_count

    def _saturated(self) -> list[LightReading]:
        least_sensitive = max(index for index, each in enumerate(self.RANGES) if each.low < float('inf'))
        if self._index != least_sensitive:
            self._next = least_sensitive
            self._begin()
            return []
        self._begin()
        raise Saturated(
            f'too bright for the {self.NAME} at {self._where}: shade the light sensor or put a diffuser over it'
        )

    def _begin(self, index: int | None = None) -> None:
        """Begin a measurement in a range, or in the one chosen."""
        self._measuring = False
        self._doubted = None
        index = self._next if index is None else index
        if index != self._index:
            self._settled = False
            self._index = index
        for register, value in self.range.before:
            self._write(register, value)
        if not any(self._written().values()):  # as registers read that do not exist: what stands there before tells
            self._check(dict(self.range.before))
        for register, value in self.range.begin:
            self._write(register, value)
        self._begun_ns = self._clock()
        self._check()
        if self.READY is not None and self._ready():
            raise SettingsLost(
                f'the {self.NAME} at {self._where} does not begin to measure: check cable length, pull-ups and supply'
            )
        # Where nothing tells, what another range gave must not be taken for the result, however slow the chip is.
        slowest = _SLOWEST_AFTER_CHANGE if self.READY is None and not self._settled else self.SLOWEST
        self._wait_s = self.WAKE_S + slowest * self.range.integration_s
        self._due_ns = self._begun_ns + round(self._wait_s * 1e9)
        self._settled = True
        self._measuring = True

    def _middle_ns(self, elapsed_s: float) -> int:
        integration_s = self.range.integration_s
        ended = 1 if self.ONE_SHOT else max(1, int((elapsed_s - self.WAKE_S) / integration_s))
        return self._begun_ns + round((self.WAKE_S + (ended - 0.5) * integration_s) * 1e9)

    def _identify(self) -> None:
        for register, expected in self.IDENTITY:
            found = int.from_bytes(self._read((register, self.WIDTH)), self.ORDER)
            if found not in expected:
                raise WrongIdentity(
                    f'the chip at {self._where} is no {self.NAME}: register {register:#04x} is {found:#x} and not '
                    f'{" or ".join(hex(each) for each in expected)}; check the parameters chip and address'
                )

    def _ready(self) -> bool:
        if self.READY is None:
            return True
        register, mask, ended = self.READY
        answer = self._bus.write_read(self._address, (self.COMMAND | register,), self.WIDTH)
        return int.from_bytes(answer, self.ORDER) & mask == ended

    def _written(self) -> dict[int, int]:
        """Return what the registers hold while the chip measures."""
        return dict((*self.range.before, *self.range.begin))

    def _check(self, written: dict[int, int] | None = None) -> None:
        """Compare the registers with what was written; raises ChipReset or SettingsLost."""
        for register, value in (self._written() if written is None else written).items():
            bits = dict(self.CHECKED).get(register, -1)
            found = int.from_bytes(self._read((register, self.WIDTH)), self.ORDER)
            if (found ^ value) & bits:
                self._measuring = False
                what = f'register {register:#04x} of the {self.NAME} at {self._where} is {found:#x} and not {value:#x}'
                if found == dict(self.RESET).get(register, 0):
                    raise ChipReset(f'{what}: the chip has been reset, check its supply')
                raise SettingsLost(f'{what}: check cable length, pull-ups and supply')

    @property
    def _where(self) -> str:
        return f'{self._address:#04x} on {self._bus.path}'

    def _write(self, register: int, value: int) -> None:
        data = bytes((self.COMMAND | register,)) + value.to_bytes(self.WIDTH, self.ORDER)
        self._bus.write(self._address, data, tries=2)

    def _read(self, *registers: tuple[int, int]) -> bytes:
        questions = ((bytes((self.COMMAND | register,)), length) for register, length in registers)
        return self._bus.read_surely(self._address, *questions)
