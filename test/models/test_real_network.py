"""A published network, from its file to the faces in a photograph; only on machines that have the file."""

import cv2
import numpy as np
from skimage import data

from facefusion_ros.engines.ort import OrtEngine
from facefusion_ros.faces.network import NetworkDetector
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.store import Store


def test_yunet_finds_the_astronaut(tmp_path, yunet_file):
    store = Store(tmp_path / 'store', catalogue())
    added = store.add(yunet_file)
    assert added.sha256 == '25a606a145a5b6d7271ae138fbd00eba91dad8b83222ae3f2c7ecd0f4a7b0e31'
    assert (added.licence, added.commercial) == ('Apache-2.0', True)
    path, entry = store.resolve('yunet_n_640_640')
    assert entry.family.name == 'yunet'
    detector = NetworkDetector(OrtEngine(path), entry.family)
    photograph = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR)
    picture = cv2.resize(photograph, (640, 640), interpolation=cv2.INTER_AREA)
    (face,) = detector.detect(picture)
    assert face.score > 0.85
    # OpenCV's own reading of the same file; it counts pixels from their edges.
    opencv = cv2.FaceDetectorYN.create(str(path), '', (640, 640), 0.5)
    _, (found,) = opencv.detect(picture)
    np.testing.assert_allclose(face.landmarks, found[4:14].reshape(5, 2) - 0.5, atol=0.05)
    np.testing.assert_allclose(face.box, found[:4] - (0.5, 0.5, 0, 0), atol=0.05)
    # Measured by hand in the photograph, pixels; the network is as far off as that at one corner of the smile.
    by_hand = np.array([(203.1, 100.5), (246.2, 102.7), (224.3, 126.0), (202.2, 138.8), (244.2, 140.2)])
    assert np.linalg.norm(face.landmarks * 0.8 - by_hand, axis=1).max() < 9
