import json

import cv2
import numpy as np
import pytest

from facefusion_ros.app.bench.capture import FORMATS, ways


def scene():
    """A picture without fine detail, so that nothing is lost by sharing colour among pixels."""
    few = np.random.default_rng(4).integers(0, 256, (4, 6, 3), np.uint8)
    return cv2.resize(few, (96, 64), interpolation=cv2.INTER_LINEAR)


@pytest.mark.parametrize('form', FORMATS, ids=lambda form: form.name)
def test_all_ways_make_the_same_picture(form):
    picture = scene()
    wanted = picture if form.fourcc != 'GREY' else cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)[..., None]
    out = np.empty_like(picture)
    found = ways(form, picture, out)
    assert {'ours'} < set(found)
    for way in found.values():
        out[...] = 0
        way()
        assert np.abs(out.astype(int) - wanted).mean() < 4.0


def test_the_command_tells_each_way_at_each_size(tmp_path, facefusion_process):
    done = facefusion_process('bench', 'capture', '--frames', '1', '--json', tmp_path / 'capture.json')
    assert done.code == 0, done
    assert 'MJPEG' in done.out
    result = json.loads((tmp_path / 'capture.json').read_text())
    for size in ('640x480', '1280x720', '1920x1080'):
        assert list(result[size]) == [form.name for form in FORMATS]
        for row in result[size].values():
            for way in row.values():
                assert 0.0 < way['cpu_ms']['p50'] <= way['cpu_ms']['p95']
                assert way['error'] < 5.0
