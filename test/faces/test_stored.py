"""What finds the faces, by the names that people give."""

import numpy as np
import pytest
import yaml

from facefusion_ros.engines.engine import EngineError
from facefusion_ros.faces.network import NetworkDetector
from facefusion_ros.faces.stored import load_detector
from facefusion_ros.models import store as store_module
from facefusion_ros.models.entry import ModelError
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.store import INDEX, Store
from facefusion_ros.models.tiny import write_tiny

PICTURE = np.full((480, 640, 3), 90, np.uint8)
SHIPPED = {'face_detector': 'yolov4_tiny_points', 'face_landmarks': 'landmarks_68'}


@pytest.fixture(autouse=True)
def _own(tmp_path, monkeypatch):
    """The user's store, with a detector and a network of landmarks; nothing ships."""
    monkeypatch.setenv('FACEFUSION_MODELS', str(tmp_path / 'store'))
    (tmp_path / 'weights').mkdir()
    (tmp_path / 'weights' / INDEX).write_text('models: {}\n')
    monkeypatch.setattr(store_module, 'WEIGHTS', tmp_path / 'weights')
    store = Store(tmp_path / 'store', catalogue())
    for family in ('yunet', 'pfld_98', 'arcface'):
        write_tiny(family, tmp_path / f'{family}.onnx')
        store.add(tmp_path / f'{family}.onnx', licence='MIT')


@pytest.fixture
def ships(_own, tmp_path):
    """Our own families ship."""
    made = Store(tmp_path / 'made', catalogue())
    for name, family in SHIPPED.items():
        file = tmp_path / 'weights' / f'{name}.onnx'
        write_tiny(family, file)
        made.add(file, licence='Apache-2.0')
    index = yaml.safe_load((made.folder / INDEX).read_text())
    for name, entry in index['models'].items():
        entry['file'] = f'{name}.onnx'
    (tmp_path / 'weights' / INDEX).write_text(yaml.safe_dump(index))


@pytest.mark.usefixtures('ships')
@pytest.mark.parametrize(
    ('names', 'runs'),
    [
        ((), {'face_detector', 'face_landmarks'}),
        (('default', 'default'), {'face_detector', 'face_landmarks'}),
        (('', 'none'), {'face_detector'}),
        (('', 'pfld_98'), {'face_detector', 'pfld_98'}),
        (('yunet',), {'yunet'}),
        (('yunet', 'default'), {'yunet', 'face_landmarks'}),
        (('yunet', 'pfld_98'), {'yunet', 'pfld_98'}),
    ],
)
def test_names_say_which_networks_find_the_faces(names, runs):
    detector = load_detector(*names)
    assert set(detector.providers) == runs
    (face,) = detector.detect(PICTURE)
    assert 200 < face.landmarks[:, 0].mean() < 440
    assert detector.again(PICTURE, face) is not None
    assert 0 < detector.sure_score < 1
    assert detector.again_is_cheap == ('face_landmarks' in runs)
    detector.close()
    detector.close()
    with pytest.raises(EngineError):
        detector.detect(PICTURE)


@pytest.mark.usefixtures('ships')
def test_a_second_look_lets_the_first_propose_what_it_is_not_sure_of(monkeypatch):
    least = []
    before = NetworkDetector.__init__
    monkeypatch.setattr(
        NetworkDetector,
        '__init__',
        lambda self, engine, family, settings, *more: (
            least.append(settings.min_score) or before(self, engine, family, settings, *more)
        ),
    )
    for landmarks in ('none', 'pfld_98', 'default'):
        load_detector('yunet', landmarks).close()
    assert least == pytest.approx([0.7, 0.7, 0.49])


def test_where_nothing_ships_that_is_said():
    assert set(load_detector('yunet').providers) == {'yunet'}
    for names in ((), ('yunet', 'default')):
        with pytest.raises(ModelError, match='no network ships for this: name one of your own'):
            load_detector(*names)


@pytest.mark.parametrize(
    ('names', 'text'),
    [
        (('nobody',), "no model is named 'nobody'"),
        (('arcface',), r'arcface is a recognition \(arcface\), not a detector'),
        (('yunet', 'arcface'), r'arcface is a recognition \(arcface\), not a landmarks'),
    ],
)
def test_what_cannot_be_had_is_named(names, text):
    with pytest.raises((ModelError, EngineError), match=text):
        load_detector(*names)
