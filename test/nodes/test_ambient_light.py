"""The light sensor's node, with its real driver on an emulated bus."""

import itertools

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Illuminance

from facefusion_ros import msg
from facefusion_ros.nodes.ambient_light import AmbientLight
from facefusion_ros.ros.messages import from_time
from facefusion_ros.sim.i2c import EmulatedAdapter
from facefusion_ros.sim.light_chips import colour_temperature
from facefusion_ros.sim.world import load_world

EPOCH_NS = 1_700_000_000_000_000_000


def values_of(status):
    return {value.key: value.value for value in status.values}


@pytest.mark.parametrize('address', [0x23, 0x5C])
def test_illuminance_is_the_worlds(listener, start, world, world_file, address):
    heard, diagnostics = listener.hear(Illuminance, 'illuminance'), listener.diagnostics('ambient_light')
    start(AmbientLight, world=world_file, world_epoch_ns=EPOCH_NS, address=address, frame_id='forehead')
    readings = heard.wait(5)
    for reading in readings:
        assert reading.header.frame_id == 'forehead'
        stamp_ns = from_time(reading.header.stamp)
        assert reading.illuminance == pytest.approx(world.lux(world.time_s(stamp_ns, EPOCH_NS)), rel=0.02)
        assert reading.variance > 0
    stamps = [from_time(reading.header.stamp) for reading in readings]
    assert all(one < other for one, other in itertools.pairwise(stamps))
    status = diagnostics.until(lambda status: status.level == DiagnosticStatus.OK)
    assert int(values_of(status)['readings']) > 0
    assert float(values_of(status)['lux']) == pytest.approx(400, rel=0.3)


@pytest.mark.parametrize('chip', ['tcs34725', 'opt3001'])
def test_other_chips_read_the_same_world(listener, start, world, world_file, chip):
    heard, diagnostics = listener.hear(Illuminance, 'illuminance'), listener.diagnostics('ambient_light')
    start(AmbientLight, world=world_file, world_epoch_ns=EPOCH_NS, chip=chip)
    for reading in heard.wait(4):
        stamp_ns = from_time(reading.header.stamp)
        assert reading.illuminance == pytest.approx(world.lux(world.time_s(stamp_ns, EPOCH_NS)), rel=0.03)
    values = values_of(diagnostics.until(lambda status: 'stamp jitter ms' in values_of(status)))
    assert float(values['rate Hz']) > 0.5
    assert values['bus load'].endswith('%')
    assert ('colour temperature K' in values) is (chip == 'tcs34725')
    if chip == 'tcs34725':
        assert 6000 < float(values['colour temperature K']) < 7000  # the world's light has no tint


@pytest.fixture
def warming(tmp_path):
    """A world whose light turns from daylight to a warm lamp's and back, every other second."""
    path = tmp_path / 'warming.yaml'
    path.write_text(
        'period_s: 4.0\nseed: 1\ncamera: {width: 64, height: 48, rate_hz: 10.0, hfov_deg: 60.0}\n'
        'light: {lux: 300.0, warmth: 0.0, tunnels: [{lux: 200.0, warmth: 0.3, enter_s: 1.0, leave_s: 3.0}]}\n'
        'scene: {distance_m: 0.5, width_m: 0.746}\n'
    )
    return str(path)


@pytest.mark.parametrize(('chip', 'known'), [('tcs34725', True), ('veml6040', False)])
def test_colour_temperature_is_the_worlds(listener, start, warming, chip, known):
    world = load_world(warming)
    heard = listener.hear(msg.ColourTemperature, 'colour_temperature')
    illuminance = listener.hear(Illuminance, 'illuminance')
    start(AmbientLight, world=warming, world_epoch_ns=EPOCH_NS, chip=chip, frame_id='forehead')

    def truth(reading):
        time_s = np.array(world.time_s(from_time(reading.header.stamp), EPOCH_NS))
        sides = [world.light.at(time_s + lag_s, world.period_s)[1] for lag_s in (-0.3, 0.0, 0.3)]
        return float(sides[1]) if max(sides) - min(sides) < 1e-3 else None

    for warmth in (0.0, 0.3):
        reading = heard.until(lambda reading, warmth=warmth: truth(reading) == pytest.approx(warmth, abs=1e-3))
        assert reading.kelvin == pytest.approx(colour_temperature(warmth), rel=0.02)
        assert reading.header.frame_id == 'forehead'
        assert (reading.variance > 0.0) is known
        assert reading.variance == 0.0 or 200.0 < reading.variance**0.5 < 1500.0
    stamps = {from_time(reading.header.stamp) for reading in illuminance.wait(3)}
    assert {from_time(reading.header.stamp) for reading in heard.messages} & stamps


def test_light_too_dim_for_colours_has_none(listener, start, tmp_path):
    path = tmp_path / 'night.yaml'
    path.write_text(
        'period_s: 4.0\nseed: 1\ncamera: {width: 64, height: 48, rate_hz: 10.0, hfov_deg: 60.0}\n'
        'light: {lux: 0.02}\nscene: {distance_m: 0.5, width_m: 0.746}\n'
    )
    heard = listener.hear(msg.ColourTemperature, 'colour_temperature')
    illuminance = listener.hear(Illuminance, 'illuminance')
    start(AmbientLight, world=str(path), chip='tcs34725')
    illuminance.wait(3)
    assert heard.messages == []


def test_a_chip_that_sees_no_colours_has_no_topic_for_them(listener, start, world_file):
    illuminance = listener.hear(Illuminance, 'illuminance')
    start(AmbientLight, world=world_file, chip='bh1750')
    illuminance.wait(1)
    assert listener.node.count_publishers(f'{listener.namespace}/colour_temperature') == 0


def test_a_kernel_driver_that_is_not_there_is_told(listener, start):
    node = start(AmbientLight, access='iio', chip='tcs34725')
    assert node.started
    status = listener.diagnostics('ambient_light').until(lambda status: status.level == DiagnosticStatus.ERROR)
    assert status.message.startswith('there is no IIO device tcs3472 in /sys/bus/iio/devices: ')


def test_nobody_at_the_address_is_told_and_outlived(listener, start):
    with EmulatedAdapter('/dev/i2c-91', []):
        node = start(AmbientLight, bus='91', address=0x24)
        assert node.started
        status = listener.diagnostics('ambient_light').until(lambda status: 'nobody answers' in status.message)
        assert status.level == DiagnosticStatus.WARN
        assert '0x24 on /dev/i2c-91' in status.message
        assert '\n' not in status.message
        assert int(values_of(status)['errors NobodyAnswers']) > 0
        assert listener.state('ambient_light') == 'active'
        assert listener.transit('ambient_light', 'deactivate')


def test_a_bus_that_is_not_there_is_told_with_the_cure(listener, start):
    node = start(AmbientLight, bus='/dev/i2c-77')
    assert node.started
    status = listener.diagnostics('ambient_light').until(lambda status: status.level == DiagnosticStatus.ERROR)
    assert status.message.startswith('there is no I2C bus /dev/i2c-77: ')
    assert 'modprobe i2c-dev' in status.message or 'choose one of' in status.message
