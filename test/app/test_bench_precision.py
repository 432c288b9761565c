import pytest

from facefusion_ros.app.bench.precision import precision


@pytest.fixture(scope='module')
def result():
    return precision(frames=2)


def test_every_precision_is_timed_and_compared(result):
    assert result['fp32'].keys() == {'latency_ms', 'latency_ratio'}
    for name in ('fp16', 'int8', 'int8_keep_regions'):
        row = result[name]
        assert 0.0 < row['latency_ms']['p50'] <= row['latency_ms']['p99']
        assert row['latency_ratio'] > 0.0
        assert 0.0 < row['skin_mean_de2000'] < row['skin_p95_de2000']
        assert len(row['skin_shift_lab']) == 3
    assert 'latency_ms' not in result['int8_for_tensorrt']
    # It returns what it is given, or colours would mean nothing.
    assert result['rms_from_input'] < 15.0


def test_fp16_is_hardly_seen_and_int8_is(result):
    assert result['fp16']['skin_p95_de2000'] < 0.1
    assert result['int8']['skin_p95_de2000'] > 0.5
    for name in ('int8', 'int8_for_tensorrt', 'int8_keep_regions'):
        assert max(map(abs, result[name]['skin_shift_lab'])) < 0.2


def test_regions_are_kept_and_skin_stays_within_the_limit(result):
    assert result['wanted'] == {'regions_at_most_0.5_of_int8': True, 'skin_p95_de2000_at_most_1.8': True}
    for part in ('eyes', 'lips'):
        assert result['int8_keep_regions'][f'{part}_de2000'] <= 0.5 * result['int8'][f'{part}_de2000']
    assert result['int8_keep_regions']['skin_p95_de2000'] <= 1.8
