import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from facefusion_ros.engines.engine import EngineError, TensorSpec
from facefusion_ros.engines.ort import OrtEngine
from facefusion_ros.faces.alignment import whole_face
from facefusion_ros.faces.segmentation import Segmenter, combine, read_regions, read_visible
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.tiny import write_tiny

MASKS = ('xseg', 'bisenet')


@pytest.fixture(scope='module', params=MASKS)
def segmenter(request, tmp_path_factory):
    path = tmp_path_factory.mktemp('mask') / 'tiny.onnx'
    write_tiny(request.param, path)
    return Segmenter(OrtEngine(path), catalogue().family(request.param))


def test_a_face_shows_in_the_middle_and_not_in_the_corners(segmenter, portrait):
    pixels, landmarks = portrait.picture(70)
    for size in (128, 256, 320):
        out = np.full((size, size), 77, np.uint8)
        segmenter.mask(pixels, whole_face(size).image_from_patch(landmarks), out)
        assert out[size // 2, size // 2] == 255
        assert not out[:4, :4].any()
        assert not out[-4:, -4:].any()
        # A hard edge would be a step of 255.
        assert np.abs(np.diff(out.astype(int), axis=1)).max() < 45 * 256 / size


def test_a_mask_goes_straight_into_a_channel(segmenter, portrait):
    pixels, landmarks = portrait.picture(70)
    image_from_patch = whole_face(256).image_from_patch(landmarks)
    patch, alone = np.full((256, 256, 4), 9, np.uint8), np.zeros((256, 256), np.uint8)
    segmenter.mask(pixels, image_from_patch, patch[..., 3])
    segmenter.mask(pixels, image_from_patch, alone)
    np.testing.assert_array_equal(patch[..., 3], alone)
    assert (patch[..., :3] == 9).all()


def test_masking_again_allocates_nothing(segmenter, portrait):
    pixels, landmarks = portrait.picture(70)
    image_from_patch, out = whole_face(256).image_from_patch(landmarks), np.zeros((256, 256), np.uint8)
    segmenter.mask(pixels, image_from_patch, out)
    tracemalloc.start()
    try:
        segmenter.mask(pixels, image_from_patch, out)
        # numpy's own casting buffers; a plane of the patch would be 65 kB more.
        assert tracemalloc.get_traced_memory()[1] < 150_000
    finally:
        tracemalloc.stop()


class Threshold:
    """An XSeg by hand: what is bright is face."""

    provider = 'written by hand'
    inputs = (TensorSpec('in', (None, 256, 256, 3), np.dtype(np.float32)),)
    outputs = (TensorSpec('out', (None, 256, 256, 1), np.dtype(np.float32)),)

    def run(self, inputs, outputs):
        outputs['out'][...] = inputs['in'][..., :1] > 0.5


@pytest.mark.parametrize('size', [96, 200, 256, 512])
def test_a_mask_lies_where_its_picture_is(size):
    """What is bright in the frame is bright in the aligned patch and in its mask, of whatever size."""
    frame = np.zeros((300, 400, 3), np.uint8)
    cv2.ellipse(frame, (210, 140), (70, 45), 25, 0, 360, (255, 255, 255), -1)
    landmarks = np.array([[170, 110], [230, 120], [196, 150], [168, 178], [222, 184]])
    image_from_patch = whole_face(size).image_from_patch(landmarks)
    out = np.zeros((size, size), np.uint8)
    Segmenter(Threshold(), catalogue().family('xseg')).mask(frame, image_from_patch, out)
    patch = cv2.warpAffine(frame[..., 0], image_from_patch, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    clear = cv2.GaussianBlur(patch, (0, 0), size / 40)
    assert (out[clear == 255] > 230).all()
    assert not out[patch == 0][clear[patch == 0] < 40].any()
    both = [np.array(np.nonzero(each > 127)).mean(axis=1) for each in (out, patch)]
    np.testing.assert_allclose(*both, atol=0.25)


def test_an_occlusion_mask_is_clipped_and_rounded():
    values = np.array([[-1.0, 0.0, 0.5, 1.0, 7.0, np.nan, np.inf, -np.inf]], np.float32)
    for dtype in (np.float32, np.float16):
        out = np.zeros((1, 8), np.uint8)
        read_visible(values.astype(dtype), np.zeros((1, 8), np.float32), out)
        assert out.tolist() == [[0, 0, 128, 255, 255, 0, 255, 0]]


@given(
    npst.arrays(np.float32, (5, 1, 3), elements=st.floats(-50, 50, width=16), unique=True),
    st.sets(st.integers(0, 4), min_size=1, max_size=4),
)
def test_regions_are_those_of_the_best_class(scores, classes):
    out = np.full((1, 3), 7, np.uint8)
    read_regions(scores, classes, np.zeros((2, 1, 3), np.float32), out)
    expected = np.isin(scores.argmax(axis=0), list(classes))
    np.testing.assert_array_equal(out, np.where(expected, 255, 0))


@given(npst.arrays(np.uint8, (4, 3, 5)))
def test_masks_combine_by_minimum(masks):
    out = masks[0].copy()
    combine(masks[1:], out)
    np.testing.assert_array_equal(out, masks.min(axis=0))


def test_the_mouth_is_a_region_of_its_own(tmp_path):
    write_tiny('bisenet', tmp_path / 'tiny.onnx')
    engine, family = OrtEngine(tmp_path / 'tiny.onnx'), catalogue().family('bisenet')
    out = np.full((256, 256), 5, np.uint8)
    frame, image_from_patch = np.zeros((256, 256, 3), np.uint8), np.eye(2, 3)
    Segmenter(engine, family, 'mouth').mask(frame, image_from_patch, out)
    assert not out[128, 128]  # all skin
    with pytest.raises(EngineError, match="no region 'ears': choose one of face, mouth"):
        Segmenter(engine, family, 'ears')


def test_networks_of_other_families_are_refused(tmp_path):
    write_tiny('arcface', tmp_path / 'tiny.onnx')
    engine = OrtEngine(tmp_path / 'tiny.onnx')
    with pytest.raises(EngineError, match='gives no mask'):
        Segmenter(engine, catalogue().family('arcface'))
    with pytest.raises(EngineError, match='hold no bisenet mask'):
        Segmenter(engine, catalogue().family('bisenet'))
