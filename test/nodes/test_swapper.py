"""The swapper node, given faces in frames of the test's own."""

from dataclasses import replace

import numpy as np
import pytest

from facefusion_ros import msg
from facefusion_ros.faces.alignment import apply, whole_face
from facefusion_ros.frames.frame import Encoding
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.store import Store
from facefusion_ros.models.tiny import write_tiny
from facefusion_ros.nodes.swapper import Swapper
from facefusion_ros.personas.persona import load_persona
from facefusion_ros.ros.messages import from_face, from_frame_ref, from_timing, to_face_array, to_frame_ref


@pytest.fixture
def swapper(listener, start):
    """A swapper and the way to it: ``swap(ref, faces)`` returns its answer."""
    node = start(Swapper, persona='porcelain', model='none', patch_size=128)
    heard = listener.hear(msg.FacePatchArray, 'patches')
    publisher = listener.speak(msg.FaceArray, 'faces')

    def swap(ref, faces):
        before = len(heard.messages)
        publisher.publish(to_face_array(ref, faces))
        return heard.wait(before + 1)[before]

    node.swap, node.publisher, node.heard = swap, publisher, heard
    return node


def test_the_patch_shows_the_persona_in_the_place_of_the_face(swapper, frames, scene):
    ref = frames.put(scene.pixels)
    answer = swapper.swap(ref, [scene.face])
    assert answer.header == to_frame_ref(ref).header
    assert from_frame_ref(answer.frame) == ref
    (patch,) = answer.patches
    np.testing.assert_array_equal(from_face(patch.face).landmarks, scene.face.landmarks)
    assert (patch.persona, patch.persona_digest) == ('porcelain', load_persona('porcelain').digest)
    pixels_ref = from_frame_ref(patch.pixels)
    assert (pixels_ref.width, pixels_ref.height, pixels_ref.encoding) == (128, 128, Encoding.BGRA8)
    pixels = frames.pixels(pixels_ref)
    assert pixels[64, 64, 3] == 255  # the middle of the face
    assert pixels[[0, 1, -2, -1]][..., 3].max() == pixels[:, [0, 1, -2, -1], 3].max() == 0
    image_from_patch = np.array(patch.image_from_patch).reshape(2, 3)
    apart = np.linalg.norm(scene.face.landmarks[0] - scene.face.landmarks[1])
    missed = apply(image_from_patch, whole_face(128).landmarks) - scene.face.landmarks
    assert np.abs(missed).max() < 0.2 * apart
    (entry,) = from_timing(answer.frame.timing)
    assert entry.stage == 'swapper'


def test_unless_told_otherwise_the_network_that_ships_redraws_the_face(listener, start, frames, scene):
    start(Swapper)
    heard = listener.hear(msg.FacePatchArray, 'patches')
    ref = frames.put(scene.pixels)
    listener.speak(msg.FaceArray, 'faces').publish(to_face_array(ref, [scene.face]))
    (patch,) = heard.wait(1)[0].patches
    assert patch.persona == 'porcelain'
    assert patch.persona_digest != load_persona('porcelain').digest
    pixels = frames.pixels(from_frame_ref(patch.pixels))
    assert pixels.shape == (256, 256, 4)
    assert pixels[128, 128, 3] > 200
    assert pixels[[0, 1, -2, -1]][..., 3].max() == pixels[:, [0, 1, -2, -1], 3].max() == 0


def test_the_frame_itself_stays_as_it_was(swapper, frames, scene):
    ref = frames.put(scene.pixels)
    swapper.swap(ref, [scene.face])
    np.testing.assert_array_equal(frames.pixels(ref), scene.pixels)


def test_a_frame_without_faces_is_passed_on(swapper, frames, scene):
    ref = frames.put(scene.pixels)
    answer = swapper.swap(ref, [])
    assert list(answer.patches) == []
    assert from_frame_ref(answer.frame) == ref


def test_another_persona_is_shown_from_the_next_frame_on(swapper, listener, frames, scene):
    before = swapper.swap(frames.put(scene.pixels), [scene.face]).patches[0]
    (result,) = listener.set_parameters('swapper', persona='obsidian')
    assert (result.successful, result.reason) == (True, '')
    after = swapper.swap(frames.put(scene.pixels), [scene.face]).patches[0]
    assert after.persona == 'obsidian'
    assert after.persona_digest == load_persona('obsidian').digest != before.persona_digest
    assert (frames.pixels(from_frame_ref(before.pixels)) != frames.pixels(from_frame_ref(after.pixels))).any()


def test_the_largest_faces_are_replaced_and_no_more_than_wanted(swapper, listener, frames, scene):
    faces = [replace(scene.face, track_id=number) for number in range(1, 7)]
    assert len(swapper.swap(frames.put(scene.pixels), faces).patches) == 4
    (result,) = listener.set_parameters('swapper', max_faces=2)
    assert result.successful
    patches = swapper.swap(frames.put(scene.pixels), faces).patches
    assert [patch.face.id for patch in patches] == [1, 2]
    (result,) = listener.set_parameters('swapper', max_faces=0)
    assert list(swapper.swap(frames.put(scene.pixels), faces).patches) == []


