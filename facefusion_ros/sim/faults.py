"""What goes wrong on an I2C bus, and when: by the clock, by the number of the transaction, or at random.

Sources: Linux Documentation/i2c/fault-codes.rst for the errnos; Documentation/i2c/gpio-fault-injection.rst and field
reports of I2C sensors for the kinds.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from facefusion_ros.sim.i2c import EmulatedChip, Message, Onward, Trouble

    class Scenario(Protocol):
        """Makes what goes wrong from one time to another."""

        def __call__(self, begin_s: float, end_s: float, seed: int = 0) -> Trouble:
            """Make it; times are those of the adapter's clock."""

    Kind: TypeAlias = Callable[[Message, EmulatedChip | None, Onward, Random], bytes]
    """Carries one message, wrongly; its name is the fault's. OSError where the transfer fails."""

_ALWAYS = float('inf')
_SOME = 0.05
"""Part of the transactions."""


def _failure(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def _fails(number: int, name: str) -> Kind:
    def carry(message: Message, chip: EmulatedChip | None, onward: Onward, rng: Random) -> bytes:  # noqa: ARG001 - as all
        raise _failure(number)

    carry.__name__ = name
    return carry


address_nack = _fails(errno.ENXIO, 'address_nack')
"""Nobody acknowledges the address."""
address_nack_of_a_pi = _fails(errno.EREMOTEIO, 'address_nack_of_a_pi')
"""The same, as the Raspberry Pi's adapter tells it."""
arbitration_lost = _fails(errno.EAGAIN, 'arbitration_lost')
"""Another master wins the bus."""
bus_busy = _fails(errno.EBUSY, 'bus_busy')
"""Somebody holds the bus."""
timed_out = _fails(errno.ETIMEDOUT, 'timed_out')
"""A wire is held low, or the chip stretches the clock for longer than the adapter waits."""
adapter_error = _fails(errno.EIO, 'adapter_error')
"""The adapter says only that something went wrong."""


def data_nack(message: Message, chip: EmulatedChip | None, onward: Onward, rng: Random) -> bytes:
    """Let a byte of a write go unacknowledged; the chip has taken those before it."""
    if message.length:
        return onward(message, chip)
    taken = rng.randrange(len(message.data)) if message.data else 0
    if taken:
        onward(message.replaced(data=message.data[:taken]), chip)
    raise _failure(errno.EREMOTEIO)


def timed_out_after_all(message: Message, chip: EmulatedChip | None, onward: Onward, rng: Random) -> bytes:  # noqa: ARG001 - as all
    """Let the transfer fail although the chip has taken the message."""
    onward(message, chip)
    raise _failure(errno.ETIMEDOUT)


def short_answer(message: Message, chip: EmulatedChip | None, onward: Onward, rng: Random) -> bytes:
    """Let the chip go silent before it has answered in full."""
    answer = onward(message, chip)
    return answer[: rng.randrange(len(answer))] if answer else answer


def answer_bit_flipped(message: Message, chip: EmulatedChip | None, onward: Onward, rng: Random) -> bytes:
    """Turn over a bit of what is read; plain I2C has no checksum."""
    return _flipped(onward(message, chip), rng)


def written_bit_flipped(message: Message, chip: EmulatedChip | None, onward: Onward, rng: Random) -> bytes:
    """Let the chip hear a bit otherwise than it was sent."""
    return onward(message.replaced(data=_flipped(message.data, rng)), chip)


def stale_answer(message: Message, chip: EmulatedChip | None, onward: Onward, rng: Random) -> bytes:  # noqa: ARG001 - as all
    """Give the same question the same answer as the last time."""
    return onward(message, chip) if message.last_answer is None else message.last_answer


def power_glitch(message: Message, chip: EmulatedChip | None, onward: Onward, rng: Random) -> bytes:  # noqa: ARG001 - as all
    """Cut the chip's power for a moment without telling anybody."""
    if chip is not None:
        chip.power_cycle()
    return onward(message, chip)


ANY = (
    address_nack,
    address_nack_of_a_pi,
    data_nack,
    arbitration_lost,
    bus_busy,
    timed_out,
    adapter_error,
    timed_out_after_all,
    short_answer,
    answer_bit_flipped,
    written_bit_flipped,
    stale_answer,
    power_glitch,
)
"""The kinds that need to know nothing of the chip."""


def happens(act: Callable[[EmulatedChip], object]) -> Kind:
    """Make a kind of what only this chip can suffer, such as a bank that is lost or a FIFO that runs over."""

    def happens_to_chip(message: Message, chip: EmulatedChip | None, onward: Onward, rng: Random) -> bytes:  # noqa: ARG001 - as all
        if chip is not None:
            act(chip)
        return onward(message, chip)

    return happens_to_chip


def replaced_by(other: EmulatedChip) -> Kind:
    """Make the kind in which another chip answers, as after somebody has changed the wiring."""

    def other_chip(message: Message, chip: EmulatedChip | None, onward: Onward, rng: Random) -> bytes:  # noqa: ARG001 - as all
        return onward(message, other)

    return other_chip


def at_registers(kind: Kind, first_bytes: Iterable[int]) -> Kind:
    """Narrow a kind to the messages about registers: writes that begin so, and reads after such a write."""
    wanted = frozenset(first_bytes)

    def narrowed(message: Message, chip: EmulatedChip | None, onward: Onward, rng: Random) -> bytes:
        about = message.data or message.asked
        return kind(message, chip, onward, rng) if about and about[0] in wanted else onward(message, chip)

    return narrowed


@dataclass
class Fault:
    """A kind of fault and when it strikes: while the clock, the transaction's number and chance all say so."""

    kind: Kind
    address: int | None = None
    """The only address it concerns."""
    begin_s: float = -_ALWAYS
    end_s: float = _ALWAYS
    transactions: range | None = None
    """Numbers of the adapter's transactions, from 0."""
    most: int | None = None
    """How many messages it strikes at most."""
    seed: int = 0
    struck: int = 0
    """How many messages it has struck."""
    _rng: Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._rng = Random(self.seed)

    def carry(self, message: Message, chip: EmulatedChip | None, onward: Onward) -> bytes:
        """Carry a message, wrongly where it is time."""
        if (
            (self.address is not None and message.address != self.address)
            or not self.begin_s <= message.time_s < self.end_s
            or (self.transactions is not None and message.transaction not in self.transactions)
            or (self.most is not None and self.struck >= self.most)
        ):
            return onward(message, chip)
        self.struck += 1
        return self.kind(message, chip, onward, self._rng)


@dataclass
class RandomFaults:
    """Any of some kinds, each time another, in a fraction of the transactions; the same for the same seed."""

    rate: float
    """Fraction of the transactions that are struck, 0 to 1."""
    seed: int = 0
    kinds: Sequence[Kind] = ANY
    address: int | None = None
    begin_s: float = -_ALWAYS
    end_s: float = _ALWAYS
    struck: Counter[str] = field(default_factory=Counter)
    """How many transactions each kind has struck, by its name."""
    struck_s: list[float] = field(default_factory=list)
    """When each was struck."""
    _rng: Random = field(init=False, repr=False)
    _transaction: int = -1
    _kind: Kind | None = None

    def __post_init__(self) -> None:
        self._rng = Random(self.seed)

    def carry(self, message: Message, chip: EmulatedChip | None, onward: Onward) -> bytes:
        """Carry a message, wrongly where its transaction is one of those struck."""
        if self.address not in (None, message.address) or not self.begin_s <= message.time_s < self.end_s:
            return onward(message, chip)
        if message.transaction != self._transaction:
            self._transaction = message.transaction
            self._kind = self._rng.choice(self.kinds) if self._rng.random() < self.rate else None
            if self._kind is not None:
                self.struck[self._kind.__name__] += 1
                self.struck_s.append(message.time_s)
        return onward(message, chip) if self._kind is None else self._kind(message, chip, onward, self._rng)


@dataclass
class Unplugged:
    """The chip is off the bus from ``begin_s`` to ``end_s`` and comes back as after switching on."""

    address: int
    begin_s: float
    end_s: float = _ALWAYS
    errno: int = errno.ENXIO
    """EREMOTEIO on adapters such as the Raspberry Pi's."""
    _over: bool = False

    def carry(self, message: Message, chip: EmulatedChip | None, onward: Onward) -> bytes:
        """Let no message through; switch the chip on at the first one afterwards."""
        if not self._over and chip is not None and message.address == self.address and message.time_s >= self.begin_s:
            if message.time_s < self.end_s:
                raise _failure(self.errno)
            chip.power_cycle()
            self._over = True
        return onward(message, chip)


def _flipped(data: bytes, rng: Random) -> bytes:
    if not data:
        return data
    bit = rng.randrange(8 * len(data))
    return bytes(value ^ (1 << bit % 8 if index == bit // 8 else 0) for index, value in enumerate(data))


def _scenarios() -> Iterator[tuple[str, Scenario]]:
    for kind in ANY:
        name = kind.__name__
        yield name, partial(_fault, kind, most=None)
        yield f'one_{name}', partial(_fault, kind, most=1)
        yield f'some_{name}', partial(_some, kind)


def _fault(kind: Kind, begin_s: float, end_s: float, seed: int = 0, *, most: int | None) -> Fault:
    return Fault(kind, begin_s=begin_s, end_s=end_s, most=most, seed=seed)


def _some(kind: Kind, begin_s: float, end_s: float, seed: int = 0) -> RandomFaults:
    return RandomFaults(_SOME, seed, (kind,), begin_s=begin_s, end_s=end_s)


SCENARIOS: dict[str, Scenario] = dict(_scenarios())
"""What any chip may meet: a name, and what goes wrong from one time to another, seconds of the adapter's clock.

Each of ``ANY``: in every message, in one, and in one transaction of twenty.
"""
