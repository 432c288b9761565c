"""That the measure of the alignment measures: its figures where the answer is known without it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml

from facefusion_ros.app.bench import alignment as bench
from facefusion_ros.sim.gyro import Imu
from facefusion_ros.sim.world import load_world

KEYS = {'px_mean', 'px_p95'}


@pytest.fixture(scope='module')
def turning():
    return load_world('turning')


def run(world, names, count=60, first=0):
    made = bench.Comparison(world, names, 2)
    made.run(first, 6)
    return made.run(first + 6, count)


def test_doing_nothing_errs_by_the_motion_of_the_landmarks(turning):
    landmarks = [turning.truth(index).landmarks.astype(np.float64) for index in range(4, 66)]
    moved = [np.linalg.norm(b - a, axis=1).mean() for a, b in zip(landmarks, landmarks[2:], strict=False)]
    figures = run(turning, ['none'])['none']
    assert figures['frames'] == 60
    assert figures['px_mean'] == pytest.approx(np.mean(moved), rel=1e-6)
    assert figures['px_p95'] == pytest.approx(np.quantile(moved, 0.95), rel=1e-6)
    assert figures['harmed'] == 0.0


def test_what_is_drawn_is_what_is_summed_up(turning):
    made = bench.Comparison(turning, ['none', 'gyro'], 2)
    figures = made.run(30, 30)
    for name, series in made.series().items():
        assert np.mean(series['px']) == pytest.approx(figures[name]['px_mean'], abs=1e-3)
        assert series['time_s'] == pytest.approx([index / 30.0 for index in range(32, 60)], abs=1e-3)


def test_an_ideal_gyro_is_nearly_exact_and_a_cheap_one_is_not(turning):
    """What a camera that only turns shows is predicted by an ideal 200 Hz gyro to a tenth of a pixel."""
    ideal = run(replace(turning, imu=Imu()), ['gyro'])['gyro']
    assert ideal['px_p95'] < 0.15
    cheap = run(turning, ['gyro'])['gyro']
    assert 2.0 < cheap['px_p95'] < 8.0
    late = run(replace(turning, imu=Imu(time_offset_ms=8.0)), ['gyro'])['gyro']
    assert late['px_p95'] > 2.0


def test_a_rolling_shutter_is_known_to_the_bench(turning):
    rolling = replace(turning, imu=Imu(), camera=replace(turning.camera, readout_s=0.03, distortion=(-0.2, 0.05, 0, 0)))
    assert run(rolling, ['gyro'])['gyro']['px_p95'] < 0.3


def test_the_gyro_alone_misleads_where_the_face_rides_along():
    figures = run(load_world('riding'), ['none', 'gyro'], first=60)
    assert figures['none']['px_p95'] < 4.0
    assert figures['gyro']['px_p95'] > 15.0
    assert figures['gyro']['harmed'] > 0.5


def test_a_live_frame_knows_no_later_reading(turning):
    lanes = bench.Comparison(turning, ['gyro_flow', 'live'], 2).lanes
    picture = np.zeros((480, 640, 3), np.uint8)
    for lane in lanes.values():
        lane.observe(picture, 30, ())
    exposure_s = turning.truth(30).exposure_s
    assert lanes['live'].read_to - 1 == np.floor((1.0 + exposure_s / 2.0) * 200.0)
    assert lanes['gyro_flow'].read_to - 1 == np.floor((1.0 + 2.0 / 30.0) * 200.0)


def test_variants():
    parallax = load_world('parallax')
    still = bench.still_variant(parallax)
    np.testing.assert_array_equal(still.truth(7).landmarks, still.truth(33).landmarks)
    riding = bench.riding_variant(load_world('turning'))
    np.testing.assert_allclose(riding.truth(7).landmarks, riding.truth(33).landmarks, atol=1e-3)
    np.testing.assert_allclose(riding.truth(0).landmarks, load_world('turning').truth(0).landmarks, atol=40.0)
    assert bench.riding_variant(load_world('riding')) == load_world('riding')
    inside = replace(parallax, face=None, scene=replace(parallax.scene, rides=True))
    assert bench.riding_variant(inside) == inside


def test_jitter_is_the_root_mean_square():
    rng = np.random.default_rng(3)
    places = list(100.0 + 0.1 * rng.standard_normal((4000, 5, 2)))
    assert bench._jitter(places) == pytest.approx(0.1 * np.sqrt(2.0), rel=0.02)
    assert bench._jitter(places[:1]) is None
    wandering = [place + 0.001 * i for i, place in enumerate(places)]
    assert bench._jitter(wandering) > 1.0
    assert bench._jitter(wandering, 15) == pytest.approx(0.1 * np.sqrt(2.0), rel=0.08)


@pytest.mark.parametrize('late', [0, 1])
def test_lag_is_told_in_the_time_of_the_world(turning, monkeypatch, late):
    """Landmarks as they were a frame before are a frame late."""

    def found(world, count):
        for index in range(30, 30 + count):
            stamp_ns = world.frame_stamp_ns(index, bench.EPOCH_NS)
            yield index, None, *(bench._face(world.truth(at), stamp_ns) for at in (index - late, index))

    monkeypatch.setattr(bench, '_found', found)
    assert bench._lag_ms(turning, 60) == pytest.approx(1e3 * late / 30.0, abs=4.0)


def test_the_command(tmp_path, facefusion_process):
    brief = ('--world', 'parallax', '--seconds', '0.5', '--calibration', '0.5')
    done = facefusion_process('bench', 'alignment', *brief, '--json', tmp_path / 'a.json')
    assert done.code == 0, done
    result = json.loads((tmp_path / 'a.json').read_text())
    for mode in ('none', 'gyro', 'gyro_flow', 'live'):
        assert set(result[mode]) >= KEYS
        assert result[mode]['frames'] == 15
    for key in ('still_jitter_px', 'lag_ms', 'comoving_px_p95', 'time_offset_error_ms'):
        assert isinstance(result[key], float) or key in result['reasons']
    assert result['latency_ms'] == pytest.approx(66.67, abs=0.01)
    assert result['none']['px_p95'] > 10.0
    assert result['gyro_flow']['ms_mean'] > 0.0
    assert 'px p95' in done.out


@pytest.mark.parametrize(
    ('words', 'answer'),
    [(('--latency', 'nan'), 'nan is not above 0'), (('--world', 'nowhere'), "no world is named 'nowhere'")],
)
def test_mistakes_on_the_command_line(words, answer, facefusion_process):
    done = facefusion_process('bench', 'alignment', *words)
    assert done.code != 0
    assert answer in done.err


def test_what_cannot_be_measured_says_why(tmp_path):
    """A face that is out of the picture, and too near the camera to ride along at its own pace."""
    content = {
        'period_s': 1.0,
        'seed': 1,
        'camera': {'width': 160, 'height': 120, 'rate_hz': 30.0, 'hfov_deg': 40.0},
        'motion': {'yaw': [{'amplitude_deg': 1.0, 'cycles': 1}], 'forward': [{'amplitude_m': 0.9, 'cycles': 1}]},
        'light': {'lux': 300.0},
        'scene': {'distance_m': 3.0, 'width_m': 0.7, 'face_at_m': [1.0, 0.0]},
        'face': {'distance_m': 0.9, 'motion': {'forward': [{'amplitude_m': 0.9, 'cycles': 1}]}},
    }
    (tmp_path / 'off.yaml').write_text(yaml.safe_dump(content))
    result = bench.alignment(str(tmp_path / 'off.yaml'), seconds=0.5, calibration_s=0.2)
    assert result['none']['px_p95'] is result['still_jitter_px'] is result['comoving_px_p95'] is None
    assert {'px_mean', 'still_jitter_px', 'lag_ms', 'comoving_px_p95'} <= set(result['reasons'])
    json.dumps(result, allow_nan=False)
    assert 'reasons' not in bench.table(result)
