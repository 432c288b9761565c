import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.faces.decoders import (
    DECODERS,
    retinaface,
    scrfd,
    suppress,
    yolov4_boxes,
    yolov4_tiny,
    yolov4_tiny_points,
    yolov8_face,
    yunet,
)
from facefusion_ros.faces.head import overlap

# Width and height of the input: not square, and no side a multiple of the other.
SIZE = (160, 96)
WIDTH, HEIGHT = SIZE
POINTS = [[70.0, 40.0], [90.0, 41.0], [81.0, 50.0], [72.0, 60.0], [89.0, 61.0]]


def logit(share):
    return np.log(share / (1 - share))


def blank(decoder):
    return [np.zeros(shape, np.float32) for shape in decoder.shapes(SIZE)]


def cell(column, row, stride):
    return row * (WIDTH // stride) + column


def test_the_shapes_of_yunet_are_those_of_its_file():
    (decoder,) = DECODERS['yunet']
    cells = [(6400, 1), (1600, 1), (400, 1)]
    assert decoder.shapes((640, 640))[:6] == [*cells, *cells]
    assert decoder.shapes((640, 640))[-1] == (400, 10)


def test_the_shapes_of_scrfd_are_those_of_its_file():
    shapes = DECODERS['scrfd'][0].shapes((640, 640))
    assert shapes[0::3] == [(12800, 1), (12800, 4), (12800, 10)]
    assert sum(rows for rows, _ in shapes[:3]) == 16800


def test_the_shapes_of_yolov8_and_yolov4_are_those_of_their_files():
    assert DECODERS['yoloface'][0].shapes((640, 640)) == [(20, 8400)]
    assert DECODERS['yolov4_tiny'][0].shapes((416, 416)) == [(18, 13, 13), (18, 26, 26)]
    assert DECODERS['yolov4_tiny'][1].shapes((416, 416)) == [(2535, 1, 4), (2535, 1)]


@pytest.mark.parametrize('level', [0, 1, 2])
def test_yunet_counts_from_the_corner_of_a_cell(level):
    stride = (8, 16, 32)[level]
    outputs = blank(DECODERS['yunet'][0])
    at = cell(2, 1, stride)
    outputs[level][at], outputs[3 + level][at] = 0.9, 0.4
    outputs[6 + level][at] = 0.25, -0.5, np.log(2.0), np.log(3.0)
    outputs[9 + level][at] = np.arange(10) / 4
    found = yunet(outputs, SIZE, 0.5)
    x, y = 2.25 * stride, 0.5 * stride
    np.testing.assert_allclose(found.scores, [0.6], rtol=1e-6)
    np.testing.assert_allclose(found.boxes, [[x - stride, y - 1.5 * stride, x + stride, y + 1.5 * stride]], rtol=1e-6)
    expected = (np.arange(10).reshape(5, 2) / 4 + [2, 1]) * stride
    np.testing.assert_allclose(found.landmarks, [expected], rtol=1e-6)


def test_yunet_counts_no_share_beyond_0_to_1():
    outputs = blank(DECODERS['yunet'][0])
    for i, (kind, thing) in enumerate([(-0.9, -0.9), (1.5, 0.64), (1.5, 1.5)]):
        outputs[0][i], outputs[3][i] = kind, thing
    np.testing.assert_allclose(yunet(outputs, SIZE, 0.1).scores, [0.8, 1.0], rtol=1e-6)


@pytest.mark.parametrize('anchor', [0, 1])
@pytest.mark.parametrize('level', [0, 1, 2])
def test_scrfd_measures_from_the_corner_to_all_sides(level, anchor):
    stride = (8, 16, 32)[level]
    outputs = blank(DECODERS['scrfd'][0])
    at = 2 * cell(3, 2, stride) + anchor
    outputs[level][at] = 0.75
    outputs[3 + level][at] = 1.0, 0.5, 2.0, 0.25
    outputs[6 + level][at] = np.arange(10) / 8
    found = scrfd(outputs, SIZE, 0.5)
    np.testing.assert_allclose(found.boxes, [np.array([2.0, 1.5, 5.0, 2.25]) * stride])
    np.testing.assert_allclose(found.landmarks, [(np.arange(10).reshape(5, 2) / 8 + [3, 2]) * stride])
    np.testing.assert_allclose(found.scores, [0.75])
    boxes_only = scrfd(outputs[:6], SIZE, 0.5)
    np.testing.assert_array_equal(boxes_only.boxes, found.boxes)
    assert boxes_only.landmarks is None


@pytest.mark.parametrize(('level', 'prior', 'side'), [(0, 0, 16), (0, 1, 32), (1, 0, 64), (1, 1, 128), (2, 1, 512)])
def test_retinaface_counts_from_priors_by_variances(level, prior, side):
    stride = (8, 16, 32)[level]
    box, confidence, points = blank(DECODERS['retinaface'][1])
    at = sum(2 * (WIDTH // s) * (HEIGHT // s) for s in (8, 16, 32)[:level]) + 2 * cell(4, 1, stride) + prior
    confidence[at] = 0.1, 0.9
    box[at] = 1.0, -2.0, np.log(2.0) / 0.2, 0.0
    points[at] = np.arange(10)
    found = retinaface([box, confidence, points], SIZE, 0.5)
    x, y = 4.5 * stride, 1.5 * stride
    cx, cy = x + 0.1 * side, y - 0.2 * side
    np.testing.assert_allclose(found.boxes, [[cx - side, cy - side / 2, cx + side, cy + side / 2]], rtol=1e-5)
    np.testing.assert_allclose(
        found.landmarks, [np.array([x, y]) + 0.1 * side * np.arange(10).reshape(5, 2)], rtol=1e-5
    )
    np.testing.assert_allclose(found.scores, [0.9])


def test_yolov8_says_it_in_pixels():
    (output,) = blank(DECODERS['yoloface'][0])
    output[:, 17] = [80, 48, 40, 60, 0.8, *np.column_stack([POINTS, np.full(5, 0.9)]).ravel()]
    found = yolov8_face([output], SIZE, 0.5)
    np.testing.assert_array_equal(found.boxes, [[60, 18, 100, 78]])
    np.testing.assert_array_equal(found.landmarks, np.array([POINTS], np.float32))
    assert yolov8_face([output[:5]], SIZE, 0.5).landmarks is None


@pytest.mark.parametrize(
    ('head', 'anchor', 'extent'),
    [(0, 0, (81, 82)), (0, 1, (135, 169)), (0, 2, (344, 319)), (1, 0, (23, 27)), (1, 1, (37, 58)), (1, 2, (81, 82))],
)
def test_yolov4_tiny_scales_its_anchors(head, anchor, extent):
    stride = (32, 16)[head]
    outputs = [np.full(shape, -9.0, np.float32) for shape in DECODERS['yolov4_tiny'][0].shapes(SIZE)]
    row, column = 2, 3
    outputs[head][6 * anchor : 6 * anchor + 6, row, column] = logit(0.25), 0.0, np.log(0.5), 0.0, logit(0.9), logit(0.8)
    found = yolov4_tiny(outputs, SIZE, 0.5)
    # x = (1.05 sigmoid - 0.025 + cell) stride: 0.25 becomes 0.2375, the middle stays.
    x, y = (column + 0.2375) * stride, (row + 0.5) * stride
    width, height = extent[0] / 2, extent[1]
    np.testing.assert_allclose(found.boxes, [[x - width / 2, y - height / 2, x + width / 2, y + height / 2]], rtol=1e-5)
    np.testing.assert_allclose(found.scores, [0.72], rtol=1e-5)
    assert found.landmarks is None


def test_yolov4_with_its_decoder_says_shares_of_the_input():
    boxes, scores = blank(DECODERS['yolov4_tiny'][1])
    boxes[7, 0], scores[7] = (0.25, 0.5, 0.5, 0.75), 0.9
    found = yolov4_boxes([boxes, scores], SIZE, 0.5)
    np.testing.assert_allclose(found.boxes, [[40, 48, 80, 72]])
    np.testing.assert_allclose(found.scores, [0.9])


@pytest.mark.parametrize(
    ('head', 'anchor', 'unit'),
    [(0, 0, (72, 90)), (0, 1, (125, 155)), (0, 2, (210, 250)), (1, 0, (12, 15)), (1, 1, (22, 28)), (1, 2, (40, 50))],
)
def test_yolov4_tiny_points_measures_landmarks_in_anchors_from_the_cells_middle(head, anchor, unit):
    stride = (32, 16)[head]
    outputs = [np.full(shape, -9.0, np.float32) for shape in DECODERS['yolov4_tiny_points'][0].shapes(SIZE)]
    row, column = 2, 3
    points = np.arange(10).reshape(5, 2) / 10 - 0.5
    values = [logit(0.25), 0.0, np.log(0.5), 0.0, logit(0.9), *points.ravel()]
    outputs[head][15 * anchor : 15 * anchor + 15, row, column] = values
    found = yolov4_tiny_points(outputs, SIZE, 0.5)
    x, y = (column + 0.2375) * stride, (row + 0.5) * stride
    width, height = unit[0] / 2, unit[1]
    np.testing.assert_allclose(found.boxes, [[x - width / 2, y - height / 2, x + width / 2, y + height / 2]], rtol=1e-5)
    np.testing.assert_allclose(found.scores, [0.9], rtol=1e-5)
    np.testing.assert_allclose(
        found.landmarks, [points * unit + np.array([column + 0.5, row + 0.5]) * stride], rtol=1e-5
    )


EVERY = [(name, i) for name, decoders in DECODERS.items() for i in range(len(decoders))]


@pytest.mark.parametrize(('family', 'index'), EVERY)
def test_where_nothing_is_there_nothing_is_found(family, index):
    decoder = DECODERS[family][index]
    outputs = [
        np.full(shape, -9.0 if family.startswith('yolov4') else 0.0, np.float32) for shape in decoder.shapes(SIZE)
    ]
    found = decoder.read(outputs, SIZE, 0.5)
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == (0,)
    assert found.landmarks is None or found.landmarks.shape == (0, 5, 2)


@pytest.mark.parametrize(('family', 'index'), EVERY)
def test_whatever_is_said_the_arrays_belong_together(family, index):
    decoder = DECODERS[family][index]
    rng = np.random.default_rng(1)
    outputs = [rng.normal(0, 2, shape).astype(np.float32) for shape in decoder.shapes(SIZE)]
    found = decoder.read(outputs, SIZE, 0.1)
    count = len(found.scores)
    assert count > 0
    assert (found.scores >= 0.1).all()
    assert found.boxes.shape == (count, 4)
    assert found.boxes.dtype == found.scores.dtype == np.float32
    assert found.landmarks is None or found.landmarks.shape == (count, 5, 2)


@pytest.mark.parametrize('family', DECODERS)
def test_what_is_not_a_number_is_no_face(family):
    decoder = DECODERS[family][0]
    outputs = [np.full(shape, np.nan, np.float32) for shape in decoder.shapes(SIZE)]
    assert decoder.read(outputs, SIZE, 0.5).scores.size == 0


corners = st.tuples(st.floats(-50, 50), st.floats(-50, 50), st.floats(1, 60), st.floats(1, 60))


@given(st.lists(st.tuples(corners, st.floats(0, 1)), max_size=12), st.floats(0, 0.9))
def test_suppress_leaves_the_best_of_what_overlaps(found, most):
    boxes = np.array([[x, y, x + w, y + h] for (x, y, w, h), _ in found]).reshape(-1, 4)
    scores = np.array([score for _, score in found])
    kept = suppress(boxes, scores, most)
    assert list(scores[kept]) == sorted(scores[kept], reverse=True)
    as_found = [box for box, _ in found]
    for i in kept:
        assert all(overlap(as_found[i], as_found[j]) <= most + 1e-9 for j in kept if j != i)
    for i in range(len(found)):
        better = [j for j in kept if scores[j] >= scores[i] and overlap(as_found[i], as_found[j]) >= most - 1e-9]
        assert i in kept or better
