import json
from hashlib import sha256

import av
import cv2
import numpy as np
import pytest
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage

from facefusion_ros.app.bag.reader import BagReader
from facefusion_ros.app.bag.writer import BagWriter
from facefusion_ros.app.replay import replay
from facefusion_ros.personas.patches import PatchSettings
from facefusion_ros.ros.image import from_compressed
from facefusion_ros.ros.messages import from_time
from facefusion_ros.sim.world import load_world

FRAMES = 40
PICTURES = '/robot/image_raw/compressed'


@pytest.fixture(scope='session')
def replayed(golden_bag, tmp_path_factory):
    """The golden bag's replay, with its frames."""
    out = tmp_path_factory.mktemp('replay') / 'out'
    assert replay(golden_bag, out, PatchSettings(), write_frames=True) == 0
    return out


def summary(out):
    return json.loads((out / 'summary.json').read_text())


def frames(out):
    return {file.name: sha256(file.read_bytes()).hexdigest() for file in (out / 'frames').iterdir()}


def test_all_results_are_there(replayed, golden_bag):
    result = summary(replayed)
    assert result['bag'] == str(golden_bag)
    assert result['topic'] == PICTURES
    assert (result['frames_in'], result['frames_out'], result['frames_dropped']) == (FRAMES, FRAMES, 0)
    assert result['damage'] is None
    assert result['frame_ms']['p50'] <= result['frame_ms']['p95'] <= result['frame_ms']['p99']
    detections = (replayed / 'detections.json').read_bytes()
    assert sha256(detections).hexdigest() == result['detections_digest']
    assert sorted(frames(replayed)) == [f'{number:06d}.png' for number in range(FRAMES)]
    with av.open(str(replayed / 'replay.mp4')) as film:
        pictures = [frame.width for frame in film.decode(video=0)]
    assert len(pictures) == FRAMES
    assert cv2.imread(str(replayed / 'contact_sheet.png')) is not None


def test_output_digest_is_that_of_the_frames(replayed):
    digest = sha256()
    for file in sorted((replayed / 'frames').iterdir()):
        digest.update(cv2.imread(str(file)).tobytes())
    assert digest.hexdigest() == summary(replayed)['output_digest']


def test_the_face_is_found_where_it_is(replayed):
    world = load_world('head')
    entries = json.loads((replayed / 'detections.json').read_text())
    assert len(entries) == FRAMES
    right = 0
    for index, entry in enumerate(entries):
        truth = world.truth(index)
        for face in entry['faces']:
            error = np.linalg.norm(np.array(face['landmarks']) - truth.landmarks, axis=1).mean()
            right += error < 0.1 * truth.box[2]
    assert right >= 0.95 * FRAMES
    assert summary(replayed)['faces_swapped'] >= 0.95 * FRAMES


def test_only_the_face_is_touched(replayed, golden_bag):
    entries = json.loads((replayed / 'detections.json').read_text())
    pictures = [
        deserialize_message(message.cdr, CompressedImage)
        for message in BagReader(golden_bag)
        if message.topic == PICTURES
    ]
    touched = 0
    for number, (entry, message) in enumerate(zip(entries, pictures, strict=True)):
        assert entry['stamp_ns'] == from_time(message.header.stamp)
        before = from_compressed(message)
        after = cv2.imread(str(replayed / 'frames' / f'{number:06d}.png'))
        changed = (before != after).any(axis=2)
        if not entry['faces']:
            assert not changed.any()
            continue
        left, top, width, height = entry['faces'][0]['box']
        rows, columns = np.nonzero(changed)
        touched += rows.size > 0.2 * width * height
        assert columns.min() > left - 0.5 * width
        assert columns.max() < left + 1.5 * width
        assert rows.min() > top - 0.5 * height
        assert rows.max() < top + 1.5 * height
    assert touched >= 0.95 * FRAMES


def test_the_same_bag_gives_the_same_bytes(replayed, golden_bag, tmp_path, facefusion):
    again = facefusion('replay', golden_bag, '--out', tmp_path, '--frames')
    assert again.code == 0, again
    assert json.loads(again.out) == summary(tmp_path)
    assert frames(tmp_path) == frames(replayed)
    first, second = summary(replayed), summary(tmp_path)
    assert first['output_digest'] == second['output_digest']
    assert first['detections_digest'] == second['detections_digest']


def test_another_process_gives_the_same_bytes(replayed, golden_bag, tmp_path, facefusion_process):
    done = facefusion_process('replay', golden_bag, '--out', tmp_path, '--frames', PYTHONHASHSEED='1')
    assert done.code == 0, done
    assert frames(tmp_path) == frames(replayed)
    assert summary(tmp_path)['output_digest'] == summary(replayed)['output_digest']
    assert summary(tmp_path)['detections_digest'] == summary(replayed)['detections_digest']


