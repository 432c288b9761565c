import errno
import fcntl
import os
import threading

import pytest
import smbus2.smbus2
from hypothesis import given
from hypothesis import strategies as st
from smbus2 import I2cFunc, SMBus, i2c_msg

from facefusion_ros.sim.faults import Fault, Unplugged, power_glitch, timed_out
from facefusion_ros.sim.i2c import EmulatedAdapter


class Memory:
    """A chip of 256 registers with a pointer that moves on, like an EEPROM; logs what it hears."""

    def __init__(self, address=0x50):
        self.address = address
        self.heard = []
        self.power_cycle()

    def power_cycle(self):
        self.cells = bytearray(range(256))
        self.pointer = 0

    def write(self, data):
        self.heard.append(data)
        if data:
            self.pointer = data[0]
            for value in data[1:]:
                self.cells[self.pointer] = value
                self.pointer = (self.pointer + 1) % 256

    def read(self, length):
        self.heard.append(length)
        answer = bytes(self.cells[(self.pointer + index) % 256] for index in range(length))
        self.pointer = (self.pointer + length) % 256
        return answer


@pytest.fixture
def memory():
    return Memory()


@pytest.fixture
def adapter(memory):
    with EmulatedAdapter(90, [memory], clock=lambda: 0) as adapter:
        yield adapter


@pytest.fixture
def bus(adapter):
    with SMBus(90) as bus:
        bus.adapter = adapter
        yield bus


def test_every_smbus_command_reaches_the_chip_as_the_kernel_would_send_it(bus, memory):
    bus.write_quick(0x50)
    bus.write_byte(0x50, 0x10)
    assert bus.read_byte(0x50) == 0x10
    bus.write_byte_data(0x50, 0x20, 0xAB)
    assert bus.read_byte_data(0x50, 0x20) == 0xAB
    bus.write_word_data(0x50, 0x30, 0x1234)
    assert bus.read_word_data(0x50, 0x30) == 0x1234
    assert bus.process_call(0x50, 0x34, 0x5678) == 0x3736
    bus.write_i2c_block_data(0x50, 0x40, [1, 2, 3])
    assert bus.read_i2c_block_data(0x50, 0x40, 4) == [1, 2, 3, 0x43]
    bus.write_block_data(0x50, 0x60, [7, 8])
    assert memory.heard == [
        *(b'', b'\x10', 1, b'\x20\xab', b'\x20', 1, b'\x30\x34\x12', b'\x30', 2, b'\x34\x78\x56', 2),
        *(b'\x40\x01\x02\x03', b'\x40', 4, b'\x60\x02\x07\x08'),
    ]


def test_a_block_whose_length_the_chip_tells_is_not_supported(bus):
    assert bus.funcs & I2cFunc.I2C
    assert not bus.funcs & I2cFunc.SMBUS_READ_BLOCK_DATA
    with pytest.raises(OSError, match='not supported') as error:
        bus.read_block_data(0x50, 0)
    assert error.value.errno == errno.EOPNOTSUPP
    with pytest.raises(OSError, match='PEC'):
        bus.enable_pec()


@given(st.integers(0, 255), st.binary(max_size=300), st.integers(1, 300))
def test_plain_transfers_carry_any_bytes(begin, data, length):
    memory = Memory()
    with EmulatedAdapter(91, [memory]), SMBus(91) as bus:
        answer = i2c_msg.read(0x50, length)
        bus.i2c_rdwr(i2c_msg.write(0x50, bytes([begin]) + data), i2c_msg.write(0x50, [begin]), answer)
        cells = bytearray(range(256))
        for index, value in enumerate(data):
            cells[(begin + index) % 256] = value
        assert bytes(answer) == bytes(cells[(begin + index) % 256] for index in range(length))


def test_the_kernel_limits_of_one_transaction(bus):
    with pytest.raises(OSError, match='Invalid argument'):
        bus.i2c_rdwr(*[i2c_msg.write(0x50, [0])] * 43)
    with pytest.raises(OSError, match='Invalid argument'):
        bus.i2c_rdwr(i2c_msg.read(0x50, 8193))


def test_nobody_at_an_address(bus):
    for call in (lambda: bus.read_byte(0x51), lambda: bus.i2c_rdwr(i2c_msg.read(0x51, 1)), lambda: bus.write_quick(1)):
        with pytest.raises(OSError, match='No such device or address') as error:
            call()
        assert error.value.errno == errno.ENXIO


