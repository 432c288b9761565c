"""What goes into a message, over the wire and back is what it was."""

import math
from dataclasses import astuple, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message

from facefusion_ros import msg
from facefusion_ros.errors import FacefusionError
from facefusion_ros.faces.face import Face
from facefusion_ros.frames.frame import Encoding, FrameInfo, FrameRef, StageTime
from facefusion_ros.ros.messages import (
    MessageError,
    from_face,
    from_frame_ref,
    from_time,
    from_timing,
    reflectance_of,
    to_face,
    to_face_array,
    to_face_patch,
    to_face_patch_array,
    to_frame_ref,
    to_time,
    to_timing,
    with_stage,
)

# builtin_interfaces/Time counts seconds in 32 bits, with a sign.
stamps = st.integers(-(2**31) * 10**9, 2**31 * 10**9 - 1)
words = st.integers(0, 2**64 - 1)
counts = st.integers(0, 2**32 - 1)
durations = st.integers(-(2**63), 2**63 - 1)
names = st.text(st.characters(codec='utf-8', exclude_characters='\0', exclude_categories=['Cs']), max_size=12)
singles = st.floats(width=32)
doubles = st.floats()
journals = st.lists(st.builds(StageTime, names, durations, durations, counts), max_size=6).map(tuple)
infos = st.builds(FrameInfo, stamps, names, words, singles, singles, journals)
refs = st.builds(FrameRef, names, counts, words, counts, counts, st.sampled_from(Encoding), infos)
faces = st.builds(
    Face,
    st.tuples(singles, singles, singles, singles),
    singles,
    st.lists(singles, min_size=10, max_size=10).map(lambda numbers: np.array(numbers, np.float32).reshape(5, 2)),
    counts,
    stamps,
)
affines = st.lists(doubles, min_size=6, max_size=6).map(lambda numbers: np.array(numbers).reshape(2, 3))


def over_the_wire(message):
    return deserialize_message(serialize_message(message), type(message))


def same(one, other):
    """Whether two frames' references are equal in all fields, info included, with NaN like NaN."""
    np.testing.assert_equal(astuple(other), astuple(one))


def same_face(one, other):
    np.testing.assert_array_equal(other.landmarks, one.landmarks)
    assert other.landmarks.dtype == np.float32
    np.testing.assert_equal(
        (other.box, other.score, other.track_id, other.measured_ns),
        (one.box, one.score, one.track_id, one.measured_ns),
    )


@given(stamps)
def test_stamps(stamp_ns):
    time = to_time(stamp_ns)
    assert 0 <= time.nanosec < 10**9
    assert from_time(over_the_wire(time)) == stamp_ns


@pytest.mark.parametrize('stamp_ns', [-1, -(10**9), -(10**9) - 1, -(2**31) * 10**9, 2**31 * 10**9 - 1, 0])
def test_stamps_at_the_edges(stamp_ns):
    assert from_time(over_the_wire(to_time(stamp_ns))) == stamp_ns


@given(infos)
def test_a_journal(info):
    message = over_the_wire(to_timing(info))
    assert from_timing(message) == info.journal
    assert (from_time(message.header.stamp), message.header.frame_id) == (info.stamp_ns, info.frame_id)
    assert message.sequence == info.sequence


@given(refs)
def test_a_frame_reference_with_its_journal(ref):
    same(ref, from_frame_ref(over_the_wire(to_frame_ref(ref))))


def test_an_unknown_exposure_stays_unknown():
    info = FrameInfo(1, 'camera', 0)
    back = from_frame_ref(over_the_wire(to_frame_ref(FrameRef('pool', 0, 2, 4, 4, Encoding.NV12, info)))).info
    assert math.isnan(back.exposure_s)
    assert math.isnan(back.gain)


@given(faces)
def test_a_face(face):
    same_face(face, from_face(over_the_wire(to_face(face))))


@given(refs, st.lists(faces, max_size=4))
def test_the_faces_of_a_frame(ref, found):
    message = over_the_wire(to_face_array(ref, found))
    same(ref, from_frame_ref(message.frame))
    assert message.header == message.frame.header
    assert len(message.faces) == len(found)
    for one, other in zip(found, message.faces, strict=True):
        same_face(one, from_face(other))


@given(refs, refs, faces, affines, names, names)
def test_the_patches_of_a_frame(ref, pixels, face, image_from_patch, persona, digest):
    patch = to_face_patch(face, pixels, image_from_patch, persona, digest, 0.25)
    message = over_the_wire(to_face_patch_array(ref, [patch]))
    same(ref, from_frame_ref(message.frame))
    assert message.header == message.frame.header
    (back,) = message.patches
    same_face(face, from_face(back.face))
    same(pixels, from_frame_ref(back.pixels))
    np.testing.assert_array_equal(np.array(back.image_from_patch).reshape(2, 3), image_from_patch)
    assert (back.persona, back.persona_digest, reflectance_of(back)) == (persona, digest, 0.25)


def test_a_reflectance_that_is_not_told_is_that_of_skin():
    assert reflectance_of(msg.FacePatch()) == 1.0


@pytest.mark.parametrize('value', [-0.5, math.inf, math.nan])
def test_a_reflectance_that_cannot_be_is_refused(value):
    with pytest.raises(MessageError, match=r'persona_reflectance of .* cannot be'):
        reflectance_of(msg.FacePatch(persona_reflectance=value))


@given(refs.filter(lambda ref: abs(ref.info.stamp_ns) < 2**62), st.integers(0, 2**61), st.integers(0, 2**40), counts)
def test_a_stage_adds_its_line_and_nothing_else(ref, begin_ns, took_ns, dropped):
    after = with_stage(ref, 'blender', begin_ns, begin_ns + took_ns, dropped)
    *before, line = after.info.journal
    assert tuple(before) == ref.info.journal
    assert (line.stage, line.dropped) == ('blender', dropped)
    assert ref.info.stamp_ns + line.begin_ns == begin_ns
    assert line.end_ns - line.begin_ns == took_ns
    same(ref, with_journal(after, ref.info.journal))
    same(after, from_frame_ref(over_the_wire(to_frame_ref(after))))


def with_journal(ref, journal):
    return replace(ref, info=replace(ref.info, journal=journal))


@pytest.mark.parametrize('spoil', [{'encoding': 'yuyv'}, {'timing': msg.FrameTiming(stages=['camera'])}])
def test_a_reference_of_another_version_is_refused_in_one_line(spoil):
    message = to_frame_ref(FrameRef('pool', 0, 2, 4, 4, Encoding.BGR8, FrameInfo(1, 'camera', 0)))
    for field, value in spoil.items():
        setattr(message, field, value)
    with pytest.raises(FacefusionError, match='run the same version') as refusal:
        from_frame_ref(over_the_wire(message))
    assert '\n' not in str(refusal.value)