def test_another_persona_gives_other_pictures_of_the_same_faces(replayed, golden_bag, tmp_path, facefusion):
    assert facefusion('replay', golden_bag, '--out', tmp_path, '--persona', 'obsidian').code == 0
    assert summary(tmp_path)['persona'] == 'obsidian'
    assert summary(tmp_path)['output_digest'] != summary(replayed)['output_digest']
    assert summary(tmp_path)['detections_digest'] == summary(replayed)['detections_digest']
    assert not (tmp_path / 'frames').exists()


def test_with_networks_it_is_deterministic_too(golden_bag, models, tmp_path, facefusion):  # noqa: ARG001 - the store
    words = '--persona', 'porcelain,jade', '--selection', 'one', '--model', 'inswapper', '--recogniser', 'arcface'
    results = []
    for name in ('first', 'second'):
        done = facefusion('replay', golden_bag, '--out', tmp_path / name, *words, '--enhancer', 'codeformer_256')
        assert done.code == 0, done
        results.append(summary(tmp_path / name))
    assert results[0]['output_digest'] == results[1]['output_digest']
    assert results[0]['persona'] == 'porcelain,jade'
    assert 30 < results[0]['faces_swapped'] <= FRAMES


def test_uncompressed_pictures(raw_bag, tmp_path, facefusion):
    assert facefusion('replay', raw_bag, '--out', tmp_path).code == 0
    assert summary(tmp_path)['topic'] == '/robot/image_raw'
    assert summary(tmp_path)['frames_out'] == 6


def test_a_bag_that_is_cut_off_is_replayed_as_far_as_it_goes(replayed, golden_bag, tmp_path, facefusion):
    whole = golden_bag.read_bytes()
    cut = tmp_path / 'cut.mcap'
    cut.write_bytes(whole[: len(whole) * 6 // 10])
    done = facefusion('replay', cut, '--out', tmp_path / 'out', '--frames')
    assert done.code == 1
    assert f'{cut} is damaged at byte' in done.refusal
    result = summary(tmp_path / 'out')
    assert result['damage'] == done.refusal
    assert 0 < result['frames_out'] < FRAMES
    # What is there is what the whole bag gives.
    assert frames(tmp_path / 'out').items() <= frames(replayed).items()
    assert cv2.imread(str(tmp_path / 'out' / 'contact_sheet.png')) is not None


def test_a_picture_that_cannot_be_decoded_is_counted_and_passed_over(golden_bag, tmp_path, facefusion):
    with BagWriter(tmp_path / 'spoilt.mcap') as bag:
        for number, message in enumerate(BagReader(golden_bag)):
            cdr = message.cdr
            if message.topic == PICTURES and number % 3 == 0:
                cdr = cdr[:100] + bytes(len(cdr) - 100)
            bag.write(message.topic, message.type_name, cdr, message.log_time_ns)
    done = facefusion('replay', tmp_path / 'spoilt.mcap', '--out', tmp_path / 'out')
    assert done.code == 0, done
    result = summary(tmp_path / 'out')
    assert result['frames_in'] == FRAMES
    assert 0 < result['frames_dropped'] < FRAMES
    assert result['frames_out'] == FRAMES - result['frames_dropped']


def test_what_cannot_be_replayed_is_said_in_one_line(golden_bag, tmp_path, facefusion):
    def refusal(bag, *words):
        return facefusion('replay', bag, '--out', tmp_path / 'out', *words).refusal

    assert 'there is no bag' in refusal(tmp_path / 'missing.mcap')
    (tmp_path / 'text.mcap').write_text('hello, this is no bag\n')
    assert 'is not a bag' in refusal(tmp_path / 'text.mcap')
    with BagWriter(tmp_path / 'blind.mcap') as bag:
        for message in BagReader(golden_bag):
            if message.topic != PICTURES:
                bag.write(message.topic, message.type_name, message.cdr, message.log_time_ns)
    assert 'no camera pictures' in refusal(tmp_path / 'blind.mcap')
    assert "no persona 'nosuch'" in refusal(golden_bag, '--persona', 'nosuch')
    unknown = refusal(golden_bag, '--topic', '/nosuch')
    assert '/nosuch' in unknown
    assert PICTURES in unknown
    assert not (tmp_path / 'out').exists()


def test_a_folder_that_cannot_be_made_is_said(golden_bag, tmp_path, facefusion):
    (tmp_path / 'file').write_text('')
    assert str(tmp_path / 'file') in facefusion('replay', golden_bag, '--out', tmp_path / 'file').refusal
    assert str(tmp_path / 'file') in facefusion('replay', golden_bag, '--out', tmp_path / 'file' / 'out').refusal
