"""An I2C adapter without hardware: it stands where the kernel would be for smbus2.

smbus2 opens a device node and speaks to it by ioctl. Those two calls are answered here for the paths of installed
adapters, and passed to the real kernel for all others, so that unmodified smbus2 and the drivers above it run with
their real packing, byte order and errors.

Sources: Linux Documentation/i2c/dev-interface.rst, smbus-protocol.rst and fault-codes.rst; include/uapi/linux/i2c.h
and i2c-dev.h; drivers/i2c/i2c-core-smbus.c for SMBus commands on an adapter that only knows plain I2C.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
import time
from dataclasses import dataclass, replace
from fcntl import ioctl as kernel_ioctl
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import smbus2.smbus2 as seam

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from typing_extensions import Self

    Clock: TypeAlias = Callable[[], int]
    """Gives the time in nanoseconds."""
    Onward: TypeAlias = Callable[['Message', 'EmulatedChip | None'], bytes]
    """Carries a message on towards a chip and returns its answer."""

_MOST_MESSAGES = 42
_LONGEST_MESSAGE = 8192
_ADAPTER_FUNCTIONS = int(seam.I2cFunc.I2C) | int(seam.I2cFunc.SMBUS_EMUL) & ~int(seam.I2cFunc.SMBUS_PEC)


class EmulatedChip(Protocol):
    """A chip on the emulated bus; it simulates itself up to the time of its clock whenever it is spoken to."""

    @property
    def address(self) -> int:
        """7-bit address it acknowledges."""

    def write(self, data: bytes) -> None:
        """Take the bytes of one write transfer; OSError for a byte that is not acknowledged."""

    def read(self, length: int) -> bytes:
        """Give the bytes of one read transfer, exactly that many."""

    def power_cycle(self) -> None:
        """Lose power for a moment: everything is as after switching on."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a transaction on the wire: a write, or a read."""

    transaction: int
    """Number of the transaction on its adapter, from 0."""
    time_s: float
    """Seconds of the adapter's clock."""
    address: int
    data: bytes = b''
    """What is written."""
    length: int = 0
    """How many bytes are read; 0 for a write."""
    asked: bytes = b''
    """What was written before, for a read in the same transaction."""
    last_answer: bytes | None = None
    """What a read got the last time after the same question."""

    def replaced(self, *, data: bytes) -> Message:
        """Return the message with other data."""
        return replace(self, data=data)


class Trouble(Protocol):
    """Something that goes wrong on the bus; see ``sim.faults``."""

    def carry(self, message: Message, chip: EmulatedChip | None, onward: Onward) -> bytes:
        """Carry a message to the chip by ``onward`` and return its answer; or do so wrongly, or not at all.

        :param chip: the chip that has the message's address; None where there is none.
        :raises OSError: the transfer fails.
        """


