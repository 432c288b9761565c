"""Tiny networks: what they promise, checked by running them."""

import numpy as np
import pytest

from facefusion_ros.engines.ort import OrtEngine, OrtSettings
from facefusion_ros.errors import FacefusionError
from facefusion_ros.faces.face import Face
from facefusion_ros.faces.landmarks import LandmarkNetwork, five
from facefusion_ros.faces.network import NetworkDetector
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.graph import read_graph
from facefusion_ros.models.recognition import input_shapes, recognise
from facefusion_ros.models.tiny import (
    FACE_BOX,
    FACE_POINTS,
    FACE_SCORE,
    LEFT_EYE,
    MOUTH,
    NOSE,
    RIGHT_EYE,
    family_names,
    write_tiny,
)

DETECTORS = ('yolov4_tiny', 'yolov4_tiny_points', 'yoloface', 'scrfd', 'retinaface', 'yunet')


def test_every_family_of_the_catalogue_has_one():
    assert set(family_names()) == set(catalogue().families)


@pytest.mark.parametrize('family', family_names())
def test_the_seed_decides_the_file(family, tmp_path):
    for name, seed in (('a', 3), ('b', 3), ('c', 4)):
        write_tiny(family, tmp_path / name, seed)
    a, b, c = ((tmp_path / name).read_bytes() for name in 'abc')
    assert a == b
    # A uniface or blendswap has no weights that could differ.
    assert a != c or family in {'uniface', 'blendswap', 'codeformer', 'codeformer_256'} or family.startswith('pfld')


def test_an_unknown_family_is_named(tmp_path):
    with pytest.raises(FacefusionError, match=r"no family is named 'yolo'; known: yolov4_tiny"):
        write_tiny('yolo', tmp_path / 'x.onnx')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('family', family_names())
def test_it_runs_and_returns_finite_numbers_of_its_outputs_shapes(family, tiny_network):
    graph = read_graph(tiny_network(family))
    engine = OrtEngine(
        graph.path, OrtSettings(shapes=input_shapes(recognise(graph, catalogue()), graph.inputs, (64, 32)))
    )
    inputs = {s.name: np.full(s.shape, 0.25, s.dtype) for s in engine.inputs}
    outputs = {s.name: np.full([n or 1 for n in s.shape], np.nan, s.dtype) for s in engine.outputs}
    engine.run(inputs, outputs)
    for name, values in outputs.items():
        assert np.isfinite(values).all(), name


@pytest.mark.parametrize('family', DETECTORS)
@pytest.mark.parametrize('shape', [(640, 640), (360, 640), (700, 300)])
def test_a_detector_finds_the_face_in_the_middle(family, shape, tiny_network):
    engine = OrtEngine(tiny_network(family))
    detector = NetworkDetector(engine, catalogue().family(family))
    height, width = shape
    picture = np.full((height, width, 3), 90, np.uint8)
    (face,) = detector.detect(picture)
    assert face.score == pytest.approx(FACE_SCORE, abs=0.03)
    if shape[0] == shape[1]:
        # A square picture fills the input however it is fitted.
        scale = np.array([width, height, width, height])
        assert face.box == pytest.approx(FACE_BOX * scale, abs=2.5)
        if family != 'yolov4_tiny':
            np.testing.assert_allclose(face.landmarks, np.array(FACE_POINTS) * (width, height), atol=2.5)


@pytest.mark.parametrize('family', ['2dfan4', 'pfld_68', 'pfld_98', 'pfld_106'])
def test_landmarks_are_those_of_a_face_that_fills_its_crop(family, tiny_network):
    network = LandmarkNetwork(OrtEngine(tiny_network(family)), catalogue().family(family))
    face = Face((100, 80, 60, 80), 1.0, np.array([(0, 0), (1, 0), (0, 0), (0, 0), (0, 0)], np.float32))
    points = five(network.points(np.zeros((240, 320, 3), np.uint8), face)[0])
    # The crop is a square around the box's middle, whose longer side takes box_fill of it.
    crop_px = 80 / catalogue().family(family).box_fill
    corners = [(MOUTH[0] - 0.13, MOUTH[1]), (MOUTH[0] + 0.13, MOUTH[1])]
    wanted = (np.array([LEFT_EYE, RIGHT_EYE, NOSE, *corners]) - 0.5) * crop_px + (130, 120)
    np.testing.assert_allclose(points, wanted, atol=0.045 * crop_px)


def test_a_swapper_depends_on_the_target_and_on_the_source(tiny_network):
    engine = OrtEngine(tiny_network('inswapper'))
    rng = np.random.default_rng(5)
    target = rng.uniform(0, 1, (1, 3, 128, 128)).astype(np.float32)
    out = {}
    for key, source, picture in (('a', 1, target), ('b', -1, target), ('c', 1, 1 - target)):
        out[key] = np.zeros((1, 3, 128, 128), np.float32)
        engine.run({'target': picture, 'source': np.full((1, 512), source, np.float32)}, {'output': out[key]})
    assert np.abs(out['a'] - out['b']).mean() > 0.01
    assert np.abs(out['a'] - out['c']).mean() > 0.01


def test_codeformers_weight_keeps_more_of_the_picture(tiny_network):
    engine = OrtEngine(tiny_network('codeformer'))
    picture = np.random.default_rng(6).uniform(-0.5, 0.5, (1, 3, 512, 512)).astype(np.float32)
    change = []
    for weight in (0.0, 0.5, 1.0):
        out = np.empty_like(picture)
        engine.run({'input': picture, 'weight': np.array([weight])}, {'output': out})
        change.append(float(np.abs(out - picture).mean()))
    assert change[0] > change[1] > change[2] == 0


@pytest.mark.parametrize(('family', 'times'), [('real_esrgan_x2', 2), ('real_esrgan_x4', 4)])
def test_a_background_is_enlarged_where_it_is(family, times, tiny_network):
    engine = OrtEngine(tiny_network(family))
    rows, columns = np.mgrid[:12, :20]
    picture = np.stack([rows / 20, columns / 20, (rows + columns) / 40])[None].astype(np.float32)
    out = np.full((1, 3, 12 * times, 20 * times), np.nan, np.float32)
    engine.run({'input': picture}, {'output': out})
    # The mean of the pixels that one becomes is that pixel, on a slope that nothing sharpens.
    means = out.reshape(3, 12, times, 20, times).mean(axis=(2, 4))
    np.testing.assert_allclose(means[:, 1:-1, 1:-1], picture[0, :, 1:-1, 1:-1], atol=1e-5)
    assert (np.diff(out[0, 0, times:-times], axis=0) > 0).all()
