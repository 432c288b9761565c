import json


def test_transport_compares_the_two_ways(tmp_path, facefusion_process):
    done = facefusion_process('bench', 'transport', '--frames', '10', '--json', tmp_path / 'hops.json')
    assert (done.code, done.out) == (0, ''), done
    result = json.loads((tmp_path / 'hops.json').read_text())
    assert result['rate_hz'] == 30.0
    assert result['picture'].startswith('1920x1080')
    assert result['frames'] >= 10
    for way in ('frameref', 'image'):
        assert list(result[f'{way}_ms']) == ['p50', 'p99']
        assert 0.0 < result[f'{way}_ms']['p50'] <= result[f'{way}_ms']['p99']
        assert 0 < result[f'{way}_arrived'] <= result['frames']
    ratio = result['image_ms']['p50'] / result['frameref_ms']['p50']
    assert abs(result['ratio_p50'] - ratio) <= 0.06
    assert ratio > 1.0


def test_stages_at_three_sizes(facefusion_process):
    done = facefusion_process('bench', 'stages', '--frames', '5')
    assert (done.code, done.err) == (0, ''), done
    result = json.loads(done.out)
    assert result['frames'] == 5
    for size in ('640x480', '1280x720', '1920x1080'):
        row = result[size]
        assert row['frames_with_a_face'] == 5
        for stage in ('detector', 'swapper', 'blender', 'sum'):
            assert 0.0 < row[stage]['p50'] <= row[stage]['p95'] <= row[stage]['p99']


def test_the_place_for_the_numbers_is_checked(tmp_path, facefusion_process):
    done = facefusion_process('bench', 'stages', '--frames', '1', '--json', tmp_path / 'missing' / 'stages.json')
    assert 'missing/stages.json: No such file or directory' in done.refusal
