"""The I2C bus as a driver sees it, and what can be wrong with it."""

from __future__ import annotations

import errno
import os
import re
import time
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smbus2 import I2cFunc, SMBus, i2c_msg

from facefusion_ros.errors import FacefusionError

if TYPE_CHECKING:
    from collections.abc import Sequence

SYSFS_DEVICES = Path('/sys/bus/i2c/devices')
_BUSY_TRIES = 4
_GONE = (errno.ENODEV, errno.ENOTTY, errno.EBADF, errno.ESHUTDOWN)
_AGREEING, _MOST_DISAGREEING = 3, 3


class Remedy(Enum):
    """What helps against a sensor error."""

    RETRY_NOW = 'retry now'
    """The next read is likely to work; the chip needs nothing."""
    BACK_OFF = 'back off'
    """The chip or its bus is in doubt: a few more reads, then a restart, then ever longer pauses."""
    RESTART = 'restart'
    """The chip has lost its settings: no more reads, start it again."""
    FATAL = 'fatal'
    """A person has to mend something; trying again rarely is enough."""


class SensorError(FacefusionError):
    """Something between this process and a reading; ``remedy`` says what helps, the class name what it was."""

    remedy = Remedy.BACK_OFF


class NoBus(SensorError):
    """The bus has no device node."""

    remedy = Remedy.FATAL


class BusForbidden(SensorError):
    """This user may not open the bus."""

    remedy = Remedy.FATAL


class BusUnfit(SensorError):
    """The device node is not an I2C bus, or its adapter cannot do plain I2C transfers."""

    remedy = Remedy.FATAL


class KernelOwnsChip(SensorError):
    """A kernel driver talks to the chip already."""

    remedy = Remedy.FATAL


class WrongIdentity(SensorError):
    """Another chip than the expected one answers."""

    remedy = Remedy.FATAL


class NobodyAnswers(SensorError):
    """No chip acknowledges the address."""


class TransferFailed(SensorError):
    """A transfer began and went wrong."""


class BusBusy(SensorError):
    """Another master kept winning the bus."""

    remedy = Remedy.RETRY_NOW


class ChipReset(SensorError):
    """The chip fell back to its power-on state by itself."""

    remedy = Remedy.RESTART


class SettingsLost(SensorError):
    """A register does not hold what was written to it, or the chip has stopped measuring."""

    remedy = Remedy.RESTART


class Stalled(SensorError):
    """The chip answers and has its settings, but measures no more."""

    remedy = Remedy.RESTART


class Garbled(SensorError):
    """The same question is answered differently each time."""


class Overrun(SensorError):
    """The chip's buffer ran full before it was read; the readings in it are lost."""

    remedy = Remedy.RETRY_NOW


class Saturated(SensorError):
    """The quantity is beyond the chip's largest range; there is no number to publish."""

    remedy = Remedy.RETRY_NOW


_REMEDY_OF = {
    errno.EAGAIN: Remedy.RETRY_NOW,
    errno.EACCES: Remedy.FATAL,
    errno.EPERM: Remedy.FATAL,
    errno.ENOENT: Remedy.FATAL,
    errno.EOPNOTSUPP: Remedy.FATAL,
    errno.ENOTTY: Remedy.FATAL,
    errno.EINVAL: Remedy.FATAL,
}


def remedy_for(error: OSError) -> Remedy:
    """Tell by the errno what helps against a failed bus operation.

    Source of the meanings: Linux Documentation/i2c/fault-codes.rst. EBUSY is a stuck bus here, not a bound driver:
    only I2C_SLAVE reports those so, and transfers go by I2C_RDWR.
    """
    return _REMEDY_OF.get(error.errno or 0, Remedy.BACK_OFF)