class EmulatedAdapter:
    """An I2C bus with emulated chips, present as ``/dev/i2c-N`` for smbus2 in this process while it is installed.

    Safe for use by many threads: one transaction at a time, as on the wire.

    :param bus: a free bus number, or a path that names no real device node.
    :param chips: what is wired to it.
    :param faults: what goes wrong, see ``sim.faults``; may be added to at any time.
    :param clock: the same clock as the chips have.
    """

    open_errno: int = 0
    """Errno with which the device node refuses to be opened, such as EACCES; 0 lets it be."""
    owned: frozenset[int] = frozenset()
    """Addresses whose chips kernel drivers own: I2C_SLAVE refuses them with EBUSY, and only that."""

    def __init__(
        self,
        bus: int | str,
        chips: Iterable[EmulatedChip] = (),
        faults: Iterable[Trouble] = (),
        *,
        clock: Clock = time.time_ns,
    ) -> None:
        self.path = f'/dev/i2c-{bus}' if isinstance(bus, int) else bus
        self.faults = list(faults)
        self._chips = {chip.address: chip for chip in chips}
        self._clock = clock
        self._transactions = 0
        self._answers: dict[tuple[int, bytes, int], bytes] = {}
        self._lock = threading.Lock()

    @property
    def transactions(self) -> int:
        """How many transactions there have been."""
        return self._transactions

    def install(self) -> None:
        """Make the bus appear; raises ValueError where its path is taken."""
        _SEAM.add(self)

    def remove(self) -> None:
        """Make the bus disappear; descriptors that are still open answer ENODEV from now on."""
        _SEAM.remove(self)

    def __enter__(self) -> Self:
        self.install()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def transact(self, messages: Iterable[tuple[int, bytes | int]]) -> list[bytes]:
        """Do one transaction and return what was read.

        :param messages: (address, bytes to write or number of bytes to read), in order.
        """
        answers = []
        asked: dict[int, bytes] = {}
        with self._lock:
            number = self._transactions
            self._transactions += 1
            for address, content in messages:
                if isinstance(content, int):
                    question = (address, asked.get(address, b''), content)
                    answer = self._carry(
                        Message(
                            number,
                            self._clock() * 1e-9,
                            address,
                            length=content,
                            asked=question[1],
                            last_answer=self._answers.get(question),
                        )
                    )
                    self._answers[question] = answer
                else:
                    asked[address] = content
                    answer = self._carry(Message(number, self._clock() * 1e-9, address, data=content))
                answers.append(answer)
        return answers

    def _carry(self, message: Message) -> bytes:
        onward = _deliver
        for trouble in reversed(self.faults):
            onward = partial(_troubled, trouble, onward)
        return onward(message, self._chips.get(message.address))


def _troubled(trouble: Trouble, onward: Onward, message: Message, chip: EmulatedChip | None) -> bytes:
    return trouble.carry(message, chip, onward)


def _deliver(message: Message, chip: EmulatedChip | None) -> bytes:
    if chip is None:
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
    if message.length:
        return chip.read(message.length)
    chip.write(message.data)
    return b''


class _Descriptor:
    """What the kernel keeps for one open file of i2c-dev."""

    def __init__(self, adapter: EmulatedAdapter | None) -> None:
        self.adapter = adapter
        self._address = 0

    def ioctl(self, request: int, argument: Any) -> int:  # noqa: ANN401 - a number or a ctypes structure
        adapter = self.adapter
        if adapter is None:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        if request == seam.I2C_SLAVE and argument in adapter.owned:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        if request in (seam.I2C_SLAVE, seam.I2C_SLAVE_FORCE):
            self._address = argument
        elif request == seam.I2C_FUNCS:
            argument.value = _ADAPTER_FUNCTIONS
        elif request == seam.I2C_RDWR:
            _plain_transfer(adapter, argument)
        elif request == seam.I2C_SMBUS:
            _smbus_transfer(adapter, self._address, argument)
        else:
            raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
        return 0


def _plain_transfer(adapter: EmulatedAdapter, argument: Any) -> None:  # noqa: ANN401 - i2c_rdwr_ioctl_data
    messages = [argument.msgs[index] for index in range(argument.nmsgs)]
    if len(messages) > _MOST_MESSAGES or any(message.len > _LONGEST_MESSAGE for message in messages):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    answers = adapter.transact(
        (message.addr, message.len if message.flags & seam.I2C_M_RD else ctypes.string_at(message.buf, message.len))
        for message in messages
    )
    for message, answer in zip(messages, answers, strict=True):
        if message.flags & seam.I2C_M_RD:
            # A master reads on whether or not the chip still drives the wire, which is high when nobody does.
            ctypes.memmove(message.buf, answer.ljust(message.len, b'\xff'), message.len)


