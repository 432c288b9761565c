"""Pictures become what networks are given in use."""

import shutil

import cv2
import numpy as np
import pytest

from facefusion_ros.app import calibration as calibrating
from facefusion_ros.app.bag.errors import BagError
from facefusion_ros.app.calibration import calibration, open_pictures
from facefusion_ros.engines.crops import template_landmarks
from facefusion_ros.engines.ort import OrtEngine, OrtSettings
from facefusion_ros.engines.yardsticks import picture_code
from facefusion_ros.errors import FacefusionError
from facefusion_ros.faces.stored import load_detector
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.graph import read_graph
from facefusion_ros.models.recognition import input_shapes
from facefusion_ros.models.store import Store
from facefusion_ros.models.tiny import write_tiny

FAMILIES = (
    'yolov4_tiny', 'yunet', 'pfld_106', '2dfan4', 'arcface', 'crossface', 'inswapper', 'uniface', 'dfm',
    'codeformer_256', 'xseg',
)  # fmt: skip


@pytest.fixture
def folder(tmp_path, astronaut):
    folder = tmp_path / 'pictures'
    folder.mkdir()
    shutil.copy(astronaut, folder / 'a.PNG')
    (folder / 'notes.txt').write_text('no picture')
    return folder


@pytest.fixture
def entry_of(tmp_path):
    """Add a tiny network of a family; returns its file and its entry."""
    store = Store(tmp_path / 'store', catalogue())

    def entry_of(family):
        write_tiny(family, tmp_path / 'net.onnx')
        entry = store.add(tmp_path / 'net.onnx', name=family, family=family, licence='MIT')
        return store.folder / entry.file, entry

    return entry_of


@pytest.mark.parametrize('family', FAMILIES)
def test_samples_are_what_the_network_takes(family, folder, entry_of):
    path, entry = entry_of(family)
    made = calibration(path, entry, open_pictures(folder))
    (sample,) = made.samples
    engine = OrtEngine(path, OrtSettings(shapes=input_shapes(entry, read_graph(path).inputs)))
    assert sample.keys() == {spec.name for spec in engine.inputs}
    outputs = {spec.name: None for spec in engine.outputs}
    for spec in engine.inputs:
        assert sample[spec.name].dtype == spec.dtype
        assert all(size in (wanted, 1) for size, wanted in zip(sample[spec.name].shape, spec.shape, strict=True))
        assert np.isfinite(sample[spec.name]).all()
        assert sample[spec.name].any()
    engine.close()
    assert outputs
    assert made.told[0].startswith(f'1 of 1 pictures in {folder}')
    assert (', the largest face' in made.told[0]) == (family not in {'yolov4_tiny', 'yunet', 'crossface'})
    if family == 'inswapper':
        assert made.told[1] == 'the source is not one of a person: unit vectors drawn from a seed'
        np.testing.assert_allclose(np.linalg.norm(sample['source']), 1.0, rtol=1e-5)


def test_a_face_lies_where_the_network_was_trained_to_find_it(folder, entry_of):
    path, entry = entry_of('gpen')
    (sample,) = calibration(path, entry, open_pictures(folder)).samples
    rgb = picture_code(entry).decode(sample['input'])[0]
    pixels = np.ascontiguousarray(np.rint(rgb[::-1].transpose(1, 2, 0) * 255).clip(0, 255).astype(np.uint8))
    face = load_detector().detect(pixels)[0]
    wanted = template_landmarks(entry, (512, 512))
    assert np.abs(face.landmarks - wanted).max() < 0.06 * 512


def test_a_detector_is_given_the_picture_as_it_gives_it_to_itself(folder, entry_of):
    path, entry = entry_of('yunet')
    (sample,) = calibration(path, entry, open_pictures(folder)).samples
    picture = cv2.imread(str(folder / 'a.PNG'))
    wanted = cv2.resize(picture, (640, 640), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(sample['input'][0].transpose(1, 2, 0), wanted)


def test_landmarks_and_masks_see_the_whole_face(folder, entry_of):
    path, entry = entry_of('xseg')
    (sample,) = calibration(path, entry, open_pictures(folder)).samples
    pixels = np.rint(sample['input'][0] * 255).astype(np.uint8)
    assert load_detector().detect(pixels)


def test_a_tile_of_the_frame_is_taken_as_it_is(folder, entry_of):
    path, entry = entry_of('real_esrgan_x2')
    (sample,) = calibration(path, entry, open_pictures(folder)).samples
    picture = cv2.imread(str(folder / 'a.PNG'))
    height, width = sample['input'].shape[2:]
    y, x = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    tile = np.rint(sample['input'][0, ::-1].transpose(1, 2, 0) * 255).astype(np.uint8)
    np.testing.assert_array_equal(tile, picture[y : y + height, x : x + width])


def test_the_samples_are_spread_over_all_pictures(folder, monkeypatch):
    monkeypatch.setattr(calibrating, 'MOST_SAMPLES', 3)
    (folder / 'a.PNG').unlink()
    for number in range(7):
        cv2.imwrite(str(folder / f'{number}.png'), np.full((4, 4, 3), number, np.uint8))
    pictures = open_pictures(folder)
    read, told = [], []

    class Feed:
        needs_face, notes = False, ()

        def sample(self, picture):
            read.append(int(picture[0, 0, 0]))
            return {'x': picture}

    progress = []
    assert len(list(calibrating._samples(Feed(), pictures, told, lambda *done: progress.append(done)))) == 3
    assert read == [0, 3, 6]
    assert progress == [(1, 3), (2, 3), (3, 3)]
    assert told == [f'3 of 7 pictures in {folder}']


def test_the_digest_is_that_of_all_pictures(folder, astronaut):
    one = open_pictures(folder)
    assert one.digest == open_pictures(folder).digest
    shutil.copy(astronaut, folder / 'b.png')
    two = open_pictures(folder)
    assert (one.count, two.count) == (1, 2)
    (folder / 'b.png').rename(folder / 'c.png')
    assert len({one.digest, two.digest, open_pictures(folder).digest}) == 3


def test_pictures_that_cannot_be_read_are_left_out(folder):
    (folder / 'broken.jpg').write_bytes(b'x')
    pictures = open_pictures(folder)
    assert pictures.count == 2
    assert len(list(pictures.read([0, 1]))) == 1


def test_pictures_of_a_bag(raw_bag, golden_bag):
    pictures = open_pictures(raw_bag)
    assert pictures.count == 6
    assert pictures.where == f'pictures on /robot/image_raw of {raw_bag}'
    frames = list(pictures.read([0, 5]))
    assert [frame.shape for frame in frames] == [(240, 320, 3)] * 2
    assert not np.array_equal(*frames)
    coded = open_pictures(golden_bag)
    assert coded.where.startswith('pictures on /robot/image_raw/compressed of ')
    assert coded.count == 40
    assert coded.digest != pictures.digest
    with pytest.raises(BagError, match='the bag has no pictures on /nothing; it has /robot/image_raw'):
        open_pictures(raw_bag, '/nothing')


def test_a_folder_of_rosbag2_is_a_bag(raw_bag, tmp_path):
    (tmp_path / 'bag').mkdir()
    shutil.copy(raw_bag, tmp_path / 'bag' / 'bag_0.mcap')
    assert open_pictures(tmp_path / 'bag').count == 6


def test_neither_pictures_nor_bag(tmp_path):
    with pytest.raises(FacefusionError, match='holds no pictures and no bag'):
        open_pictures(tmp_path)
    with pytest.raises(FacefusionError, match='there is no bag'):
        open_pictures(tmp_path / 'missing')
