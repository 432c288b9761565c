"""The blender: puts the patches onto the frame in place, in the scene's light, where the faces now are."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Illuminance, Image, Imu

from facefusion_ros import __version__, msg
from facefusion_ros.blending.alignment import Alignment
from facefusion_ros.blending.blender import Blender as Core
from facefusion_ros.engines.engine import EngineError
from facefusion_ros.errors import FacefusionError
from facefusion_ros.faces.face import FacePatch
from facefusion_ros.frames.frame import Encoding
from facefusion_ros.frames.layout import frame_bytes
from facefusion_ros.frames.pool import FrameBusy, FramePool
from facefusion_ros.personas.background import BackgroundSettings
from facefusion_ros.personas.background_stage import stored_background
from facefusion_ros.ros import qos
from facefusion_ros.ros.blending import ALIGNMENT, BLENDING, alignment_settings, blend_settings
from facefusion_ros.ros.image import from_camera_info, to_compressed, to_image
from facefusion_ros.ros.messages import (
    angular_velocity,
    from_face,
    from_frame_ref,
    from_time,
    reflectance_of,
    to_frame_ref,
    to_header,
)
from facefusion_ros.ros.networks import RUNTIME, engine_settings, network
from facefusion_ros.ros.parameters import Parameter
from facefusion_ros.ros.passage import WARN_EVERY_S, FrameStage
from facefusion_ros.ros.run import run
from facefusion_ros.ros.stage import OK, WARN, Health, LazyPublisher

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from facefusion_ros.blending.blender import Placement
    from facefusion_ros.frames.frame import FrameRef
    from facefusion_ros.personas.background_stage import BackgroundStage
    from facefusion_ros.ros.passage import Visit

BACKGROUND = BackgroundSettings()
COPIES = 4
"""Slots for frames that cannot be changed in place because somebody else reads them just then, or has yet to."""
LIVE_AGE_S = 0.5
"""A persona is not moved along any longer than this: the face may have turned."""
SILENT_S = 2.0
"""A sensor that has said nothing for so long is reported as silent."""


class Blender(FrameStage):
    """Takes ``patches`` and the sensors' topics (``activate`` names them); gives ``output/*`` and ``provenance``."""

    NAME = 'blender'
    TABLE = (
        *BLENDING,
        Parameter(
            'alignment',
            'matched',
            'On which frame a persona is shown: the one it was made from (matched), or the newest, the persona moved '
            'along with the face (live)',
            choices=('matched', 'live'),
            fixed=True,
        ),
        *ALIGNMENT,
        *network('background.model', 'redraws the whole frame (Real-ESRGAN)'),
        Parameter(
            'background.budget_s',
            BACKGROUND.budget_s,
            'How long a frame waits for it; a frame it is late for shows as it is',
            's',
            0.001,
            1.0,
        ),
        Parameter('background.strength', BACKGROUND.strength, 'How much of what it drew shows', '', 0.0, 1.0),
        Parameter(
            'background.reduction',
            BACKGROUND.reduction,
            'How much smaller a picture it is given; 0 for as much as it enlarges',
            '',
            0,
            4,
            fixed=True,
        ),
        *RUNTIME,
    )

    def configure(self) -> None:
        """Make the blender and its publishers."""
        super().configure()
        self._core = Core(blend_settings(self.values), Alignment(alignment_settings(self.values)))
        self._copied = 0
        self._light_ns = 0
        self._lux = float('nan')
        self._motion_ns = 0
        self._copies: FramePool | None = None
        self._background = self._load_background()
        self._frames = self.advertise(msg.FrameRef, 'output/frame')
        self._provenance = self.advertise(msg.Provenance, 'provenance')
        self._image = LazyPublisher(self.advertise(Image, 'output/image_raw'))
        self._compressed = LazyPublisher(self.advertise(CompressedImage, 'output/image_raw/compressed'))

    def activate(self) -> None:
        """Take patches and the sensors' readings."""
        super().activate()
        if self.values['alignment'] == 'live':
            self._finished: Sequence[FacePatch] = ()
            self._finished_leases = ExitStack()
            self.while_active.callback(self._let_go_of_patches)
            self.take(msg.FrameRef, 'frame', self._on_frame, qos.NEWEST)
            self.take(msg.FacePatchArray, 'patches', self._on_finished, qos.NEWEST)
        else:
            self.take(msg.FacePatchArray, 'patches', self._on_patches, qos.NEWEST)
        self.take(Imu, 'imu/data_raw', self._on_imu, qos.SAMPLES)
        self.take(Illuminance, 'illuminance', self._on_illuminance, qos.SAMPLES)
        self.take(msg.ColourTemperature, 'colour_temperature', self._on_colour_temperature, qos.SAMPLES)
        self.take(CameraInfo, 'camera_info', self._on_camera_info, qos.NEWEST)

    def change(self, values: Mapping[str, Any]) -> None:
        """Take new settings."""
        settings, alignment = blend_settings(values), alignment_settings(values)
        background = _background_settings(values)
        if self.configured:
            self._core.settings, self._core.alignment.settings = settings, alignment
            if self._background is not None:
                self._background.settings = background

    def health(self) -> Health:
        """Say whether light and motion are heard of, and whether the light can be believed."""
        now_ns = self.now_ns()
        silent = [
            name
            for name, heard_ns in (('illuminance', self._light_ns), ('imu/data_raw', self._motion_ns))
            if now_ns - heard_ns > SILENT_S * 1e9
        ]
        estimate = self._core.alignment.estimate
        values = {
            **self.passage.values(),
            'frames copied': self._copied,
            'lux': f'{self._lux:.1f}',
            'gyro time offset ms': f'{1e3 * estimate.time_offset_s:.2f} +- {1e3 * estimate.time_offset_sigma_s:.2f}',
            'gyro rotation sigma deg': f'{math.degrees(estimate.rotation_sigma_rad):.2f}',
            'gyro seen by the picture': f'{estimate.background_coupling:.2f}',
        }
        if self._background is not None:
            values |= {f'background {name}': count for name, count in asdict(self._background.counts).items()}
        message = f'running without {" and ".join(silent)}' if silent else 'running'
        fault = self._core.light_fault
        return Health(WARN if fault else OK, fault or message, values)

    def _on_illuminance(self, message: Illuminance) -> None:
        self._light_ns, self._lux = from_time(message.header.stamp), message.illuminance
        self._core.observe_light(self._light_ns, self._lux)

    def _on_colour_temperature(self, message: msg.ColourTemperature) -> None:
        self._core.observe_colour(from_time(message.header.stamp), message.kelvin, message.variance)

    def _on_imu(self, message: Imu) -> None:
        rate = angular_velocity(message)
        if rate is not None:
            self._motion_ns = from_time(message.header.stamp)
            self._core.alignment.observe_rotation(self._motion_ns, rate)

    def _on_camera_info(self, message: CameraInfo) -> None:
        try:
            self._core.alignment.camera = from_camera_info(message)
        except FacefusionError as error:
            self._core.alignment.camera = None
            self.get_logger().error(str(error), once=True)

    def _on_patches(self, message: msg.FacePatchArray) -> None:
        """Show patches on the frame they were made from."""
        with self.visit(message.frame) as visit, ExitStack() as leases:
            self._show(visit, self._leased(message, leases))

    def _on_finished(self, message: msg.FacePatchArray) -> None:
        """Keep patches for the frames that come."""
        leases = ExitStack()
        try:
            patches = self._leased(message, leases)
        except FacefusionError as error:
            leases.close()
            self.get_logger().warning(str(error), throttle_duration_sec=WARN_EVERY_S)
            return
        self._let_go_of_patches()
        self._finished, self._finished_leases = patches, leases

    def _let_go_of_patches(self) -> None:
        self._finished_leases.close()
        self._finished = ()

    def _on_frame(self, message: msg.FrameRef) -> None:
        """Show the newest patches on the newest frame."""
        with self.visit(message) as visit:
            oldest_ns = visit.ref.info.stamp_ns - int(LIVE_AGE_S * 1e9)
            self._show(visit, [patch for patch in self._finished if patch.face.measured_ns >= oldest_ns])

    def _leased(self, message: msg.FacePatchArray, leases: ExitStack) -> list[FacePatch]:
        return [
            FacePatch(
                from_face(patch.face),
                leases.enter_context(self.reader.lease(from_frame_ref(patch.pixels))).pixels,
                np.array(patch.image_from_patch, np.float64).reshape(2, 3),
                patch.persona,
                patch.persona_digest,
                reflectance_of(patch),
            )
            for patch in message.patches
        ]

    def _show(self, visit: Visit, patches: Sequence[FacePatch]) -> None:
        """Blend patches onto the frame, publish it, and leave."""
        ref = visit.ref
        with self.reader.lease(ref) as lease:
            picture = lease.pixels[: ref.height] if ref.encoding is Encoding.NV12 else lease.pixels
            self._core.alignment.observe_frame(picture, ref.info.stamp_ns, [patch.face for patch in patches])
        placements = self._core.plan(patches, ref.info.stamp_ns, ref.width, ref.height)
        redrawn = self._redraw(ref, placements)
        if redrawn is not None:
            visit.ref = redrawn
        elif placements:
            visit.ref = self._blend(ref, placements)
        ref = self.leave(visit)
        self._frames.publish(to_frame_ref(ref))
        self._provenance.publish(_record(ref, placements, self.values['background.model'] if redrawn else ''))
        self._publish_pictures(ref)

    def _load_background(self) -> BackgroundStage | None:
        name: str = self.values['background.model']
        if not name:
            return None
        stage = stored_background(
            name,
            engine_settings(self.values),
            _background_settings(self.values),
            accept_noncommercial=self.values['accept_noncommercial'],
            precision=self.values['background.precision'],
        )
        self.while_configured.callback(stage.close)
        return stage

    def _redraw(self, ref: FrameRef, placements: Sequence[Placement]) -> FrameRef | None:
        """Blend onto a copy whose background a network has redrawn; None where there is none in time."""
        if self._background is None or ref.encoding is not Encoding.BGR8:
            return None
        with self.reader.lease(ref) as lease:
            try:
                if not self._background.restore(lease.pixels):
                    return None
            except EngineError as error:
                self.get_logger().error(f'the background stays as it is: {error}')
                return None
            with self._copy_pool(ref).writing() as slot:
                pixels = lease.copy_into(slot, [(0, 0, ref.width, ref.height)])
                self._background.show(lease.pixels, pixels)
                self._core.apply(pixels, placements, ref.info.exposure_s, ref.info.gain)
                return slot.publish(ref.info)

    def _blend(self, ref: FrameRef, placements: Sequence[Placement]) -> FrameRef:
        regions = [placement.region for placement in placements]
        if self.values['alignment'] != 'live':  # else other stages have yet to read the frame
            try:
                with self.reader.revise(ref, regions) as revision:
                    self._core.apply(revision.pixels, placements, ref.info.exposure_s, ref.info.gain)
                    return revision.publish(ref.info)
            except FrameBusy:
                self._copied += 1
        with self.reader.lease(ref) as lease, self._copy_pool(ref).writing() as slot:
            self._core.apply(lease.copy_into(slot, regions), placements, ref.info.exposure_s, ref.info.gain)
            return slot.publish(ref.info)

    def _copy_pool(self, ref: FrameRef) -> FramePool:
        needed = frame_bytes(ref.encoding, ref.width, ref.height)
        if self._copies is None or self._copies.slot_bytes < needed:
            if self._copies is not None:
                self._copies.close()
            self._copies = FramePool.create(self.pool_name('copies'), slots=COPIES, slot_bytes=needed)
            self.while_configured.callback(self._copies.close)
        return self._copies

    def _publish_pictures(self, ref: FrameRef) -> None:
        if self._image.wanted or self._compressed.wanted:
            with self.reader.lease(ref) as lease:
                self._image.publish(lambda: to_image(lease.pixels, ref.info))
                self._compressed.publish(lambda: to_compressed(lease.pixels, ref.info))


def _record(ref: FrameRef, placements: Sequence[Placement], background: str) -> msg.Provenance:
    return msg.Provenance(
        header=to_header(ref.info.stamp_ns, ref.info.frame_id),
        sequence=ref.info.sequence,
        software=f'facefusion_ros {__version__}',
        background=background,
        face_ids=[place.patch.face.track_id for place in placements],
        personas=[place.patch.persona for place in placements],
        persona_digests=[place.patch.persona_digest for place in placements],
        regions=[float(value) for place in placements for value in place.region],
    )


def _background_settings(values: Mapping[str, Any]) -> BackgroundSettings:
    return BackgroundSettings(
        budget_s=values['background.budget_s'],
        strength=values['background.strength'],
        reduction=values['background.reduction'],
    )


def main() -> int:
    """Run the node alone."""
    return run(Blender)
