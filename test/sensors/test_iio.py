"""Light sensors through kernel drivers, on trees of files as those drivers make them."""

import pytest

from facefusion_ros.sensors.bus import Saturated, TransferFailed
from facefusion_ros.sensors.iio import NAMES, IioForbidden, IioPhotometer, NoIioDevice
from facefusion_ros.sensors.sampling import SamplingLoop, State


@pytest.fixture
def tree(tmp_path):
    """Make an IIO device of a name with some files; the last made has the lowest number."""

    def make(name, number=0, **files):
        folder = tmp_path / f'iio:device{number}'
        folder.mkdir()
        (folder / 'name').write_text(f'{name}\n')
        for attribute, value in files.items():
            (folder / attribute).write_text(f'{value}\n')
        return folder

    return make


@pytest.fixture
def read(tmp_path, make_clock):
    def once(*names):
        clock = make_clock()
        clock.sleep(10.0)
        chip = IioPhotometer(names, devices=tmp_path, clock=clock)
        chip.start()
        (reading,) = chip.read()
        chip.close()
        return reading, (clock.now_ns - reading.stamp_ns) * 1e-9

    return once


def test_raw_times_scale(tree, read):
    tree('bh1750', in_illuminance_raw=1200, in_illuminance_scale='0.833333', in_illuminance_integration_time='0.120060')
    reading, age_s = read('bh1750')
    assert reading.lux == pytest.approx(1000.0, rel=1e-5)
    assert reading.variance > 0.0
    assert age_s == pytest.approx(0.12, abs=0.01)


def test_processed_is_taken_where_it_may_be_believed(tree, read):
    tree('opt3001', in_illuminance_input='523.520000', in_illuminance_integration_time='0.100000')
    assert read('opt3001')[0].lux == 523.52


def test_offset_comes_before_scale(tree, read):
    tree('other', in_illuminance_raw=100, in_illuminance_offset=-10, in_illuminance_scale=2)
    assert read('other')[0].lux == 180.0


@pytest.mark.parametrize(
    ('scale', 'integration', 'raw'), [('0.125000', '0.100000', 1860), ('2.000000', '0.400000', 119_048)]
)
def test_the_veml6030s_scale_may_be_its_gain(tree, read, scale, integration, raw):
    """1000 lux before the correction; ``input`` of the same driver has its fraction 100 times too small."""
    raw = raw if raw < 65_535 else 11_905  # 100 lux
    linear = raw * 0.0042 * (0.8 / float(integration)) * (2.0 / float(scale))
    tree(
        'veml6030',
        in_illuminance_scale=scale,
        in_illuminance_integration_time=integration,
        in_illuminance_raw=raw,
        in_illuminance_input='1000.000123',
    )
    reading, age_s = read('veml7700', 'veml6030')
    assert reading.lux == pytest.approx(linear * (1.0023 + 8.1488e-5 * linear), rel=0.02)
    assert age_s > 0.5, 'the driver lets the chip rest for a second'


def test_a_newer_veml6030_tells_its_scale(tree, read):
    tree('veml6030', in_illuminance_scale='0.268800', in_illuminance_integration_time='0.1', in_illuminance_raw=500)
    assert read('veml6030')[0].lux == pytest.approx(135.6, rel=0.01)


@pytest.mark.parametrize(('gain', 'both', 'infrared', 'lux'), [(25, 6127, 0, 1000.0), (1, 490, 245, 500.0)])
def test_the_tsl2591s_lux_is_not_asked_for(tree, read, gain, both, infrared, lux):
    """At gain 1 the driver divides by zero; its integration time counts in steps of 100 ms."""
    tree('tsl2591', integration_time=1, calibscale=gain, in_intensity_both_raw=both, in_intensity_ir_raw=infrared)
    assert read('tsl2591')[0].lux == pytest.approx(lux, rel=0.01)