def _smbus_transfer(adapter: EmulatedAdapter, address: int, argument: Any) -> None:  # noqa: ANN401 - i2c_smbus_ioctl_data
    reading = argument.read_write == seam.I2C_SMBUS_READ
    command = bytes((argument.command,))
    size = argument.size
    data = argument.data.contents
    write: bytes | None
    length = 0
    if size == seam.I2C_SMBUS_QUICK:
        write = None if reading else b''
    elif size == seam.I2C_SMBUS_BYTE:
        write, length = (None, 1) if reading else (command, 0)
    elif size == seam.I2C_SMBUS_BYTE_DATA:
        write, length = (command, 1) if reading else (command + bytes((data.byte,)), 0)
    elif size == seam.I2C_SMBUS_WORD_DATA:
        write, length = (command, 2) if reading else (command + data.word.to_bytes(2, 'little'), 0)
    elif size == seam.I2C_SMBUS_PROC_CALL:
        write, length = command + data.word.to_bytes(2, 'little'), 2
    elif size == seam.I2C_SMBUS_I2C_BLOCK_DATA:
        count = data.block[0]
        write, length = (command, count) if reading else (command + bytes(data.block[1 : count + 1]), 0)
    elif size == seam.I2C_SMBUS_BLOCK_DATA and not reading:
        write = command + bytes(data.block[: data.block[0] + 1])
    else:
        # A block whose length the chip tells: adapters that emulate SMBus by plain I2C do not have it.
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    messages: list[tuple[int, bytes | int]] = [] if write is None else [(address, write)]
    if length or write is None:
        messages.append((address, length))
    answer = adapter.transact(messages)[-1]
    if size == seam.I2C_SMBUS_I2C_BLOCK_DATA and reading:
        data.block[0] = len(answer)
        data.block[1 : len(answer) + 1] = list(answer)
    elif length == 1:
        data.byte = answer.ljust(1, b'\xff')[0]
    elif length == 2:
        data.word = int.from_bytes(answer.ljust(2, b'\xff'), 'little')


class _Seam:
    """Stands in for ``os`` and ``ioctl`` in the module smbus2.smbus2 while any adapter is installed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._adapters: dict[str, EmulatedAdapter] = {}
        self._descriptors: dict[int, _Descriptor] = {}

    def add(self, adapter: EmulatedAdapter) -> None:
        with self._lock:
            if adapter.path in self._adapters or os.path.lexists(adapter.path):
                raise ValueError(f'{adapter.path} exists already: give the emulated bus another number')
            self._adapters[adapter.path] = adapter
            vars(seam).update(os=self, ioctl=self.ioctl)

    def remove(self, adapter: EmulatedAdapter) -> None:
        with self._lock:
            if self._adapters.get(adapter.path) is adapter:
                del self._adapters[adapter.path]
            for descriptor in self._descriptors.values():
                if descriptor.adapter is adapter:
                    descriptor.adapter = None
            self._restore()

    def open(self, path: str, flags: int) -> int:
        if path not in self._adapters:
            return os.open(path, flags)
        refusal = self._adapters[path].open_errno
        if refusal:
            raise OSError(refusal, os.strerror(refusal), path)
        number = os.open(os.devnull, os.O_RDWR)  # a real number, which no other file can have
        with self._lock:
            adapter = self._adapters.get(path)
            self._descriptors[number] = _Descriptor(adapter)
        return number

    def close(self, number: int) -> None:
        with self._lock:
            self._descriptors.pop(number, None)
            self._restore()
        os.close(number)

    def ioctl(self, number: int, request: int, argument: Any = 0) -> int:  # noqa: ANN401 - as fcntl.ioctl
        descriptor = self._descriptors.get(number)
        if descriptor is None:
            result: int = kernel_ioctl(number, request, argument)
            return result
        return descriptor.ioctl(request, argument)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever os has
        return getattr(os, name)

    def _restore(self) -> None:
        # Open descriptors keep the seam: the kernel would answer for the null device behind them.
        if not self._adapters and not self._descriptors:
            vars(seam).update(os=os, ioctl=kernel_ioctl)


_SEAM = _Seam()
