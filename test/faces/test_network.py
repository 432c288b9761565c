import tracemalloc
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from facefusion_ros.engines.engine import EngineError, TensorSpec
from facefusion_ros.engines.ort import OrtEngine
from facefusion_ros.faces.decoders import DECODERS
from facefusion_ros.faces.face import Face
from facefusion_ros.faces.finder import FaceFinder
from facefusion_ros.faces.head import box_around
from facefusion_ros.faces.network import NetworkDetector, NetworkSettings
from facefusion_ros.faces.tensors import PictureTensor
from facefusion_ros.models.entry import Preprocessing
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.tiny import FACE_BOX, FACE_POINTS, FACE_SCORE, write_tiny

YUNET = Path(__file__).parents[2].parent / 'shared' / 'models' / 'yunet_n_640_640.onnx'
needs_yunet = pytest.mark.skipif(not YUNET.is_file(), reason=f'the YuNet file is not at {YUNET}')


PLAIN = Preprocessing('bgr', 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def family(name, preprocessing=PLAIN):
    return replace(catalogue().family(name), preprocessing=preprocessing)


class Answers:
    """An engine whose network always answers the same; keeps what it was asked."""

    provider = 'written by hand'

    def __init__(self, size, answers, open_sides=False, dtype=np.float32):
        sides = (None, None) if open_sides else size[::-1]
        self.inputs = (TensorSpec('picture', (1, 3, *sides), np.dtype(dtype)),)
        self.outputs = tuple(TensorSpec(name, a.shape, np.dtype(dtype)) for name, a in answers.items())
        self.answers = answers

    def run(self, inputs, outputs):
        self.asked = inputs['picture'].copy()
        for name, values in self.answers.items():
            outputs[name][...] = values

    def warm_up(self):
        pass

    def close(self):
        pass


# Where the hand-made network sees its face: left, top, right, bottom and landmarks, from the left (top) edge.
BOX = np.array([60.0, 30.0, 100.0, 80.0])
POINTS = np.array([[70.0, 45.0], [90.0, 45.0], [80.0, 55.0], [72.0, 65.0], [88.0, 65.0]])


def says(size, boxes=(BOX,), points=POINTS, scores=(0.9,), **kinds):
    """A YOLOv8 engine for this size of input that sees faces in these boxes."""
    rows = np.zeros((1, *DECODERS['yoloface'][0].shapes(size)[0]), np.float32)
    for i, (box, score) in enumerate(zip(map(np.array, boxes), scores, strict=True)):
        middle, extent = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        rows[0, :, 3 + i] = [*middle, *extent, score, *np.column_stack([points, np.ones(5)]).ravel()]
    return Answers(size, {'out': rows}, **kinds)


@pytest.fixture(scope='module')
def yunet():
    return NetworkDetector(OrtEngine(YUNET), catalogue().family('yunet'))


def miss(face, truth):
    """Mean distance of the landmarks from those marked by hand, in eye distances."""
    return np.hypot(*(face.landmarks - truth).T).mean() / np.hypot(*(truth[1] - truth[0]))


@needs_yunet
def test_yunet_finds_the_astronaut(yunet, portrait):
    misses = []
    for i, eye_distance in enumerate([25, 35, 45, 60, 70, 90, 110, 130]):
        pixels, truth = portrait.picture(eye_distance, roll_deg=4 * i - 14, noise=3.0)
        (face,) = yunet.detect(pixels)
        assert face.score > 0.7
        assert face.landmarks.dtype == np.float32
        np.testing.assert_allclose(face.box, box_around(truth), atol=0.5 * eye_distance)
        misses.append(miss(face, truth))
    # The network's own precision: single landmarks are off by up to a fifth, as OpenCV reads them too.
    assert np.mean(misses) < 0.08
    assert max(misses) < 0.12


@needs_yunet
@pytest.mark.parametrize('size', [(480, 640), (1280, 720), (300, 300)])
def test_yunet_is_read_as_opencv_reads_it(portrait, size):
    yunet = NetworkDetector(OrtEngine(YUNET), catalogue().family('yunet'), NetworkSettings(averaged_overlap=1.0))
    pixels, _ = portrait.picture(60, size=size)
    (face,) = yunet.detect(pixels)
    share = 640 / max(size)
    picture = np.zeros((640, 640, 3), np.uint8)
    width, height = round(size[0] * share), round(size[1] * share)
    picture[:height, :width] = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
    ((*values, score),) = cv2.FaceDetectorYN.create(str(YUNET), '', (640, 640), 0.7, 0.4).detect(picture)[1]
    left, top, *extent = np.array(values[:4])
    np.testing.assert_allclose(face.box[:2], np.array([left, top]) / share - 0.5, atol=0.01)
    np.testing.assert_allclose(face.box[2:], np.array(extent) / share, atol=0.01)
    np.testing.assert_allclose(face.landmarks, np.array(values[4:]).reshape(5, 2) / share - 0.5, atol=0.01)
    assert face.score == pytest.approx(score, abs=1e-3)


@needs_yunet
def test_yunet_finds_a_small_face_again_closer(yunet, portrait):
    pixels = np.full((1080, 1920, 3), 110, np.uint8)
    truth = portrait.paste(pixels, 1500, 700, 0.4)
    guess = Face(box_around(truth + 5), 0.9, (truth + 5).astype(np.float32))
    face = yunet.again(pixels, guess)
    assert face is not None
    assert miss(face, truth) < 0.12
    assert yunet.again(pixels, Face(box_around(truth - 600), 0.9, (truth - 600).astype(np.float32))) is None


@needs_yunet
def test_the_finder_follows_what_a_network_finds(yunet, portrait):
    finder = FaceFinder(detector=yunet)
    for i in range(8):
        pixels, truth = portrait.picture(70, centre=(300 + 4 * i, 240))
        (face,) = finder.find(pixels, (i + 1) * 33_000_000)
        assert face.track_id == 1
        assert miss(face, truth) < 0.12
    finder.settings = finder.settings


@needs_yunet
def test_yunet_takes_no_memory_of_the_frame_size(yunet, portrait):
    pixels = portrait.picture(200, size=(1920, 1080))[0]
    yunet.detect(pixels)
    tracemalloc.start()
    try:
        yunet.detect(pixels)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 640 * 640


@pytest.mark.parametrize('name', DECODERS)
@pytest.mark.parametrize('frame', [(640, 640), (640, 360), (333, 500)])
def test_every_family_finds_the_face_of_its_tiny_network(tmp_path, name, frame):
    write_tiny(name, tmp_path / 'tiny.onnx')
    detector = NetworkDetector(OrtEngine(tmp_path / 'tiny.onnx'), catalogue().family(name))
    width, height = frame
    (face,) = detector.detect(np.full((height, width, 3), 100, np.uint8))
    # The tiny networks see a face in the middle of the input, whatever part of it the picture fills.
    net = np.array(detector.size)
    share = net / frame if name == 'yolov4_tiny' else np.full(2, min(net / frame))
    margin = (net - np.array(frame) * share) / 2 if name == 'yoloface' else np.zeros(2)
    box = np.array(FACE_BOX).reshape(2, 2) * net
    np.testing.assert_allclose(face.box[:2], (box[0] - margin) / share - 0.5, atol=2.0)
    np.testing.assert_allclose(face.box[2:], box[1] / share, atol=2.0)
    assert face.score == pytest.approx(FACE_SCORE, abs=0.02)
    points = (np.array(FACE_POINTS) * net - margin) / share - 0.5
    if name == 'yolov4_tiny':
        corner, extent = np.array(face.box[:2]), np.array(face.box[2:])
        assert ((face.landmarks > corner) & (face.landmarks < corner + extent)).all()
    else:
        np.testing.assert_allclose(face.landmarks, points, atol=2.0)


def test_results_come_back_to_the_pixels_of_the_frame():
    # 320x96 in 160x96: half the size, 48 high, centred below 24 rows.
    detector = NetworkDetector(says((160, 96)), family('yoloface'))
    (face,) = detector.detect(np.zeros((96, 320, 3), np.uint8))
    np.testing.assert_allclose(face.box, [120 - 0.5, 12 - 0.5, 80, 100])
    np.testing.assert_allclose(face.landmarks, (POINTS - [0, 24]) * 2 - 0.5)


def test_the_picture_lies_where_the_family_wants_it():
    pixels = np.full((96, 320, 3), (10, 20, 30), np.uint8)
    engine = says((160, 96))
    NetworkDetector(engine, family('yoloface')).detect(pixels)
    assert (engine.asked[0, :, 24:72] == np.array([10, 20, 30]).reshape(3, 1, 1)).all()
    assert (engine.asked[0, :, :24] == 114).all()
    assert (engine.asked[0, :, 72:] == 114).all()


def test_pictures_of_changing_shape_leave_nothing_behind():
    engine = says((160, 96))
    detector = NetworkDetector(engine, family('yoloface'))
    wide, tall = np.full((20, 320, 3), 200, np.uint8), np.full((320, 20, 3), 50, np.uint8)
    detector.detect(wide)
    first = engine.asked
    detector.detect(tall)
    assert set(np.unique(engine.asked)) == {50, 114}
    detector.detect(wide)
    np.testing.assert_array_equal(engine.asked, first)


def test_of_boxes_of_one_face_the_best_is_kept_and_the_largest_is_first():
    boxes = [BOX, BOX + 3, np.array([5.0, 5.0, 20.0, 20.0]), np.array([100.0, 0.0, 159.0, 90.0])]
    engine = says((160, 96), boxes, scores=[0.6, 0.8, 0.7, 0.9])
    faces = NetworkDetector(engine, family('yoloface')).detect(np.zeros((96, 160, 3), np.uint8))
    assert [round(face.score, 3) for face in faces] == [0.9, 0.8, 0.7]
    strict = NetworkDetector(engine, family('yoloface'), NetworkSettings(min_score=0.85))
    assert len(strict.detect(np.zeros((96, 160, 3), np.uint8))) == 1


@pytest.mark.parametrize('points', [np.full((5, 2), 80.0), np.full((5, 2), np.nan)])
def test_landmarks_that_are_no_face_are_left_out(points):
    engine = says((160, 96), points=points)
    assert NetworkDetector(engine, family('yoloface')).detect(np.zeros((96, 160, 3), np.uint8)) == ()


def test_the_least_score_is_by_the_scale_of_the_network(tmp_path):
    least = {}
    for name in ('yunet', 'scrfd'):
        write_tiny(name, tmp_path / f'{name}.onnx')
        least[name] = NetworkDetector(OrtEngine(tmp_path / f'{name}.onnx'), family(name)).settings.min_score
    assert least == {'yunet': 0.7, 'scrfd': 0.5}


def test_boxes_that_say_the_same_are_averaged():
    engine = says((160, 96), [BOX, BOX + 3, BOX + 20], scores=[0.9, 0.6, 0.8])
    detector = NetworkDetector(engine, family('yoloface'), NetworkSettings(max_overlap=0.3))
    faces = detector.detect(np.zeros((96, 160, 3), np.uint8))
    # The first two overlap by 0.77, the third overlaps them by less than 0.3.
    assert [round(face.score, 3) for face in faces] == [0.9, 0.8]
    assert faces[0].box[0] == pytest.approx(60 + 3 * 0.6 / 1.5 - 0.5)
    assert faces[1].box[0] == pytest.approx(80 - 0.5)


@needs_yunet
def test_averaging_keeps_a_still_face_stiller(portrait):
    """Steps from picture to picture of a face that moves by fractions of a pixel, in noise."""

    def steps(averaged_overlap):
        settings = NetworkSettings(averaged_overlap=averaged_overlap)
        detector = NetworkDetector(OrtEngine(YUNET), catalogue().family('yunet'), settings)
        errors = []
        for i in range(16):
            pixels, truth = portrait.picture(40, centre=(320 + 0.37 * i, 240 + 0.21 * i), noise=4.0, seed=i)
            (face,) = detector.detect(pixels)
            errors.append(face.landmarks - truth)
        return np.abs(np.diff(errors, axis=0)).mean()

    assert steps(0.6) < 0.8 * steps(1.0)


def test_a_network_may_leave_its_size_open():
    engine = says((320, 160), open_sides=True)
    detector = NetworkDetector(engine, family('yoloface'), size=(320, 160))
    assert detector.size == (320, 160)
    assert len(detector.detect(np.zeros((160, 320, 3), np.uint8))) == 1


def test_half_precision_is_read_as_well():
    detector = NetworkDetector(says((160, 96), dtype=np.float16), family('yoloface'))
    (face,) = detector.detect(np.zeros((96, 160, 3), np.uint8))
    np.testing.assert_allclose(face.landmarks, POINTS - 0.5, atol=0.1)


def test_another_network_is_refused_with_its_shapes():
    with pytest.raises(EngineError, match=r'\(1, 20, 315\).*not those of scrfd'):
        NetworkDetector(says((160, 96)), family('scrfd'))
    with pytest.raises(EngineError, match='no family of detectors'):
        NetworkDetector(says((160, 96)), family('inswapper'))
    with pytest.raises(EngineError, match='multiples of 32'):
        NetworkDetector(says((160, 96), open_sides=True), family('yoloface'), size=(160, 100))
    with pytest.raises(EngineError, match='no picture'):
        NetworkDetector(says((160, 96)), family('yoloface', replace(PLAIN, layout='nhwc')))


@pytest.mark.parametrize('pixels', [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_other_pixels_are_refused(pixels):
    with pytest.raises(ValueError, match='need a picture'):
        NetworkDetector(says((160, 96)), family('yoloface')).detect(pixels)


@pytest.mark.parametrize('colour', ['bgr', 'rgb'])
@pytest.mark.parametrize('layout', ['nchw', 'nhwc'])
@pytest.mark.parametrize('dtype', [np.float32, np.float16])
def test_a_tensor_holds_the_normalised_picture(colour, layout, dtype):
    shape = (1, 3, 4, 6) if layout == 'nchw' else (1, 4, 6, 3)
    how = Preprocessing(colour, 1 / 255, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), layout)
    tensor = PictureTensor(TensorSpec('x', shape, np.dtype(dtype)), how, (6, 4))
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    tensor.fill(pixels)
    expected = (pixels[..., ::-1] if colour == 'rgb' else pixels) / 255.0
    expected = (expected - [0.4, 0.5, 0.6]) / [0.2, 0.3, 0.4]
    got = tensor.array[0].transpose(1, 2, 0) if layout == 'nchw' else tensor.array[0]
    np.testing.assert_allclose(got, expected, atol=1e-5 if dtype == np.float32 else 4e-3)
    assert tensor.array.dtype == dtype
    assert tensor.array.flags.c_contiguous
