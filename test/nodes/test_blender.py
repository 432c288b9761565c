"""The blender node, given patches on frames in a pool of the test's own."""

import queue
from dataclasses import replace

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import CameraInfo, CompressedImage, Illuminance, Image, Imu

from facefusion_ros import __version__, msg
from facefusion_ros.blending.blender import Blender as Core
from facefusion_ros.frames.frame import Encoding
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.store import Store
from facefusion_ros.models.tiny import write_tiny
from facefusion_ros.nodes.blender import Blender
from facefusion_ros.personas.persona import load_persona
from facefusion_ros.personas.swapper import WarpSwapper
from facefusion_ros.ros.image import from_compressed, from_image, to_camera_info
from facefusion_ros.ros.messages import (
    from_frame_ref,
    from_timing,
    to_face_patch,
    to_face_patch_array,
    to_frame_ref,
    to_header,
)
from test.conftest import PATIENCE_S

PATCH_PX = 128
NOW_NS = 1_700_000_000_000_000_000


@pytest.fixture(scope='module')
def persona():
    """Who is shown."""
    return load_persona('porcelain')


@pytest.fixture
def blender(listener, start, frames, scene, persona):
    """A blender and the way to it: ``blend(ref, face)`` returns its output frame and provenance."""
    node = start(Blender, colour_time_constant_s=0.0, grain_strength=0.0)
    outputs, records = listener.hear(msg.FrameRef, 'output/frame'), listener.hear(msg.Provenance, 'provenance')
    publisher = listener.speak(msg.FacePatchArray, 'patches')
    swapper = WarpSwapper(persona, PATCH_PX)
    out = np.empty((PATCH_PX, PATCH_PX, 4), np.uint8)

    def send(ref, *faces):
        patches = []
        for face in faces:
            image_from_patch = swapper.swap(scene.pixels, face, out)
            pixels = frames.put(out, sequence=ref.info.sequence)
            patches.append(to_face_patch(face, pixels, image_from_patch, persona.name, persona.digest))
        publisher.publish(to_face_patch_array(ref, patches))

    def blend(ref, *faces):
        before = len(outputs.messages)
        send(ref, *faces)
        return outputs.wait(before + 1)[before], records.wait(before + 1)[before]

    node.send, node.blend, node.outputs = send, blend, outputs
    return node


def values_of(status):
    return {value.key: value.value for value in status.values}


def differs(one, other):
    """(height, width): where two pictures are not the same."""
    return (one != other).any(axis=2)


def inside(regions, shape):
    """(height, width): where the regions are, (left, top, width, height) each."""
    mask = np.zeros(shape[:2], bool)
    for left, top, width, height in regions:
        mask[top : top + height, left : left + width] = True
    return mask


def region_of(record):
    return [tuple(int(value) for value in region) for region in np.array(record.regions).reshape(-1, 4)]


def test_only_the_face_is_touched(blender, frames, scene):
    ref = frames.put(scene.pixels)
    output, record = blender.blend(ref, scene.face)
    shown = frames.pixels(from_frame_ref(output))
    (region,) = region_of(record)
    changed = differs(shown, scene.pixels)
    face = inside([region], shown.shape)
    assert not changed[~face].any()
    assert changed[face].mean() > 0.3
    x, y, width, height = scene.face.box
    assert changed[int(y + height / 2), int(x + width / 2)]


def test_the_camera_s_picture_can_be_had_again(blender, frames, scene):
    ref = frames.put(scene.pixels)
    output, _ = blender.blend(ref, scene.face)
    np.testing.assert_array_equal(frames.original(from_frame_ref(output)), scene.pixels)


def test_the_output_is_the_same_frame_in_place(blender, frames, scene):
    ref = frames.put(scene.pixels)
    output = from_frame_ref(blender.blend(ref, scene.face)[0])
    assert (output.pool, output.slot) == (ref.pool, ref.slot)
    assert output.generation > ref.generation
    assert (output.width, output.height, output.encoding) == (ref.width, ref.height, Encoding.BGR8)
    assert (output.info.stamp_ns, output.info.sequence) == (ref.info.stamp_ns, ref.info.sequence)
    (entry,) = output.info.journal
    assert (entry.stage, entry.dropped) == ('blender', 0)


