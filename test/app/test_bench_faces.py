import json

import cv2
import numpy as np
import pytest

from facefusion_ros.app.bench.faces import faces
from facefusion_ros.errors import FacefusionError


@pytest.mark.usefixtures('models')
def test_detectors_are_measured_side_by_side():
    result = json.loads(json.dumps(faces(['yunet'], variations=5), allow_nan=False))
    assert result['goals']['recall'] == 0.95
    found = result['detectors']
    assert set(found) == {'default', 'yunet'}
    for name, row in found.items():
        assert row['portrait']['pictures'] == 5
        assert row['ms_per_picture']['p50'] > 0, name
    # The tiny YuNet finds its face in anything.
    assert found['yunet']['other_pictures_taken_for_one_of_100'] == 100
    assert found['yunet']['meets_the_goals'] is False


@pytest.mark.usefixtures('models')
def test_in_pictures_of_a_folder_the_finds_are_told(tmp_path, facefusion):
    cv2.imwrite(str(tmp_path / 'a.png'), np.full((480, 640, 3), 90, np.uint8))
    (tmp_path / 'inside').mkdir()
    cv2.imwrite(str(tmp_path / 'inside' / 'b.jpg'), np.full((100, 100, 3), 9, np.uint8))
    (tmp_path / 'names.txt').write_text('nobody')
    done = facefusion('bench', 'faces', '--model', 'yunet', '--images', tmp_path, '--json', '-')
    assert (done.code, done.err) == (0, '')
    result = json.loads(done.out)
    assert 'goals' not in result
    row = result['detectors']['yunet']
    assert (row['pictures'], row['pictures_with_a_face'], row['faces']) == (2, 2, 2)
    assert list(row['finds']) == ['a.png', 'inside/b.jpg']
    assert len(row['finds']['a.png'][0]['landmarks']) == 5
    assert result['detectors']['default']['faces'] == 0


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(FacefusionError, match='has no picture'):
        faces(images=tmp_path)