def test_landmarks_that_no_pose_explains_leave_that_face_alone(swapper, frames, scene):
    for bad in (np.full((5, 2), np.nan, np.float32), np.full((5, 2), 50.0, np.float32)):
        answer = swapper.swap(frames.put(scene.pixels), [replace(scene.face, landmarks=bad), scene.face])
        (patch,) = answer.patches
        np.testing.assert_array_equal(from_face(patch.face).landmarks, scene.face.landmarks)


def test_a_face_beyond_the_picture_is_swapped_like_any_other(swapper, frames, scene):
    outside = replace(scene.face, landmarks=scene.face.landmarks + np.float32(5000))
    assert len(swapper.swap(frames.put(scene.pixels), [outside]).patches) == 1


def test_a_frame_that_is_gone_is_dropped_and_counted(swapper, listener, frames, scene):
    gone, *_ = [frames.put(scene.pixels) for _ in range(7)]  # its slot was used again by the last
    diagnostics = listener.diagnostics('swapper')
    swapper.publisher.publish(to_face_array(gone, [scene.face]))
    status = diagnostics.until(lambda status: {value.key: value.value for value in status.values}['gone'] == '1')
    assert {value.key: value.value for value in status.values}['persona'] == 'porcelain'
    assert swapper.heard.messages == []
    assert len(swapper.swap(frames.put(scene.pixels), [scene.face]).patches) == 1


def test_patches_stay_readable_while_newer_ones_are_made(swapper, frames, scene):
    faces = [replace(scene.face, track_id=number) for number in range(1, 5)]
    first = swapper.swap(frames.put(scene.pixels), faces).patches
    before = [frames.pixels(from_frame_ref(patch.pixels)) for patch in first]
    for _ in range(3):
        swapper.swap(frames.put(scene.pixels), faces)
    for patch, pixels in zip(first, before, strict=True):
        np.testing.assert_array_equal(frames.pixels(from_frame_ref(patch.pixels)), pixels)


@pytest.fixture
def networks(tmp_path, monkeypatch):
    """A store with a tiny network of every kind that the swapper takes."""
    monkeypatch.setenv('FACEFUSION_MODELS', str(tmp_path / 'store'))
    store = Store(tmp_path / 'store', catalogue())
    for family in ('inswapper', 'arcface', 'codeformer_256', 'xseg'):
        write_tiny(family, tmp_path / f'{family}.onnx')
        licence = 'LicenseRef-InsightFace-NonCommercial' if family == 'inswapper' else 'Apache-2.0'
        store.add(tmp_path / f'{family}.onnx', family=family, licence=licence, accept_noncommercial=True)


@pytest.mark.usefixtures('networks')
def test_networks_redraw_each_face_as_its_own_persona(listener, start, frames, scene):
    parameters = {
        'persona': 'porcelain, jade',
        'model': 'inswapper',
        'pixel_boost': 2,
        'recogniser.model': 'arcface',
        'occlusion.model': 'xseg',
        'enhancer.model': 'codeformer_256',
        'enhancer.budget_s': 1.0,
        'accept_noncommercial': True,
    }
    node = start(Swapper, **parameters)
    assert node.failure is None
    heard = listener.hear(msg.FacePatchArray, 'patches')
    publisher = listener.speak(msg.FaceArray, 'faces')
    beside = replace(scene.face, landmarks=scene.face.landmarks + np.float32([-150, 0]), track_id=9)
    publisher.publish(to_face_array(frames.put(scene.pixels), [scene.face, beside]))
    first, second = heard.wait(1)[0].patches
    assert (first.persona, second.persona) == ('porcelain', 'jade')
    assert first.persona_digest != second.persona_digest
    for patch in (first, second):
        ref = from_frame_ref(patch.pixels)
        assert (ref.width, ref.height) == (256, 256)
        assert frames.pixels(ref)[..., 3].max() > 0
    (result,) = listener.set_parameters('swapper', persona='nobody')
    assert not result.successful
    assert 'nobody' in result.reason
    values = {value.key: value.value for value in listener.diagnostics('swapper').wait()[0].values}
    assert values['persona'] == 'porcelain, jade'
    assert {'runs inswapper', 'runs xseg', 'runs codeformer_256'} <= values.keys()


@pytest.mark.usefixtures('networks')
@pytest.mark.parametrize(
    ('parameters', 'complaint'),
    [
        ({'model': 'nosuch'}, 'nosuch'),
        ({'model': 'inswapper', 'recogniser.model': 'arcface'}, 'accept_noncommercial'),
        ({'enhancer.model': 'xseg'}, 'xseg is a mask'),
        ({'selection': 'identity'}, 'references must name'),
        ({'engine': 'steam'}, "parameter engine or providers: chain must be of tensorrt, onnxruntime, not ('steam',)"),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, dict) else '',
)
def test_what_cannot_be_had_is_said_at_the_start(start, parameters, complaint):
    assert complaint in start(Swapper, **parameters).failure