def test_the_record_says_who_is_shown_where(blender, frames, scene, persona):
    ref = frames.put(scene.pixels)
    beside = replace(scene.face, landmarks=scene.face.landmarks + np.float32([-120, 0]), track_id=9)
    output, record = blender.blend(ref, scene.face, beside)
    assert record.header == output.header == to_frame_ref(ref).header
    assert record.sequence == ref.info.sequence
    assert (record.personas, record.persona_digests) == ([persona.name] * 2, [persona.digest] * 2)
    assert record.software == f'facefusion_ros {__version__}'
    assert list(record.face_ids) == [5, 9]
    regions = region_of(record)
    changed = differs(frames.pixels(from_frame_ref(output)), scene.pixels)
    assert not changed[~inside(regions, changed.shape)].any()
    for region in regions:
        assert changed[inside([region], changed.shape)].any()


@pytest.mark.parametrize('moved_px', [None, 5000.0])
def test_a_frame_without_a_face_to_replace_is_passed_on_as_it_is(blender, frames, scene, moved_px):
    ref = frames.put(scene.pixels)
    beyond = [] if moved_px is None else [replace(scene.face, landmarks=scene.face.landmarks + np.float32(moved_px))]
    output, record = blender.blend(ref, *beyond)
    assert from_frame_ref(output) == ref
    np.testing.assert_array_equal(frames.pixels(from_frame_ref(output)), scene.pixels)
    assert not any((record.personas, record.persona_digests, len(record.face_ids), len(record.regions)))


def test_a_face_half_outside_is_replaced_as_far_as_it_is_seen(blender, frames, scene):
    left = replace(scene.face, landmarks=scene.face.landmarks - np.float32([scene.face.landmarks[2, 0], 0]))
    output, record = blender.blend(frames.put(scene.pixels), left)
    (region,) = region_of(record)
    assert region[0] == 0
    changed = differs(frames.pixels(from_frame_ref(output)), scene.pixels)
    assert changed.any()
    assert not changed[~inside([region], changed.shape)].any()


def test_a_frame_that_somebody_reads_is_copied(blender, listener, frames, scene, pools, namespace):
    diagnostics = listener.diagnostics('blender')
    ref = frames.put(scene.pixels)
    with frames.lease(ref) as lease:
        output, record = blender.blend(ref, scene.face)
        np.testing.assert_array_equal(lease.pixels, scene.pixels)
        copy = from_frame_ref(output)
        assert copy.pool != ref.pool
        assert copy.info.sequence == ref.info.sequence
        changed = differs(frames.pixels(copy), scene.pixels)
        assert changed.any()
        assert not changed[~inside(region_of(record), changed.shape)].any()
        np.testing.assert_array_equal(frames.original(copy), scene.pixels)
    values = values_of(diagnostics.until(lambda status: values_of(status)['frames copied'] == '1'))
    assert (values['frames'], values['dropped']) == ('1', '0')
    # The same face, given the same frame in place, looks the same.
    in_place, _ = blender.blend(frames.put(scene.pixels), scene.face)
    assert from_frame_ref(in_place).pool == ref.pool
    np.testing.assert_array_equal(frames.pixels(copy), frames.pixels(from_frame_ref(in_place)))
    for transition in ('deactivate', 'cleanup'):
        assert listener.transit('blender', transition)
    assert [pool for pool in pools(namespace) if 'copies' in pool] == []


@pytest.mark.parametrize('missing', ['frame', 'patch'])
def test_what_is_gone_is_dropped_and_counted(blender, listener, frames, scene, missing):
    ref = frames.put(scene.pixels)
    diagnostics = listener.diagnostics('blender')
    face = scene.face
    if missing == 'frame':
        for _ in range(6):
            frames.put(scene.pixels, sequence=1)
        blender.send(ref, face)
    else:
        patch = to_face_patch(face, replace(ref, generation=ref.generation - 2), np.eye(2, 3) * 4, 'x', '')
        publisher = listener.speak(msg.FacePatchArray, 'patches')
        publisher.publish(to_face_patch_array(ref, [patch]))
    status = diagnostics.until(lambda status: values_of(status)['gone'] == '1')
    assert values_of(status)['dropped'] == '1'
    assert blender.outputs.messages == []
    ref = frames.put(scene.pixels, sequence=ref.info.sequence + 1)
    (entry,) = from_timing(blender.blend(ref, face)[0].timing)
    assert entry.dropped == 1


