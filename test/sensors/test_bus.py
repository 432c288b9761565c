import errno
import os
import types
from pathlib import Path

import pytest
import smbus2.smbus2

from facefusion_ros.sensors.bus import (
    Bus,
    BusBusy,
    BusForbidden,
    BusUnfit,
    Garbled,
    KernelOwnsChip,
    NobodyAnswers,
    NoBus,
    Remedy,
    TransferFailed,
    list_buses,
    open_bus,
    remedy_for,
)
from facefusion_ros.sim.bh1750 import EmulatedBh1750
from facefusion_ros.sim.faults import Fault, arbitration_lost, timed_out
from facefusion_ros.sim.i2c import EmulatedAdapter


@pytest.fixture
def adapter():
    with EmulatedAdapter(90, [EmulatedBh1750(lambda _: 100.0)]) as adapter:
        yield adapter


def test_a_missing_bus_is_named_with_those_that_exist(tmp_path):
    for name in ('i2c-2', 'i2c-10', 'i2c-1', 'i2c-old'):
        (tmp_path / name).touch()
    with pytest.raises(NoBus) as error:
        open_bus(f'{tmp_path}/i2c-7')
    assert f'{tmp_path}/i2c-7' in str(error.value)
    assert f'choose one of {tmp_path}/i2c-1, {tmp_path}/i2c-2, {tmp_path}/i2c-10' in str(error.value)
    assert error.value.remedy is Remedy.FATAL


def test_where_no_bus_exists_the_kernel_module_is_named(tmp_path):
    assert list_buses(tmp_path) == []
    with pytest.raises(NoBus, match='modprobe i2c-dev'):
        open_bus(f'{tmp_path}/i2c-0')


def test_a_forbidden_bus_names_the_group(monkeypatch):
    def refuse(_path, _flags):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    # Tests may run as root, whom the real kernel refuses nothing.
    monkeypatch.setattr(smbus2.smbus2, 'os', types.SimpleNamespace(open=refuse, O_RDWR=os.O_RDWR))
    with pytest.raises(BusForbidden, match=r'/dev/i2c-1: .*usermod -aG i2c'):
        open_bus(1)


def test_a_file_that_is_no_bus_is_refused_and_closed(tmp_path):
    (tmp_path / 'i2c-3').touch()
    open_files = len(list(Path('/proc/self/fd').iterdir()))
    with pytest.raises(BusUnfit, match='not an I2C bus'):
        open_bus(f'{tmp_path}/i2c-3')
    assert len(list(Path('/proc/self/fd').iterdir())) == open_files


@pytest.mark.usefixtures('adapter')
def test_nobody_answers_names_address_bus_and_tool():
    bus = open_bus(90)
    with pytest.raises(NobodyAnswers) as error:
        bus.read(0x5C, 2)
    assert '0x5c on /dev/i2c-90' in str(error.value)
    assert 'i2cdetect -y 90' in str(error.value)
    assert '\n' not in str(error.value)
    bus.close()


def test_a_bus_error_says_what_it_was(adapter):
    adapter.faults.append(Fault(timed_out))
    bus = Bus(90)
    with pytest.raises(TransferFailed, match=r'0x23 on /dev/i2c-90 failed \(Connection timed out\)'):
        bus.write(0x23, [1])
    bus.close()


def test_a_failed_transfer_leaves_nothing_open(adapter):
    """While anybody has an adapter open that was pulled out, the kernel takes no other in its place."""
    adapter.faults.append(Fault(timed_out, most=1))
    bus = Bus(90)
    before = len(list(Path('/proc/self/fd').iterdir()))
    with pytest.raises(TransferFailed):
        bus.read(0x23, 2)
    assert len(list(Path('/proc/self/fd').iterdir())) == before
    assert bus.read(0x23, 2) == b'\0\0'
    bus.close()