def test_colours(tree, read):
    times = {'in_intensity_integration_time': '0.050400', 'in_intensity_calibscale': 4}
    red, green, blue = 1000, 900, 700
    channels = {'clear': 2600, 'red': red, 'green': green, 'blue': blue}
    tree('tcs3472', **times, **{f'in_intensity_{name}_raw': value for name, value in channels.items()})
    reading, _ = read('tcs3472')
    assert reading.cct_k == pytest.approx(3810 * 700 / 1000 + 1391)
    assert reading.lux == pytest.approx((0.136 * red + green - 0.444 * blue) / (50.4 * 4 / 310), rel=1e-6)


@pytest.mark.parametrize('integration', ['80', '0.080'])
def test_the_veml6040_has_no_scale_and_milliseconds(tree, read, integration):
    channels = {'clear': 5000, 'red': 2500, 'green': 2000, 'blue': 1500}
    tree(
        'veml6040',
        in_intensity_integration_time=integration,
        **{f'in_intensity_{name}_raw': value for name, value in channels.items()},
    )
    reading, _ = read('veml6040')
    assert reading.lux == pytest.approx(2000 * 0.12584)
    assert reading.cct_k == pytest.approx(4278.6)


@pytest.mark.parametrize(
    ('name', 'files'),
    [
        ('bh1750', {'in_illuminance_raw': 65_535, 'in_illuminance_scale': 1}),
        (
            'tsl2591',
            {'integration_time': 1, 'calibscale': 25, 'in_intensity_both_raw': 36_863, 'in_intensity_ir_raw': 9},
        ),
        (
            'veml6030',
            {'in_illuminance_raw': 60_000, 'in_illuminance_scale': 0.5376, 'in_illuminance_integration_time': 0.1},
        ),
    ],
)
def test_a_full_count_is_no_reading(tree, read, name, files):
    tree(name, **files)
    with pytest.raises(Saturated, match='smaller gain'):
        read(name)


def test_a_device_is_found_by_name_or_label_and_not_by_number(tree, read):
    tree('bme280', number=0)
    folder = tree('bh1750', number=3, in_illuminance_raw=12, in_illuminance_scale=1)
    (folder / 'label').write_text('forehead\n')
    assert read('bh1750')[0].lux == 12.0
    assert read('forehead')[0].lux == 12.0
    with pytest.raises(NoIioDevice, match=r'no IIO device opt3001 in .*: there are bme280, bh1750'):
        read('opt3001')


def test_where_there_is_none_the_driver_is_named(read):
    with pytest.raises(NoIioDevice, match='there is none at all: load the driver'):
        read(*NAMES['veml7700'])


def test_a_file_that_holds_no_number(tree, read):
    tree('bh1750', in_illuminance_raw='nan?', in_illuminance_scale=1)
    with pytest.raises(TransferFailed, match='holds no number'):
        read('bh1750')
    assert IioForbidden('x').remedy.name == 'FATAL'


def test_a_device_that_goes_and_comes_back(tree, tmp_path, make_clock):
    clock = make_clock()
    readings = []
    loop = SamplingLoop(IioPhotometer(('bh1750',), devices=tmp_path, clock=clock), readings.extend)

    def run(seconds):
        end_s = clock.elapsed_s + seconds
        while clock.elapsed_s < end_s:
            clock.sleep(loop.step())

    run(1.0)
    assert loop.health.state is State.FAILED
    folder = tree('bh1750', in_illuminance_raw=12, in_illuminance_scale=1)
    run(6.0)
    assert loop.health.state is State.OK
    (folder / 'in_illuminance_raw').unlink()
    run(0.5)
    assert loop.health.state is State.FAILED
    folder.rename(tmp_path / 'iio:device7')  # it comes back under another number
    (tmp_path / 'iio:device7' / 'in_illuminance_raw').write_text('13')
    run(6.0)
    assert loop.health.state is State.OK
    assert {r.lux for r in readings} == {12.0, 13.0}