class Bus:
    """One I2C bus, opened when first needed and opened again after it went away.

    Used by one thread; chips that share a bus each have their own Bus, the kernel keeps their transfers apart.

    :param bus: number of the bus, or the path of its device node, such as 1 or '/dev/i2c-1'.
    :param sysfs: where the kernel lists its I2C devices.
    """

    def __init__(self, bus: int | str, *, sysfs: Path = SYSFS_DEVICES) -> None:
        self.path = f'/dev/i2c-{bus}' if isinstance(bus, int) else bus
        self._sysfs = sysfs
        self._smbus: Any = None
        self._busy_ns = 0

    @property
    def busy_s(self) -> float:
        """Seconds spent in transfers so far; while they last, nothing else can use the wires."""
        return self._busy_ns * 1e-9

    def open(self) -> None:
        """Open the bus if it is not open; raises NoBus, BusForbidden or BusUnfit."""
        if self._smbus is not None:
            return
        smbus = SMBus()
        try:
            smbus.open(self.path)
        except OSError as error:
            smbus.close()
            raise self._cannot_open(error) from error
        if not smbus.funcs & I2cFunc.I2C:
            smbus.close()
            raise BusUnfit(f'{self.path} can only do SMBus transfers and this driver needs plain I2C: use another bus')
        self._smbus = smbus

    def close(self) -> None:
        """Close the bus; a later transfer opens it again."""
        smbus, self._smbus = self._smbus, None
        if smbus is not None:
            smbus.close()

    def claim(self, address: int) -> None:
        """Make sure that no kernel driver talks to the chip at this address; raises KernelOwnsChip.

        The kernel itself refuses only the I2C_SLAVE ioctl for such a chip, not the I2C_RDWR used here
        (Linux drivers/i2c/i2c-dev.c).
        """
        number = re.fullmatch(r'.*i2c-(\d+)', os.path.realpath(self.path))
        if number is None:
            return
        device = f'{number[1]}-{address:04x}'
        driver = self._sysfs / device / 'driver'
        if driver.exists():
            raise KernelOwnsChip(
                f'the kernel driver {driver.resolve().name!r} owns the chip at {address:#04x} on {self.path}: '
                f"read it through IIO (access: iio), or free it with 'echo {device} | sudo tee {driver}/unbind'"
            )

    def write(self, address: int, data: Sequence[int] | bytes, *, tries: int = 1) -> None:
        """Write bytes in one transfer; raises SensorError.

        :param tries: how often to try, where it does no harm if the chip takes the bytes each time.
        """
        self._transfer(address, i2c_msg.write(address, data), tries=tries)

    def read(self, address: int, length: int, *, tries: int = 1) -> bytes:
        """Read bytes without writing any before; raises SensorError; ``tries`` as for ``write_read``."""
        answer = i2c_msg.read(address, length)
        self._transfer(address, answer, tries=tries)
        return bytes(answer)

    def write_read(self, address: int, data: Sequence[int] | bytes, length: int, *, tries: int = 1) -> bytes:
        """Write, then read after a repeated start, as one transfer; raises SensorError.

        :param tries: how often to try, where it does no harm if the chip gives the bytes each time.
        """
        answer = i2c_msg.read(address, length)
        self._transfer(address, i2c_msg.write(address, data), answer, tries=tries)
        return bytes(answer)

    def read_surely(self, address: int, *questions: tuple[bytes, int]) -> bytes:
        """Write and read, several times, until three answers in a row are the same.

        I2C has no checksum, and a chip may change its registers between two bytes; both show here. Two would not do: a
        register that is asked for by a wrong number may answer the same twice. For chips that are asked for little.

        :param questions: bytes to write, perhaps none, and number of bytes to read then; all are asked again together.
        :return: the bytes of all answers.
        :raises Garbled: the answers do not agree; and SensorError as the others.
        """
        last, same = None, 0
        for _ in range(_AGREEING + _MOST_DISAGREEING):
            answer = b''.join(
                self.write_read(address, data, length, tries=2) if data else self.read(address, length, tries=2)
                for data, length in questions
            )
            same = same + 1 if answer == last else 1
            if same == _AGREEING:
                return answer
            last = answer
        raise Garbled(
            f'{address:#04x} on {self.path} answers differently each time: check cable length, pull-ups and bus speed'
        )

    def _transfer(self, address: int, *messages: Any, tries: int = 1) -> None:  # noqa: ANN401 - smbus2 has no types
        self.open()
        for attempt in range(1, max(tries, _BUSY_TRIES) + 1):
            began_ns = time.perf_counter_ns()
            try:
                self._smbus.i2c_rdwr(*messages)
            except OSError as error:
                remedy = remedy_for(error)
                again = {Remedy.RETRY_NOW: _BUSY_TRIES, Remedy.BACK_OFF: tries}.get(remedy, 1)
                if attempt < again and error.errno not in _GONE:
                    continue
                raise self._transfer_failed(address, error) from error
            finally:
                self._busy_ns += time.perf_counter_ns() - began_ns
            return

    def _cannot_open(self, error: OSError) -> SensorError:
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
            present = list_buses(Path(self.path).parent)
            choice = f'choose one of {", ".join(present)}' if present else "switch I2C on, then 'sudo modprobe i2c-dev'"
            return NoBus(f'there is no I2C bus {self.path}: {choice}')
        if error.errno in (errno.EACCES, errno.EPERM):
            return BusForbidden(
                f"no permission to use {self.path}: 'sudo usermod -aG i2c $USER' and log in again, or run as that group"
            )
        return BusUnfit(f'{self.path} is not an I2C bus ({error.strerror}): give its number or /dev/i2c-N')

    def _transfer_failed(self, address: int, error: OSError) -> SensorError:
        where = f'{address:#04x} on {self.path}'
        if error.errno in (errno.ENXIO, errno.EREMOTEIO):
            number = self.path.rpartition('-')[2]
            return NobodyAnswers(
                f"nobody answers at address {where}: check power, wiring and the address pin; 'i2cdetect -y {number}' "
                'lists who answers'
            )
        if error.errno in _GONE:
            self.close()  # the adapter is gone: an open descriptor does not come back to life
            return NoBus(f'the I2C bus {self.path} has gone away: plug its adapter in again')
        if remedy_for(error) is Remedy.RETRY_NOW:
            return BusBusy(f'the bus is busy, no transfer with {where}: look for a second master on it')
        if error.errno == errno.EOPNOTSUPP:
            return BusUnfit(f'the adapter refuses a plain I2C transfer with {where}: use another bus')
        # An adapter that was pulled out says no more than this, and the kernel neither lets go of it nor takes another
        # while a descriptor is open (Linux drivers/i2c/i2c-core-base.c, i2c_del_adapter).
        self.close()
        return TransferFailed(
            f'a transfer with {where} failed ({error.strerror}): check cable length, pull-ups and bus speed'
        )


def open_bus(bus: int | str) -> Bus:
    """Open a bus by its number or path; raises NoBus, BusForbidden or BusUnfit."""
    opened = Bus(bus)
    opened.open()
    return opened


def list_buses(directory: Path = Path('/dev')) -> list[str]:
    """List the paths of the I2C device nodes there are, by number."""
    numbers = sorted(int(node.name[4:]) for node in directory.glob('i2c-*') if node.name[4:].isdigit())
    return [f'{directory}/i2c-{number}' for number in numbers]
