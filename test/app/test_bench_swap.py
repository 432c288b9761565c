"""The measure of how far a swap moves a face's landmarks."""

from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from facefusion_ros.app.bench import swap as bench
from facefusion_ros.app.bench.photographs import variations
from facefusion_ros.engines.stored import load_stored
from facefusion_ros.faces.landmarks import LandmarkNetwork
from facefusion_ros.models.entry import Role


@dataclass
class Mover:
    """A patch maker that shows the face itself, moved to the right by so many distances of the eyes."""

    moved: float
    size: int = 256
    name, digest, reflectance = 'mover', '', 1.0

    def assign(self, _pixels, faces):
        return [Shown(face, self) for face in faces]

    def make(self, pixels, part, out):
        left, top = part.face.landmarks.mean(axis=0) - 128
        eyes_px = np.linalg.norm(part.face.landmarks[1] - part.face.landmarks[0])
        crop = np.array([[1, 0, -left + self.moved * eyes_px], [0, 1, -top]])
        out[..., :3] = cv2.warpAffine(pixels, crop, (256, 256), borderMode=cv2.BORDER_REPLICATE)
        out[..., 3] = 0
        out[8:-8, 8:-8, 3] = 255
        return np.array([[1, 0, left], [0, 1, top]])


@dataclass
class Shown:
    face: object
    shown: object


@pytest.fixture(scope='module')
def judge():
    network = load_stored('default', Role.LANDMARKS)
    yield LandmarkNetwork(network.engine, network.entry.family)
    network.engine.close()


@pytest.mark.parametrize('moved', [0.0, 0.1, 0.2])
def test_what_moves_a_face_is_told_by_how_much(judge, moved):
    clear = [each for each in variations(12) if 0.5 < each.picture.shape[0] / 512 < 1.2][:3]
    apart = [bench._measured(each, Mover(moved), judge)[0] for each in clear]
    assert np.mean(apart) == pytest.approx(moved, abs=0.035)


def test_every_persona_is_measured():
    told = bench.swap(variations=2)
    assert list(told['personas']) == ['porcelain', 'obsidian', 'jade']
    for row in told['personas'].values():
        assert row['pictures'] == 2
        assert 0.0 < row['landmarks_apart_mean'] <= row['landmarks_apart_p95'] < 1.0
        assert row['ms_per_face']['p50'] > 0.0
