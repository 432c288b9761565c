"""An IMU through a kernel driver's buffer, on a tree of files and a pipe for the device node."""

import math
import os
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.sensors.bus import BusUnfit, Overrun, SettingsLost, Stalled
from facefusion_ros.sensors.iio import NoIioDevice
from facefusion_ros.sensors.iio_imu import Element, IioImu, exact_scale, offsets

GYRO = ('in_anglvel_x', 'in_anglvel_y', 'in_anglvel_z')
ACCEL = ('in_accel_x', 'in_accel_y', 'in_accel_z')


class Tree:
    """What a driver shows, and what it sends."""

    def __init__(self, root, clock, name='mpu6050', accel=True):
        self.clock = clock
        self.folder = root / 'iio:device2'
        self.nodes = root / 'dev'
        self.nodes.mkdir()
        (self.folder / 'scan_elements').mkdir(parents=True)
        (self.folder / 'buffer').mkdir()
        self.set('name', name)
        self.set('sampling_frequency', '50')
        self.set('sampling_frequency_available', '10 20 50 100 200 500')
        self.set('current_timestamp_clock', 'monotonic')
        self.set('in_anglvel_scale', '0.000266181')
        self.set('in_accel_scale', '0.000598')
        for name_ in ('enable', 'length'):
            self.set(f'buffer/{name_}', '0')
        channels = (*(ACCEL if accel else ()), 'in_temp', *GYRO, 'in_timestamp')
        for index, channel in enumerate(channels):
            kind = 'le:s64/64>>0' if channel == 'in_timestamp' else 'be:s16/16>>0'
            self.set(f'scan_elements/{channel}_en', '1' if channel == 'in_temp' else '0')
            self.set(f'scan_elements/{channel}_index', index)
            self.set(f'scan_elements/{channel}_type', kind)
        os.mkfifo(self.nodes / 'iio:device2')
        self.pipe = os.open(self.nodes / 'iio:device2', os.O_RDWR | os.O_NONBLOCK)
        self.chip = IioImu((name,), devices=root, nodes=self.nodes, clock=clock)

    def set(self, attribute, value):
        (self.folder / attribute).write_text(f'{value}\n')

    def text(self, attribute):
        return (self.folder / attribute).read_text().strip()

    def send(self, accel, gyro, stamp_ns):
        scan = struct.pack(f'>{len(accel) + 3}h', *accel, *gyro)
        os.write(self.pipe, scan.ljust(-(-len(scan) // 8) * 8, b'\0') + struct.pack('<q', stamp_ns))

    def close(self):
        self.chip.close()
        os.close(self.pipe)


@pytest.fixture
def tree(tmp_path, make_clock):
    made = []

    def make(**options):
        made.append(Tree(tmp_path, make_clock(), **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_samples_are_decoded_with_their_own_stamps(tree):
    t = tree()
    t.chip.start()
    begin_ns = t.clock()
    for index in range(5):
        t.send((100, -200, 16_384), (10 * index, -1, 32_000), begin_ns + index * 5_000_000)
    samples = t.chip.read()
    assert [s.stamp_ns for s in samples] == [begin_ns + index * 5_000_000 for index in range(5)]
    assert samples[3].angular_velocity == pytest.approx(np.array([30, -1, 32_000]) * 0.000266181)
    assert samples[3].specific_force == pytest.approx(np.array([100, -200, 16_384]) * 0.000598)
    assert not samples[3].clipped
    assert t.chip.read() == []


def test_only_what_is_wanted_is_switched_on_and_the_rate_is_asked_for(tree):
    t = tree()
    t.chip.start()
    assert t.chip.rate_hz == 200.0
    assert t.text('sampling_frequency') == '200'
    assert t.text('current_timestamp_clock') == 'realtime'
    assert t.text('scan_elements/in_temp_en') == '0'
    assert {t.text(f'scan_elements/{name}_en') for name in (*GYRO, *ACCEL, 'in_timestamp')} == {'1'}
    assert t.text('buffer/enable') == '1'
    t.chip.close()
    assert t.text('buffer/enable') == '0'


def test_the_end_of_the_range_is_told(tree):
    t = tree()
    t.chip.start()
    for index, count in enumerate((32_767, -32_768, 32_000)):
        t.send((0, 0, 0), (count, 0, 0), t.clock() + index * 5_000_000)
    assert [s.clipped for s in t.chip.read()] == [True, True, False]


def test_a_scan_that_comes_in_two_parts(tree):
    t = tree()
    t.chip.start()
    scan = struct.pack('>6h', 1, 2, 3, 4, 5, 6).ljust(16, b'\0') + struct.pack('<q', t.clock())
    os.write(t.pipe, scan[:9])
    assert t.chip.read() == []
    os.write(t.pipe, scan[9:])
    (sample,) = t.chip.read()
    assert sample.specific_force == pytest.approx(np.array([1, 2, 3]) * 0.000598)


def test_a_gyroscope_alone(tree):
    t = tree(name='bmi160', accel=False)
    t.set('in_anglvel_scale', '0.000066')
    t.chip.start()
    t.send((), (16_384, 0, 0), t.clock())
    (sample,) = t.chip.read()
    assert sample.angular_velocity[0] == pytest.approx(math.radians(62.5), rel=1e-9), 'not 0.9 % less'
    assert sample.specific_force_variance == -1.0


def test_lost_samples_are_told_after_those_that_came(tree):
    t = tree()
    t.chip.start()
    for stamp_ns in (0, 5_000_000, 30_000_000):
        t.send((0, 0, 0), (1, 1, 1), t.clock.START_NS + stamp_ns)
    assert len(t.chip.read()) == 3
    with pytest.raises(Overrun, match='lost samples'):
        t.chip.read()
    assert t.chip.read() == []


def test_silence_is_an_error(tree):
    t = tree()
    t.chip.start()
    t.clock.sleep(0.05)
    assert t.chip.read() == []
    t.clock.sleep(1.0)
    with pytest.raises(Stalled):
        t.chip.read()


def test_a_driver_without_a_buffer_and_one_without_the_rate(tree):
    t = tree()
    t.set('sampling_frequency_available', '10 20')
    with pytest.raises(SettingsLost, match=r'samples at 20 Hz and not at 200'):
        t.chip.start()
    (t.folder / 'scan_elements' / 'in_anglvel_x_en').unlink()
    with pytest.raises(BusUnfit, match='access: i2c'):
        t.chip.start()


def test_a_buffer_without_a_trigger_is_refused(tree):
    """As drivers offer it that were given no interrupt line; the kernel would only say 'Invalid argument'."""
    t = tree()
    (t.folder / 'trigger').mkdir()
    t.set('trigger/current_trigger', '')
    with pytest.raises(BusUnfit, match='has no trigger: its driver needs an interrupt line'):
        t.chip.start()
    t.set('trigger/current_trigger', 'mpu6050-dev0')
    t.chip.start()


def test_a_device_that_goes(tree):
    t = tree()
    t.chip.start()
    t.folder.rename(t.folder.with_name('gone'))
    t.chip.close()
    with pytest.raises(NoIioDevice):
        t.chip.start()


@given(
    st.booleans(),
    st.booleans(),
    st.sampled_from([(12, 16, 4), (16, 16, 0), (20, 32, 8), (64, 64, 0), (10, 16, 2)]),
    st.data(),
)
def test_any_type_of_element_is_decoded(signed, big_endian, layout, data):
    bits, storage_bits, shift = layout
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << min(bits, 63)) - 1)
    values = data.draw(st.lists(st.integers(low, high), min_size=1, max_size=5))
    order = 'big' if big_endian else 'little'
    text = f'{order[0]}e:{"s" if signed else "u"}{bits}/{storage_bits}>>{shift}'
    element = Element.parse(text)
    words = [((value & (1 << bits) - 1) << shift).to_bytes(storage_bits // 8, order) for value in values]
    raw = np.frombuffer(b''.join(words), np.uint8).reshape(len(values), -1)
    assert element.decode(raw).tolist() == values


def test_scans_are_aligned():
    word, stamp = Element.parse('be:s16/16>>0'), Element.parse('le:s64/64>>0')
    assert offsets([word] * 6 + [stamp]) == ([0, 2, 4, 6, 8, 10, 16], 24)
    assert offsets([word] * 3) == ([0, 2, 4], 6)
    assert offsets([stamp, word]) == ([0, 8], 16)
    with pytest.raises(ValueError, match='no type'):
        Element.parse('be:s16/16X3>>0')


def test_scales_that_drivers_cut_short_are_mended():
    assert exact_scale('bmi160', 0.000066) == pytest.approx(math.radians(125) / 32_768)
    assert exact_scale('bmi270', 0.001065) == pytest.approx(math.radians(2000) / 32_768)
    assert exact_scale('mpu6050', 0.000066) == 0.000066
    assert exact_scale('bmi160', 0.5) == 0.5