@pytest.mark.parametrize('times', [1, 3])
def test_lost_arbitration_is_tried_again_at_once(adapter, times):
    adapter.faults.append(Fault(arbitration_lost, most=times))
    bus = Bus(90)
    assert bus.read(0x23, 2) == b'\0\0'
    bus.close()


def test_a_bus_that_stays_busy_is_an_error(adapter):
    adapter.faults.append(Fault(arbitration_lost))
    bus = Bus(90)
    with pytest.raises(BusBusy) as error:
        bus.read(0x23, 2)
    assert error.value.remedy is Remedy.RETRY_NOW
    assert adapter.faults[0].struck == 4
    bus.close()


def test_a_transfer_is_tried_again_only_where_that_does_no_harm(adapter):
    adapter.faults.append(Fault(timed_out, most=2))
    bus = Bus(90)
    with pytest.raises(TransferFailed):
        bus.read(0x23, 2)
    assert adapter.faults[0].struck == 1
    assert bus.read(0x23, 2, tries=2) == b'\0\0'
    assert adapter.faults[0].struck == 2
    bus.close()


def test_answers_are_believed_when_enough_in_a_row_agree(adapter):
    answers = []
    adapter.faults.append(Fault(lambda *_: answers.pop(0)))
    bus = Bus(90)
    answers[:] = [b'\2\2', b'\2\2', b'\1\1', b'\1\1', b'\1\1']
    assert bus.read_surely(0x23, (b'', 2)) == b'\1\1'
    answers[:] = [b'\1\1', b'\2\2'] * 5
    with pytest.raises(Garbled, match='answers differently each time'):
        bus.read_surely(0x23, (b'', 2))
    bus.close()


def test_an_adapter_that_went_away_and_came_back(adapter):
    bus = open_bus(90)
    adapter.remove()
    with pytest.raises(NoBus, match='gone away'):
        bus.read(0x23, 2)
    with pytest.raises(NoBus, match='no I2C bus /dev/i2c-90'):
        bus.read(0x23, 2)
    adapter.install()
    assert bus.read(0x23, 2) == b'\0\0'
    bus.close()


def test_a_chip_with_a_kernel_driver_is_left_alone(tmp_path):
    driver = tmp_path / 'drivers' / 'inv-mpu6050-i2c'
    driver.mkdir(parents=True)
    device = tmp_path / 'devices' / '1-0068'
    device.mkdir(parents=True)
    (device / 'driver').symlink_to(driver)
    bus = Bus(1, sysfs=tmp_path / 'devices')
    bus.claim(0x69)
    with pytest.raises(KernelOwnsChip, match=r"'inv-mpu6050-i2c' owns the chip at 0x68 on /dev/i2c-1: .*unbind"):
        bus.claim(0x68)


def test_a_bus_by_another_name_is_recognised(tmp_path):
    (tmp_path / '4-0023' / 'driver').mkdir(parents=True)
    (tmp_path / 'i2c-4').touch()
    (tmp_path / 'light-sensor-bus').symlink_to(tmp_path / 'i2c-4')
    with pytest.raises(KernelOwnsChip):
        Bus(f'{tmp_path}/light-sensor-bus', sysfs=tmp_path).claim(0x23)


@pytest.mark.parametrize(
    ('number', 'remedy'),
    [
        (errno.EAGAIN, Remedy.RETRY_NOW),
        (errno.ENXIO, Remedy.BACK_OFF),
        (errno.EREMOTEIO, Remedy.BACK_OFF),
        (errno.EIO, Remedy.BACK_OFF),
        (errno.ETIMEDOUT, Remedy.BACK_OFF),
        (errno.EBUSY, Remedy.BACK_OFF),
        (errno.EACCES, Remedy.FATAL),
        (errno.ENOENT, Remedy.FATAL),
        (errno.EOPNOTSUPP, Remedy.FATAL),
    ],
)
def test_errors_are_told_apart_by_their_number(number, remedy):
    assert remedy_for(OSError(number, 'x')) is remedy
