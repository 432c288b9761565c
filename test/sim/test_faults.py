"""Faults strike what and when they say; the drivers' tests show what they are good for."""

import errno
import os
from collections import Counter

import pytest
from smbus2 import SMBus

from facefusion_ros.sim import faults
from facefusion_ros.sim.faults import Fault, RandomFaults, at_registers, happens, replaced_by


class Memory:
    """A chip of 256 registers with a pointer that moves on."""

    def __init__(self, first=0, clock=None):  # noqa: ARG002 - it measures nothing
        self.address = 0x50
        self.first = first
        self.power_cycle()

    def power_cycle(self):
        self.cells = bytearray((self.first + index) % 256 for index in range(256))
        self.pointer = 0

    def write(self, data):
        if data:
            self.pointer = data[0]
            for value in data[1:]:
                self.cells[self.pointer] = value
                self.pointer = (self.pointer + 1) % 256

    def read(self, length):
        answer = bytes(self.cells[(self.pointer + index) % 256] for index in range(length))
        self.pointer = (self.pointer + length) % 256
        return answer


@pytest.fixture(scope='module')
def bench(chip_on_bus):
    class Bench(chip_on_bus):
        def __init__(self, *troubles):
            super().__init__(Memory, troubles=troubles)

        def outcome(self, register):
            try:
                self.get(register)
            except OSError as error:
                return error.errno
            return 0

    return Bench


@pytest.mark.parametrize(
    ('kind', 'number'),
    [
        (faults.address_nack, errno.ENXIO),
        (faults.address_nack_of_a_pi, errno.EREMOTEIO),
        (faults.data_nack, errno.EREMOTEIO),
        (faults.arbitration_lost, errno.EAGAIN),
        (faults.bus_busy, errno.EBUSY),
        (faults.timed_out, errno.ETIMEDOUT),
        (faults.adapter_error, errno.EIO),
        (faults.timed_out_after_all, errno.ETIMEDOUT),
    ],
)
def test_transfers_fail_with_the_errno_the_kernel_has_for_it(bench, kind, number):
    with bench(Fault(kind, most=1)) as b:
        with pytest.raises(OSError, match=os.strerror(number)) as error:
            b.set(0x10, 0xAA)
        assert error.value.errno == number
        b.set(0x20, 0xBB)
        assert b.chip.cells[0x20] == 0xBB
        assert b.chip.cells[0x10] == (0xAA if kind is faults.timed_out_after_all else 0x10)


def test_a_write_that_is_not_acknowledged_is_taken_in_part(bench):
    taken = set()
    for seed in range(20):
        with bench(Fault(faults.data_nack, most=1, seed=seed)) as b:
            with pytest.raises(OSError, match='Remote'):
                b.set(0x10, 1, 2, 3)
            taken.add(bytes(b.chip.cells[0x10:0x13]))
    assert taken == {b'\x10\x11\x12', b'\x01\x11\x12', b'\x01\x02\x12'}


def test_a_short_answer_is_made_long_with_ones_where_the_length_is_not_told(bench):
    lengths = set()
    for seed in range(30):
        with bench(Fault(faults.short_answer, seed=seed)) as b:
            answer = b.get(0x10, 4)
            length = answer.count(b'\xff'[0]) and 4 - answer.count(0xFF)
            assert answer == bytes(range(0x10, 0x10 + length)).ljust(4, b'\xff')
            lengths.add(length)
            assert len(b.bus.read_i2c_block_data(0x50, 0x10, 4)) == 4, 'smbus2 does not look at the length'
    assert lengths == {0, 1, 2, 3}


def test_one_bit_is_flipped(bench):
    flipped = set()
    for seed in range(300):
        with bench(Fault(faults.answer_bit_flipped, seed=seed)) as b:
            wrong = int.from_bytes(b.get(0, 4), 'big') ^ 0x00010203
            assert wrong.bit_count() == 1
            flipped.add(wrong)
    assert len(flipped) == 32
    with bench(Fault(faults.written_bit_flipped, most=1)) as b:
        b.set(0x10, 0xAA)
        differing = [(index, value) for index, value in enumerate(b.chip.cells) if value != index]
        assert len(differing) == 1
        (index, value) = differing[0]
        assert (index ^ 0x10).bit_count() + (value ^ 0xAA).bit_count() == 1


