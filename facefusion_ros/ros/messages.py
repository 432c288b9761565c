"""Messages to dataclasses and back."""

from __future__ import annotations

import math
from array import array
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from facefusion_ros import msg
from facefusion_ros.errors import FacefusionError
from facefusion_ros.faces.face import Face
from facefusion_ros.frames.frame import Encoding, FrameInfo, FrameRef, StageTime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from sensor_msgs.msg import Imu

NANOSECONDS = 1_000_000_000


class MessageError(FacefusionError):
    """A message whose content makes no sense."""


def to_time(stamp_ns: int) -> Time:
    """Nanoseconds to ``builtin_interfaces/Time``."""
    seconds, nanoseconds = divmod(stamp_ns, NANOSECONDS)
    return Time(sec=seconds, nanosec=nanoseconds)


def from_time(time: Time) -> int:
    """``builtin_interfaces/Time`` to nanoseconds."""
    return int(time.sec) * NANOSECONDS + int(time.nanosec)


def to_header(stamp_ns: int, frame_id: str) -> Header:
    """Make the header of a stamped message."""
    return Header(stamp=to_time(stamp_ns), frame_id=frame_id)


def to_timing(info: FrameInfo) -> msg.FrameTiming:
    """Put a frame's journal into a message."""
    timing = msg.FrameTiming(header=to_header(info.stamp_ns, info.frame_id), sequence=info.sequence)
    timing.stages = [entry.stage for entry in info.journal]
    timing.begin_ns = array('q', [entry.begin_ns for entry in info.journal])
    timing.end_ns = array('q', [entry.end_ns for entry in info.journal])
    timing.dropped = array('I', [entry.dropped for entry in info.journal])
    return timing


def from_timing(timing: msg.FrameTiming) -> tuple[StageTime, ...]:
    """Read a frame's journal from a message. Raises ValueError where its arrays do not run in parallel."""
    columns = zip(timing.stages, timing.begin_ns, timing.end_ns, timing.dropped, strict=True)
    return tuple(StageTime(stage, int(begin), int(end), int(dropped)) for stage, begin, end, dropped in columns)


def to_frame_ref(ref: FrameRef) -> msg.FrameRef:
    """Put a frame's whereabouts into a message."""
    return msg.FrameRef(
        header=to_header(ref.info.stamp_ns, ref.info.frame_id),
        pool=ref.pool,
        slot=ref.slot,
        generation=ref.generation,
        sequence=ref.info.sequence,
        width=ref.width,
        height=ref.height,
        encoding=ref.encoding.value,
        exposure_time=ref.info.exposure_s,
        gain=ref.info.gain,
        timing=to_timing(ref.info),
    )


def from_frame_ref(message: msg.FrameRef) -> FrameRef:
    """Read a frame's whereabouts from a message. Raises MessageError."""
    try:
        encoding, journal = Encoding(message.encoding), from_timing(message.timing)
    except ValueError as error:
        text = f'a frame reference cannot be read ({error}): run the same version of facefusion_ros everywhere'
        raise MessageError(text) from error
    info = FrameInfo(
        stamp_ns=from_time(message.header.stamp),
        frame_id=message.header.frame_id,
        sequence=message.sequence,
        exposure_s=message.exposure_time,
        gain=message.gain,
        journal=journal,
    )
    return FrameRef(message.pool, message.slot, message.generation, message.width, message.height, encoding, info)


def to_face(face: Face) -> msg.Face:
    """Put a face into a message."""
    return msg.Face(
        id=face.track_id,
        box=np.asarray(face.box, np.float32),
        score=float(face.score),
        landmarks=np.asarray(face.landmarks, np.float32).reshape(10),
        measured=to_time(face.measured_ns),
    )


def from_face(message: msg.Face) -> Face:
    """Read a face from a message."""
    left, top, width, height = (float(value) for value in message.box)
    return Face(
        box=(left, top, width, height),
        score=message.score,
        landmarks=np.array(message.landmarks, np.float32).reshape(5, 2),
        track_id=message.id,
        measured_ns=from_time(message.measured),
    )


def to_face_array(ref: FrameRef, faces: Sequence[Face]) -> msg.FaceArray:
    """Put the faces of a frame into a message."""
    frame = to_frame_ref(ref)
    return msg.FaceArray(header=frame.header, frame=frame, faces=[to_face(face) for face in faces])


def to_face_patch(
    face: Face,
    pixels: FrameRef,
    image_from_patch: NDArray[np.float64],
    persona: str,
    persona_digest: str,
    reflectance: float = 1.0,
) -> msg.FacePatch:
    """Put a patch's whereabouts and place into a message."""
    return msg.FacePatch(
        face=to_face(face),
        pixels=to_frame_ref(pixels),
        image_from_patch=np.asarray(image_from_patch, np.float64).reshape(6),
        persona=persona,
        persona_digest=persona_digest,
        persona_reflectance=float(reflectance),
    )


def reflectance_of(patch: msg.FacePatch) -> float:
    """Light that the persona's skin sends back over that of people's skin; 1 where unknown. Raises MessageError."""
    told = float(patch.persona_reflectance)
    if not 0.0 <= told < math.inf:
        raise MessageError(f'a persona_reflectance of {told:g} cannot be: give 0 where it is unknown, or more')
    return told or 1.0


def to_face_patch_array(ref: FrameRef, patches: Sequence[msg.FacePatch]) -> msg.FacePatchArray:
    """Put the patches of a frame into a message."""
    frame = to_frame_ref(ref)
    return msg.FacePatchArray(header=frame.header, frame=frame, patches=list(patches))


def with_stage(ref: FrameRef, stage: str, begin_ns: int, end_ns: int, dropped: int) -> FrameRef:
    """Return the reference with one more line in its journal; times are of the ROS clock."""
    stamp_ns = ref.info.stamp_ns
    entry = StageTime(stage, begin_ns - stamp_ns, end_ns - stamp_ns, dropped)
    return replace(ref, info=replace(ref.info, journal=(*ref.info.journal, entry)))


def vector(message: Any) -> tuple[float, float, float]:  # noqa: ANN401 - geometry_msgs/Vector3 comes untyped
    """``geometry_msgs/Vector3`` to a tuple."""
    return message.x, message.y, message.z


def angular_velocity(message: Imu) -> tuple[float, float, float] | None:
    """Read the angular velocity, rad/s in the sensor's axes; None where the device does not measure it (REP-145)."""
    return None if message.angular_velocity_covariance[0] < 0 else vector(message.angular_velocity)
