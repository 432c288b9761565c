import hashlib

import numpy as np
import pytest

from facefusion_ros.engines.engine import EngineError
from facefusion_ros.engines.ort import OrtEngine
from facefusion_ros.models.entry import ModelError
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.graph import read_graph, read_weight
from facefusion_ros.models.recognition import recognise
from facefusion_ros.models.tiny import write_tiny
from facefusion_ros.personas.persona import PersonaError
from facefusion_ros.personas.source import Likeness, digest_of, source_picture, source_vector

FAMILIES = catalogue().families


def basis(i, length=1.0):
    vector = np.zeros(512, np.float32)
    vector[i] = length
    return vector


@pytest.fixture(scope='module')
def crossface(tmp_path_factory):
    path = tmp_path_factory.mktemp('crossface') / 'tiny.onnx'
    write_tiny('crossface', path)
    engine = OrtEngine(path)
    yield engine
    engine.close()


def test_the_projection_is_a_row_vector_times_the_matrix_made_length_one() -> None:
    matrix = np.zeros((512, 512), np.float32)
    matrix[0, 3], matrix[0, 7], matrix[5, 0] = 6.0, 8.0, 100.0
    projected = source_vector(basis(0, length=40.0), FAMILIES['inswapper'], matrix)
    np.testing.assert_allclose(projected, 0.6 * basis(3) + 0.8 * basis(7), atol=1e-7)
    assert projected.dtype == np.float32


def test_the_projection_of_a_file_is_used(tmp_path) -> None:
    path = tmp_path / 'inswapper.onnx'
    write_tiny('inswapper', path)
    found = recognise(read_graph(path), catalogue())
    matrix = read_weight(path, found.weight)
    identity = np.random.default_rng(3).normal(0, 1, 512).astype(np.float32)
    projected = source_vector(identity, found.family, matrix)
    latent = identity / np.linalg.norm(identity) @ matrix
    np.testing.assert_allclose(projected, latent / np.linalg.norm(latent), atol=1e-5)


def test_hyperswap_is_given_the_unit_vector() -> None:
    np.testing.assert_array_equal(source_vector(basis(9, 25.0), FAMILIES['hyperswap']), basis(9))


@pytest.mark.parametrize('name', ['ghost', 'simswap', 'simswap_512', 'hififace'])
def test_a_converted_identity_is_made_length_one_but_for_ghost(crossface, name) -> None:
    identity = basis(4)
    given, found = identity[None], np.zeros((1, 512), np.float32)
    crossface.run({'input': given}, {'output': found})
    length = 1.0 if name == 'ghost' else np.linalg.norm(found)
    vector = source_vector(identity * 20, FAMILIES[name], converter=crossface)
    np.testing.assert_allclose(vector, found[0] / length, atol=1e-6)


def test_a_source_picture_is_aligned(porcelain) -> None:
    for name, size in (('uniface', 256), ('blendswap', 112)):
        frame = np.zeros((512, 512, 3), np.uint8)
        for x, y in np.round(porcelain.landmarks).astype(int):
            frame[y - 9 : y + 10, x - 9 : x + 10] = 255
        aligned = source_picture(frame, porcelain.landmarks, FAMILIES[name])
        assert aligned.shape == (size, size, 3)
        template = catalogue().templates[FAMILIES[name].source.template]
        for x, y in np.round(np.array(template.points) * (size / template.size)).astype(int):
            # Within a few pixels: a similarity does not take every face onto the template.
            assert aligned[y - size // 32 : y + size // 32, x - size // 32 : x + size // 32].max() > 200


def test_what_is_missing_or_wrong_is_said_in_one_line(tmp_path) -> None:
    write_tiny('arcface', tmp_path / 'arcface.onnx')
    recogniser = OrtEngine(tmp_path / 'arcface.onnx')
    bad = np.full((512, 512), np.nan)
    for error, match, call in [
        (ModelError, 'projection', lambda: source_vector(basis(0), FAMILIES['inswapper'])),
        (ModelError, 'crossface_ghost', lambda: source_vector(basis(0), FAMILIES['ghost'])),
        (ModelError, 'takes a picture', lambda: source_vector(basis(0), FAMILIES['uniface'])),
        (ModelError, 'takes no source', lambda: source_vector(basis(0), FAMILIES['dfm'])),
        (ModelError, 'takes a vector', lambda: source_picture(np.zeros((9, 9, 3)), [], FAMILIES['ghost'])),
        (PersonaError, 'is zero', lambda: source_vector(basis(0, 0.0), FAMILIES['hyperswap'])),
        (PersonaError, 'not finite', lambda: source_vector(basis(0, np.nan), FAMILIES['hyperswap'])),
        (PersonaError, '512', lambda: source_vector(np.ones(128), FAMILIES['hyperswap'])),
        (EngineError, 'crossface', lambda: source_vector(basis(0), FAMILIES['ghost'], converter=recogniser)),
        (EngineError, 'is not finite', lambda: source_vector(basis(0), FAMILIES['inswapper'], bad)),
        (EngineError, 'is zero', lambda: source_vector(basis(0), FAMILIES['inswapper'], np.zeros((512, 512)))),
        (PersonaError, 'consent', lambda: Likeness('ada', 'Ada', ' ', '00')),
    ]:
        with pytest.raises(error, match=match) as caught:
            call()
        assert '\n' not in str(caught.value)


def test_the_digest_is_of_the_identitys_numbers() -> None:
    identity = np.arange(512, dtype=np.float32)
    assert digest_of(identity) == hashlib.sha256(identity.astype('<f4').tobytes()).hexdigest()
    assert digest_of(identity.astype(np.float64)) == digest_of(identity)
    assert digest_of(identity) != digest_of(identity[::-1])