def test_a_stale_answer_is_the_last_to_the_same_question(bench):
    with bench() as b:
        assert b.get(0x10, 1) == b'\x10'
        assert b.get(0x20, 1) == b'\x20'
        b.set(0x10, 0xAA, 0xAB)
        b.adapter.faults.append(Fault(faults.stale_answer))
        assert b.get(0x10, 1) == b'\x10'
        assert b.get(0x20, 1) == b'\x20'
        assert b.get(0x10, 2) == b'\xaa\xab', 'another question'
        b.adapter.faults.clear()
        assert b.get(0x10, 1) == b'\xaa'


def test_what_only_this_chip_can_suffer(bench):
    with bench(Fault(happens(lambda chip: chip.cells.reverse()), transactions=range(1, 2), most=1)) as b:
        assert b.get(0, 1) == b'\0'
        assert b.get(0, 1) == b'\xff'
        assert b.get(0, 1) == b'\xff'


def test_a_power_glitch_and_another_chip(bench):
    with bench(Fault(faults.power_glitch, begin_s=1.0, most=1), Fault(replaced_by(Memory(first=7)), begin_s=2.0)) as b:
        b.set(0, 0xAA)
        assert b.get(0, 1) == b'\xaa'
        b.now_s = 1.0
        assert b.get(0, 1) == b'\0'
        b.set(0, 0xAA)
        b.now_s = 2.0
        assert b.get(0, 1) == b'\x07'


def test_a_fault_may_concern_some_registers_only(bench):
    with bench(Fault(at_registers(faults.timed_out, [0x10, 0x11]))) as b:
        assert b.get(0x12, 1) == b'\x12'
        for act in (lambda: b.set(0x10, 1), lambda: b.get(0x11, 4)):
            with pytest.raises(TimeoutError):
                act()


def test_a_fault_may_concern_one_address_some_transactions_and_some_time(bench):
    fault = Fault(faults.timed_out, address=0x50, begin_s=1.0, end_s=3.0, transactions=range(3, 10), most=2)
    with bench(fault) as b:
        outcome = []
        for now_s in (0.0, 1.0, 1.0, 1.0, 2.0, 2.0, 3.0):
            b.now_s = now_s
            outcome.append('x' if b.outcome(0) else '.')
        assert ''.join(outcome) == '...xx..'
        assert fault.struck == 2
        b.adapter.faults.append(Fault(faults.timed_out, address=0x51))
        assert b.get(0, 4) == bytes(range(4))


def test_random_faults_come_at_their_rate_in_all_kinds_and_the_same_again(bench):
    def run():
        trouble = RandomFaults(0.1, seed=3)
        with bench(trouble) as b:
            outcome = Counter(b.outcome(0x10) for _ in range(5000))
        assert b.adapter.transactions == 5000
        return trouble.struck, outcome

    struck, outcome = run()
    assert run() == (struck, outcome)
    assert sum(struck.values()) == pytest.approx(500, rel=0.15)
    assert set(struck) == {kind.__name__ for kind in faults.ANY}
    assert outcome[errno.ENXIO] == struck['address_nack']


def test_a_chip_the_kernel_owns_and_a_node_nobody_may_open(bench):
    with bench() as b:
        b.adapter.owned = frozenset({0x50})
        with pytest.raises(OSError, match='busy') as error:
            b.bus.read_byte(0x50)
        assert error.value.errno == errno.EBUSY
        assert b.get(0x10, 1) == b'\x10', 'the kernel does not guard plain transfers'
        b.adapter.open_errno = errno.EACCES
        with pytest.raises(PermissionError):
            SMBus(90)
