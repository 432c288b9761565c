"""The swapper: puts the persona into each face's pose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from facefusion_ros import msg
from facefusion_ros.frames.frame import Encoding
from facefusion_ros.frames.layout import frame_bytes
from facefusion_ros.frames.pool import FramePool
from facefusion_ros.personas.persona import load_persona
from facefusion_ros.personas.swapper import WarpSwapper
from facefusion_ros.ros import qos
from facefusion_ros.ros.messages import from_face, to_face_patch, to_face_patch_array
from facefusion_ros.ros.parameters import Parameter
from facefusion_ros.ros.passage import FrameStage
from facefusion_ros.ros.run import run
from facefusion_ros.ros.stage import Health

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facefusion_ros.frames.frame import FrameRef
    from facefusion_ros.personas.persona import Persona

FRAMES_KEPT = 4
"""Frames whose patches stay readable while newer ones are made."""


class Swapper(FrameStage):
    """Takes ``faces``, publishes ``patches``."""

    NAME = 'swapper'
    TABLE = (
        Parameter('persona', 'porcelain', 'Who is shown: a built-in name or the folder of a persona'),
        Parameter('max_faces', 4, 'Faces that are replaced, largest first', 'faces', 0, 16),
        Parameter('patch_size', 256, 'Side of the aligned crop', 'px', 64, 512, fixed=True),
    )

    def configure(self) -> None:
        """Load the persona and make room for the patches."""
        super().configure()
        self._size: int = self.values['patch_size']
        self._show(load_persona(self.values['persona']))
        self._swapped = 0
        slot_bytes = frame_bytes(Encoding.BGRA8, self._size, self._size)
        slots = FRAMES_KEPT * 16
        self._pool = self.while_configured.enter_context(
            FramePool.create(self.pool_name('patches'), slots=slots, slot_bytes=slot_bytes)
        )
        self._patches = self.advertise(msg.FacePatchArray, 'patches')

    def activate(self) -> None:
        """Take faces."""
        super().activate()
        self.take(msg.FaceArray, 'faces', self._on_faces, qos.NEWEST)

    def change(self, values: Mapping[str, Any]) -> None:
        """Show another persona."""
        if values['persona'] != self.values['persona']:
            persona = load_persona(values['persona'])
            if self.configured:
                self._show(persona)

    def health(self) -> Health:
        """Say who is shown and how often."""
        return Health(
            values={**self.passage.values(), 'persona': self.values['persona'], 'faces swapped': self._swapped}
        )

    def _show(self, persona: Persona) -> None:
        self._persona, self._digest = persona, persona.digest
        self._swapper = WarpSwapper(persona, self._size)

    def _on_faces(self, message: msg.FaceArray) -> None:
        with self.visit(message.frame) as visit:
            patches = self._swap(visit.ref, message.faces[: self.values['max_faces']])
            self._patches.publish(to_face_patch_array(self.leave(visit), patches))
            self._swapped += len(patches)

    def _swap(self, ref: FrameRef, faces: list[msg.Face]) -> list[msg.FacePatch]:
        if not faces:
            return []
        patches = []
        with self.reader.lease(ref) as lease:
            for face in map(from_face, faces):
                with self._pool.writing() as slot:
                    out = slot.picture(self._size, self._size, Encoding.BGRA8)
                    try:
                        image_from_patch = self._swapper.swap(lease.pixels, face, out)
                    except ValueError:  # landmarks that no pose explains: this face stays as it is
                        continue
                    patches.append(
                        to_face_patch(face, slot.publish(ref.info), image_from_patch, self._persona.name, self._digest)
                    )
        return patches


def main() -> int:
    """Run the node alone."""
    return run(Swapper)
