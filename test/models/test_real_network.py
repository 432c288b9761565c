"""A published network, from its file to the faces in a photograph; only on machines that have the file."""

import cv2
import numpy as np
import pytest
from skimage import data

from facefusion_ros.engines.ort import OrtEngine
from facefusion_ros.faces.decoders import yunet
from facefusion_ros.faces.network import NetworkDetector
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.store import Store


@pytest.fixture(scope='module')
def stored(tmp_path_factory, yunet_file):
    store = Store(tmp_path_factory.mktemp('store'), catalogue())
    store.add(yunet_file)
    return store.resolve('yunet_n_640_640')


@pytest.fixture(scope='module')
def photograph():
    return cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR)


def test_what_is_known_of_it(stored):
    path, entry = stored
    assert path.name == 'yunet_n_640_640.onnx'
    assert entry.family.name == 'yunet'
    assert entry.sha256 == '25a606a145a5b6d7271ae138fbd00eba91dad8b83222ae3f2c7ecd0f4a7b0e31'
    assert (entry.licence, entry.commercial) == ('Apache-2.0', True)


def test_fed_and_read_as_the_catalogue_says_it_finds_what_opencv_finds(stored, photograph):
    path, entry = stored
    engine = OrtEngine(path)
    picture = cv2.resize(photograph, entry.size, interpolation=cv2.INTER_AREA)
    fed = entry.family.preprocessing
    values = picture if fed.colour == 'bgr' else picture[..., ::-1]
    values = ((values * np.float64(fed.scale) - fed.mean) / fed.std).astype(np.float32)
    outputs = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in engine.outputs}
    engine.run({entry.inputs['picture']: np.ascontiguousarray(values.transpose(2, 0, 1)[None])}, outputs)
    # The decoder takes them in the order of the family's roles.
    found = yunet([outputs[name][0] for name in entry.outputs.values()], entry.size, 0.5)
    best = found.scores.argmax()
    left, top, right, bottom = found.boxes[best]
    opencv = cv2.FaceDetectorYN.create(str(path), '', entry.size, 0.5)
    _, (face,) = opencv.detect(picture)
    np.testing.assert_allclose((left, top, right - left, bottom - top), face[:4], atol=0.05)
    np.testing.assert_allclose(found.landmarks[best], face[4:14].reshape(5, 2), atol=0.05)
    assert found.scores[best] == pytest.approx(face[14], abs=1e-4)


def test_it_finds_the_astronaut(stored, photograph):
    path, entry = stored
    (face,) = NetworkDetector(OrtEngine(path), entry.family).detect(photograph)
    assert face.score > 0.85
    # Measured by hand, pixels; eyes are 43 apart.
    by_hand = np.array([(203.1, 100.5), (246.2, 102.7), (224.3, 126.0), (202.2, 138.8), (244.2, 140.2)])
    assert np.linalg.norm(face.landmarks - by_hand, axis=1).max() < 9