def test_how_far_brightness_follows_can_be_changed_at_run_time(blender, listener, frames, scene):
    def brightness(strength):
        for name in ('colour_strength', 'chroma_strength'):
            (result,) = listener.set_parameters('blender', **{name: strength})
            assert (result.successful, result.reason) == (True, '')
        output, record = blender.blend(frames.put(dark), scene.face)
        left, top, width, height = region_of(record)[0]
        middle = frames.pixels(from_frame_ref(output))[top + height // 3 : top + 2 * height // 3]
        return middle[:, left + width // 3 : left + 2 * width // 3].mean()

    dark = (scene.pixels // 3).astype(np.uint8)
    as_painted, as_lit = brightness(0.0), brightness(1.0)
    assert as_painted > 1.4 * as_lit


def test_pictures_for_people_show_the_output(blender, listener, frames, scene, wait_until):
    raw, compressed = (
        listener.hear(Image, 'output/image_raw'),
        listener.hear(CompressedImage, 'output/image_raw/compressed'),
    )
    wait_until(lambda: blender._image.wanted and blender._compressed.wanted, 'subscriptions')
    output, _ = blender.blend(frames.put(scene.pixels), scene.face)
    shown = frames.pixels(from_frame_ref(output))
    picture = raw.wait()[0]
    assert picture.header == output.header
    np.testing.assert_array_equal(from_image(picture), shown)
    picture = compressed.wait()[0]
    assert picture.header == output.header
    assert np.abs(from_compressed(picture).astype(int) - shown).mean() < 4


def test_sensors_are_optional_and_missed(blender, listener, frames, scene):
    diagnostics = listener.diagnostics('blender')
    assert diagnostics.wait()[0].message == 'running without illuminance and imu/data_raw'
    light, motion = listener.speak(Illuminance, 'illuminance'), listener.speak(Imu, 'imu/data_raw')

    def everything_is_heard(status):
        stamp_ns = blender.now_ns()
        light.publish(Illuminance(header=to_header(stamp_ns, 'light'), illuminance=321.0))
        motion.publish(Imu(header=to_header(stamp_ns, 'imu')))
        return status.message == 'running' and values_of(status)['lux'] == '321.0'

    diagnostics.until(everything_is_heard, since=1)
    assert len(blender.blend(frames.put(scene.pixels), scene.face)[1].face_ids) == 1


def test_the_colour_of_the_light_is_heard(listener, start, monkeypatch):
    heard = queue.SimpleQueue()
    monkeypatch.setattr(Core, 'observe_colour', lambda _core, *reading: heard.put(reading))
    start(Blender)
    colour = listener.speak(msg.ColourTemperature, 'colour_temperature')
    colour.publish(msg.ColourTemperature(header=to_header(7_000_000_001, 'light'), kelvin=2850.0, variance=400.0))
    assert heard.get(timeout=PATIENCE_S) == (7_000_000_001, 2850.0, 400.0)


def test_a_light_sensor_that_the_picture_contradicts_is_warned_of(blender, listener, frames, scene):
    diagnostics = listener.diagnostics('blender')
    light = listener.speak(Illuminance, 'illuminance')
    begin_ns = blender.now_ns()
    for k in range(30):
        stamp_ns = begin_ns + k * 100_000_000
        light.publish(Illuminance(header=to_header(stamp_ns, 'light'), illuminance=300.0 if k < 10 else 0.0))
        blender.blend(frames.put(scene.pixels, stamp_ns=stamp_ns, exposure_s=0.01, gain=1.0), scene.face)
    status = diagnostics.until(lambda status: 'light sensor' in status.message)
    assert status.level == DiagnosticStatus.WARN
    assert 'not used' in status.message


@pytest.mark.parametrize(('measured', 'predicted'), [(True, True), (False, True), (True, False)])
def test_the_gyro_moves_a_face_that_was_measured_before(
    blender, listener, frames, scene, world, wait_until, measured, predicted
):
    """The robot turns left at 1 rad/s for 0.1 s: what is ahead moves right by 0.1 rad."""
    ref = frames.put(scene.pixels)
    until_ns = ref.info.stamp_ns
    (result,) = listener.set_parameters('blender', gyro_prediction=predicted)
    assert result.successful
    info, motion = listener.speak(CameraInfo, 'camera_info'), listener.speak(Imu, 'imu/data_raw')
    camera = world.camera
    info.publish(to_camera_info(camera.intrinsics, camera.width, camera.height, ref.info))
    wait_until(lambda: blender._core.alignment.camera == camera.intrinsics, 'the intrinsics')
    for stamp_ns in range(until_ns - 120_000_000, until_ns + 20_000_001, 10_000_000):
        sample = Imu(header=to_header(stamp_ns, 'imu_link'))
        sample.angular_velocity.z = 1.0
        sample.angular_velocity_covariance[0] = 1e-6 if measured else -1.0
        motion.publish(sample)
    if measured:
        wait_until(lambda: blender._motion_ns == until_ns + 20_000_000, 'the last sample')
    (there,) = region_of(blender.blend(ref, replace(scene.face, measured_ns=until_ns))[1])
    again = frames.put(scene.pixels, stamp_ns=until_ns)
    (here,) = region_of(blender.blend(again, replace(scene.face, measured_ns=until_ns - 100_000_000))[1])
    moved_px = (here[0] + here[2] / 2) - (there[0] + there[2] / 2)
    expected_px = camera.intrinsics.fx * 0.1 if measured and predicted else 0.0
    assert moved_px == pytest.approx(expected_px, abs=0.06 * camera.intrinsics.fx * 0.1)


def test_a_network_redraws_the_background_on_a_copy_and_is_named(tmp_path, monkeypatch, listener, start, frames, scene):
    monkeypatch.setenv('FACEFUSION_MODELS', str(tmp_path / 'store'))
    made = Store(tmp_path / 'store', catalogue())
    write_tiny('real_esrgan_x2', tmp_path / 'x2.onnx')
    made.add(tmp_path / 'x2.onnx', family='real_esrgan_x2', licence='Apache-2.0', source='a test')
    start(Blender, **{'background.model': 'x2', 'background.budget_s': 1.0, 'background.strength': 1.0})
    outputs, records = listener.hear(msg.FrameRef, 'output/frame'), listener.hear(msg.Provenance, 'provenance')
    publisher = listener.speak(msg.FacePatchArray, 'patches')
    told, sent = [], []
    while 'x2' not in told:  # frames go by as they are while the network loads
        sent.append(frames.put(scene.pixels, sequence=len(sent)))
        publisher.publish(to_face_patch_array(sent[-1], []))
        told = [record.background for record in records.wait(len(sent))]
        assert len(sent) < 200
    *plain, redrawn = (from_frame_ref(message) for message in outputs.wait(len(sent)))
    assert {ref.pool for ref in plain} == {sent[0].pool}
    assert redrawn.pool != sent[-1].pool
    picture = frames.pixels(redrawn)
    assert differs(picture, scene.pixels).any()
    assert np.abs(picture.astype(int) - scene.pixels).mean() < 20
    np.testing.assert_array_equal(frames.pixels(sent[-1]), scene.pixels)


def test_live_shows_the_persona_on_the_newest_frame_where_the_face_now_is(listener, start, frames, scene, persona):
    """The face has moved 12 pixels to the right since the frame that the persona was made from."""
    node = start(Blender, alignment='live')
    outputs, records = listener.hear(msg.FrameRef, 'output/frame'), listener.hear(msg.Provenance, 'provenance')
    camera, swapper = listener.speak(msg.FrameRef, 'frame'), listener.speak(msg.FacePatchArray, 'patches')
    first = frames.put(scene.pixels, stamp_ns=NOW_NS)
    camera.publish(to_frame_ref(first))
    assert from_frame_ref(outputs.wait(1)[0]).pool == first.pool  # there is nothing to show yet
    out = np.empty((PATCH_PX, PATCH_PX, 4), np.uint8)
    face = replace(scene.face, measured_ns=NOW_NS)
    image_from_patch = WarpSwapper(persona, PATCH_PX).swap(scene.pixels, face, out)
    patch = to_face_patch(face, frames.put(out), image_from_patch, persona.name, persona.digest)
    swapper.publish(to_face_patch_array(first, [patch]))
    shifted = np.roll(scene.pixels, 12, axis=1)
    stamp_ns = NOW_NS
    while True:  # until the patches have arrived before a frame
        stamp_ns += 33_000_000
        newest = frames.put(shifted, stamp_ns=stamp_ns)
        before = len(records.messages)
        camera.publish(to_frame_ref(newest))
        record = records.wait(before + 1)[before]
        if record.regions:
            break
    shown_ref = from_frame_ref(outputs.wait(before + 1)[before])
    assert shown_ref.info.stamp_ns == stamp_ns
    assert shown_ref.pool != newest.pool
    np.testing.assert_array_equal(frames.pixels(newest), shifted)  # others have yet to read it
    changed = differs(frames.pixels(shown_ref), shifted)
    assert changed.any()
    _, columns = np.nonzero(changed)
    alone = np.array(image_from_patch) @ ((PATCH_PX - 1) / 2, (PATCH_PX - 1) / 2, 1.0)
    left, _, width, _ = region_of(record)[0]
    assert left + width / 2 == pytest.approx(alone[0] + 12, abs=1.5)
    assert columns.min() >= left
    node.trigger_deactivate()