def test_other_paths_go_to_the_real_kernel(bus, tmp_path):
    with pytest.raises(FileNotFoundError):
        SMBus(89)
    (tmp_path / 'file').touch()
    with pytest.raises(OSError, match='Inappropriate ioctl') as error:
        SMBus(str(tmp_path / 'file'))
    assert error.value.errno == errno.ENOTTY
    assert bus.read_byte_data(0x50, 5) == 5


def test_nothing_of_it_is_left_when_the_last_one_is_gone(memory):
    assert smbus2.smbus2.os is os, 'a test before this one has left an emulated bus open'
    first, second = EmulatedAdapter(90, [memory]), EmulatedAdapter('/dev/i2c-emulated', [Memory(0x51)])
    first.install()
    second.install()
    with SMBus('/dev/i2c-emulated') as bus:
        assert bus.read_byte_data(0x51, 9) == 9
        first.remove()
        with pytest.raises(FileNotFoundError):
            SMBus(90)
        assert bus.read_byte_data(0x51, 9) == 9
        second.remove()
        second.remove()
        with pytest.raises(OSError, match='No such device') as error:
            bus.read_byte_data(0x51, 9)
        assert error.value.errno == errno.ENODEV
    assert smbus2.smbus2.os is os
    assert smbus2.smbus2.ioctl is fcntl.ioctl


def test_a_path_that_is_taken_is_refused(adapter, tmp_path):
    with pytest.raises(ValueError, match=r'/dev/i2c-90 exists already'):
        EmulatedAdapter(90).install()
    (tmp_path / 'i2c-1').touch()
    with pytest.raises(ValueError, match='exists already'):
        EmulatedAdapter(f'{tmp_path}/i2c-1').install()
    assert adapter.path == '/dev/i2c-90'


def test_transactions_of_many_threads_do_not_mix(adapter):
    """Each sets the pointer and reads on in one transaction; a stranger's pointer in between would show."""
    wrong = []

    def work(begin):
        with SMBus(90) as bus:
            for _ in range(200):
                answer = i2c_msg.read(0x50, 4)
                bus.i2c_rdwr(i2c_msg.write(0x50, [begin]), answer)
                if bytes(answer) != bytes(range(begin, begin + 4)):
                    wrong.append(bytes(answer))

    threads = [threading.Thread(target=work, args=(begin,)) for begin in (0, 60, 120, 180)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(adapter.faults) == 0


@pytest.mark.parametrize('number', [errno.ENXIO, errno.EREMOTEIO])
def test_unplugged_and_plugged_in_again(number):
    now_s = [0.0]
    memory, other = Memory(), Memory(0x51)
    fault = Unplugged(0x50, begin_s=1.0, end_s=2.0, errno=number)
    with EmulatedAdapter(90, [memory, other], [fault], clock=lambda: int(now_s[0] * 1e9)), SMBus(90) as bus:
        bus.write_byte_data(0x50, 3, 0xEE)
        now_s[0] = 1.0
        with pytest.raises(OSError, match=os.strerror(number)) as error:
            bus.read_byte_data(0x50, 3)
        assert error.value.errno == number
        assert bus.read_byte_data(0x51, 3) == 3
        now_s[0] = 2.0
        assert bus.read_byte_data(0x50, 3) == 3
        bus.write_byte_data(0x50, 3, 0xEE)
        assert bus.read_byte_data(0x50, 3) == 0xEE


def test_a_silent_reset_happens_once_and_to_one_chip():
    now_s = [0.0]
    memory, other = Memory(), Memory(0x51)
    adapter = EmulatedAdapter(
        90, [memory, other], [Fault(power_glitch, 0x50, 1.0, most=1)], clock=lambda: int(now_s[0] * 1e9)
    )
    with adapter, SMBus(90) as bus:
        bus.write_byte_data(0x50, 3, 0xEE)
        bus.write_byte_data(0x51, 3, 0xEE)
        now_s[0] = 5.0
        assert bus.read_byte_data(0x51, 3) == 0xEE
        assert bus.read_byte_data(0x50, 3) == 3
        bus.write_byte_data(0x50, 3, 0xEE)
        assert bus.read_byte_data(0x50, 3) == 0xEE


def test_a_stuck_bus_fails_for_all(bus):
    bus.adapter.faults.append(Fault(timed_out, begin_s=0.0, end_s=1.0))
    for address in (0x50, 0x51):
        with pytest.raises(TimeoutError):
            bus.read_byte(address)
