import cv2
import numpy as np
import pytest
import skimage.transform
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from facefusion_ros.engines.engine import EngineError, TensorSpec
from facefusion_ros.engines.ort import OrtEngine
from facefusion_ros.faces.alignment import ARCFACE_112
from facefusion_ros.faces.face import Face
from facefusion_ros.faces.head import box_around
from facefusion_ros.faces.recognition import (
    IdentityError,
    Recogniser,
    largest_face,
    load_identity,
    mean_identity,
    save_identity,
)
from facefusion_ros.faces.stored import load_detector
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.tiny import write_tiny


@pytest.fixture(scope='module')
def recogniser(tmp_path_factory):
    path = tmp_path_factory.mktemp('arcface') / 'tiny.onnx'
    write_tiny('arcface', path)
    return Recogniser(OrtEngine(path), catalogue().family('arcface'))


def face_at(landmarks):
    return Face(box_around(landmarks), 0.9, np.asarray(landmarks, np.float32))


def random_identity(seed):
    return np.random.default_rng(seed).normal(0, 1, 512).astype(np.float32)


def test_an_embedding_has_length_one(recogniser, portrait):
    pixels, truth = portrait.picture(70)
    embedding = recogniser.embedding(pixels, face_at(truth))
    assert embedding.shape == (512,)
    assert embedding.dtype == np.float32
    assert np.linalg.norm(embedding) == pytest.approx(1.0, abs=1e-6)


def test_place_size_and_roll_hardly_change_who_it_is(recogniser, portrait):
    """The crop is aligned: even a network of random weights sees nearly the same picture."""
    pixels, truth = portrait.picture(60)
    embedding = recogniser.embedding(pixels, face_at(truth))
    for change in ({'roll_deg': 35}, {'eye_distance': 130}, {'centre': (200, 200)}, {'eye_distance': 30}):
        pixels, truth = portrait.picture(**{'eye_distance': 60, **change})
        assert embedding @ recogniser.embedding(pixels, face_at(truth)) > 0.98
    other = recogniser.embedding(pixels, face_at(truth + 60))
    assert embedding @ other < 0.95


def test_the_recogniser_is_given_the_aligned_crop(portrait):
    class Keeps:
        provider = 'written by hand'
        inputs = (TensorSpec('face', (None, 3, 112, 112), np.dtype(np.float32)),)
        outputs = (TensorSpec('vector', (None, 512), np.dtype(np.float32)),)

        def run(self, inputs, outputs):
            self.asked = inputs['face'].copy()
            outputs['vector'][...] = self.answer

    engine = Keeps()
    engine.answer = 3.0
    recogniser = Recogniser(engine, catalogue().family('arcface'))
    pixels, truth = portrait.picture(35.2)
    recogniser.embedding(pixels, face_at(truth))
    crop = engine.asked[0].transpose(1, 2, 0)
    # As InsightFace aligns it: RGB, -1..1.
    picture_to_crop = skimage.transform.estimate_transform('similarity', truth, np.array(ARCFACE_112)).params[:2]
    expected = cv2.warpAffine(pixels, picture_to_crop, (112, 112))[..., ::-1] / 127.5 - 1
    np.testing.assert_allclose(crop, expected, atol=3 / 127.5)
    for answer in (0.0, np.nan):
        engine.answer = answer
        with pytest.raises(EngineError, match='higher precision'):
            recogniser.embedding(pixels, face_at(truth))


def test_pictures_of_one_face_have_one_identity(recogniser, portrait):
    detector = load_detector()
    pictures = [portrait.picture(size)[0] for size in (50, 80)]
    each = [recogniser.embedding(pixels, largest_face(pixels, detector, 'portrait.png')) for pixels in pictures]
    identity = mean_identity(each)
    assert np.linalg.norm(identity) == pytest.approx(1.0, abs=1e-6)
    assert min(identity @ embedding for embedding in each) > 0.9
    with pytest.raises(IdentityError, match='at least one'):
        mean_identity([])


def test_of_several_faces_the_largest_is_taken_and_none_is_named(portrait):
    pixels = np.full((480, 640, 3), 90, np.uint8)
    portrait.paste(pixels, 20, 60, scale=1.2)
    truth = portrait.paste(pixels, 260, 60, scale=1.9)
    face = largest_face(pixels, load_detector(), 'two.png')
    assert np.abs(face.landmarks - truth).max() < 0.2 * np.hypot(*(truth[1] - truth[0]))
    with pytest.raises(IdentityError, match=r'no face in empty\.png: use'):
        largest_face(np.full((200, 200, 3), 90, np.uint8), load_detector(), 'empty.png')


finite = npst.arrays(np.float32, 512, elements=st.floats(-10, 10, width=32)).filter(lambda a: np.linalg.norm(a) > 0.1)


@given(finite, st.floats(0.01, 100))
def test_pictures_count_equally_however_long_their_vectors(vector, factor):
    other = random_identity(5)
    expected = mean_identity([vector, other])
    np.testing.assert_allclose(mean_identity([vector * factor, other]), expected, atol=1e-4)
    np.testing.assert_allclose(mean_identity([other, vector]), expected, atol=1e-6)
    assert np.linalg.norm(expected) == pytest.approx(1.0, abs=1e-5)


def test_vectors_that_cancel_are_no_identity():
    with pytest.raises(IdentityError, match='one person'):
        mean_identity([random_identity(1), -random_identity(1)])


def test_a_file_gives_back_what_was_saved(tmp_path):
    path = tmp_path / 'person.npy'
    save_identity(path, random_identity(3) * 7)
    identity = load_identity(path)
    assert identity.dtype == np.float32
    np.testing.assert_allclose(identity, mean_identity([random_identity(3)]), atol=1e-7)
    # As other programs write it: raw, with a batch, in another precision.
    np.save(path, random_identity(3).astype(np.float64)[None] * 20)
    np.testing.assert_allclose(load_identity(path), identity, atol=1e-7)


@pytest.mark.parametrize(
    ('content', 'says'),
    [
        (np.zeros(512, np.float32), 'is zero'),
        (np.full(512, np.nan, np.float32), 'is not finite'),
        (np.ones(128, np.float32), r'\(128,\) of float32'),
        (np.ones(512, np.int64), 'floating point'),
        (np.array([{}] * 512), 'no .npy file'),
        (b'', 'no .npy file'),
        (b'not numpy', 'no .npy file'),
        (b'PK\x03\x04 broken', 'no .npy file'),
    ],
)
def test_a_file_that_holds_no_identity_says_what_it_holds(tmp_path, content, says):
    path = tmp_path / 'person.npy'
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(IdentityError, match=says):
        load_identity(path)


def test_files_that_cannot_be_reached_are_named(tmp_path):
    with pytest.raises(IdentityError, match=r'cannot read the identity .*nobody\.npy'):
        load_identity(tmp_path / 'nobody.npy')
    with pytest.raises(IdentityError, match='cannot write the identity'):
        save_identity(tmp_path / 'nowhere' / 'person.npy', random_identity(1))


def test_a_network_without_an_embedding_is_refused(tmp_path):
    write_tiny('pfld_68', tmp_path / 'tiny.onnx')
    with pytest.raises(EngineError, match='no embedding of 512'):
        Recogniser(OrtEngine(tmp_path / 'tiny.onnx'), catalogue().family('arcface'))
