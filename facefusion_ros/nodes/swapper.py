"""The swapper: puts personas in the place of faces, each in the face's pose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from facefusion_ros import msg
from facefusion_ros.engines.engine import EngineError
from facefusion_ros.frames.frame import Encoding
from facefusion_ros.frames.layout import frame_bytes
from facefusion_ros.frames.pool import FramePool
from facefusion_ros.models.entry import Role
from facefusion_ros.personas.deadline import DeadlineSettings
from facefusion_ros.personas.enhancer import EnhancerSettings
from facefusion_ros.personas.patches import PatchMaker, PatchSettings
from facefusion_ros.ros import qos
from facefusion_ros.ros.messages import from_face, to_face_patch, to_face_patch_array
from facefusion_ros.ros.networks import RUNTIME, engine_settings, network
from facefusion_ros.ros.parameters import Parameter
from facefusion_ros.ros.passage import FrameStage
from facefusion_ros.ros.run import run
from facefusion_ros.ros.stage import OK, WARN, Health

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facefusion_ros.frames.frame import FrameRef

DEFAULT = PatchSettings()
ENHANCEMENT = EnhancerSettings()
DEADLINE = DeadlineSettings()
FRAMES_KEPT = 4
"""Frames whose patches stay readable while newer ones are made."""
MOST_FACES = 16


class Swapper(FrameStage):
    """Takes ``faces``, publishes ``patches``."""

    NAME = 'swapper'
    TABLE = (
        Parameter('persona', 'porcelain', 'Who is shown: built-in names or folders of personas, commas between them'),
        Parameter(
            'selection',
            DEFAULT.selection,
            'Which faces are replaced: the one that was largest first, all, or those that are recognised',
            choices=('one', 'many', 'identity'),
            fixed=True,
        ),
        Parameter('max_faces', DEFAULT.max_faces, 'Faces that are replaced, largest first', 'faces', 0, MOST_FACES),
        Parameter(
            'references',
            '',
            'Who is recognised: identities (.npy) or pictures, commas between them, one for each persona',
            fixed=True,
        ),
        Parameter('threshold', DEFAULT.threshold, 'Least cosine by which a face is recognised', '', -1.0, 1.0),
        Parameter('patch_size', DEFAULT.patch_size, 'Side of the patch where model is none', 'px', 64, 512, fixed=True),
        *network(
            'model',
            'redraws the face as the persona; none: it is warped',
            "the package's own, for the personas that it knows, and a warp for others",
        ),
        Parameter('pixel_boost', 1, 'How many times finer a small network redraws', '', 1, 4, fixed=True),
        *network('recogniser.model', 'tells who somebody is: for `identity`, and for personas given by pictures'),
        *network('occlusion.model', 'masks what hides a face (XSeg)'),
        *network('regions.model', 'masks what is no face (BiSeNet)'),
        *network('enhancer.model', 'restores detail (CodeFormer, GFPGAN, GPEN)'),
        Parameter('enhancer.strength', ENHANCEMENT.strength, 'How much of what it drew shows', '', 0.0, 1.0),
        Parameter(
            'enhancer.fidelity',
            ENHANCEMENT.fidelity,
            'From most detail (0) to most likeness (1), CodeFormer',
            '',
            0.0,
            1.0,
        ),
        Parameter(
            'enhancer.budget_s', DEADLINE.budget_s, 'How long a patch waits for its own enhancement', 's', 0.0, 1.0
        ),
        Parameter(
            'enhancer.max_age_s',
            DEADLINE.max_age_s,
            'How old an enhanced patch may be that is moved to where the face now is',
            's',
            0.0,
            5.0,
        ),
        Parameter('enhancer.engine', '', 'Engines for the enhancer; empty for those of `engine`', fixed=True),
        Parameter('enhancer.providers', '', 'Providers for the enhancer; empty for those of `providers`', fixed=True),
        *RUNTIME,
    )

    def configure(self) -> None:
        """Load personas and networks, and make room for the patches."""
        super().configure()
        self._maker = PatchMaker(_settings(self.values))
        self.while_configured.callback(self._maker.close)
        self._swapped = self._left = 0
        size = self._maker.size
        self._pool = self.while_configured.enter_context(
            FramePool.create(
                self.pool_name('patches'),
                slots=FRAMES_KEPT * MOST_FACES,
                slot_bytes=frame_bytes(Encoding.BGRA8, size, size),
            )
        )
        self._patches = self.advertise(msg.FacePatchArray, 'patches')

    def activate(self) -> None:
        """Take faces."""
        super().activate()
        self._maker.reset()
        self.take(msg.FaceArray, 'faces', self._on_faces, qos.NEWEST)

    def change(self, values: Mapping[str, Any]) -> None:
        """Show other personas, or show them in another way."""
        settings = _settings(values)
        if self.configured:
            self._maker.settings = settings

    def health(self) -> Health:
        """Say who is shown and how often."""
        failure = self._maker.enhancer_failure
        shown = ', '.join(persona.name for persona in self._maker.shown)
        networks = {f'runs {name}': provider for name, provider in self._maker.providers.items()}
        counts = {'faces swapped': self._swapped, 'faces left': self._left}
        values = {**self.passage.values(), 'persona': shown, **counts, **networks}
        return Health(WARN if failure else OK, f'patches are not enhanced: {failure}' if failure else 'running', values)

    def _on_faces(self, message: msg.FaceArray) -> None:
        with self.visit(message.frame) as visit:
            patches = self._swap(visit.ref, message.faces)
            self._patches.publish(to_face_patch_array(self.leave(visit), patches))
            self._swapped += len(patches)

    def _swap(self, ref: FrameRef, faces: list[msg.Face]) -> list[msg.FacePatch]:
        if not faces:
            return []
        patches = []
        size = self._maker.size
        with self.reader.lease(ref) as lease:
            for part in self._maker.assign(lease.pixels, [from_face(face) for face in faces]):
                with self._pool.writing() as slot:
                    out = slot.picture(size, size, Encoding.BGRA8)
                    try:
                        image_from_patch = self._maker.make(lease.pixels, part, out)
                    except ValueError:  # landmarks that no pose explains: this face stays as it is
                        self._left += 1
                        continue
                    except EngineError as error:
                        self._left += 1
                        self.get_logger().error(f'a face stays as it is: {error}', throttle_duration_sec=5.0)
                        continue
                    shown = part.shown
                    patches.append(
                        to_face_patch(
                            part.face,
                            slot.publish(ref.info),
                            image_from_patch,
                            shown.name,
                            shown.digest,
                            shown.reflectance,
                        )
                    )
        return patches


def _settings(values: Mapping[str, Any]) -> PatchSettings:
    engines = engine_settings(values)
    enhancer = engine_settings(
        {
            'engine': values['enhancer.engine'] or values['engine'],
            'providers': values['enhancer.providers'] or values['providers'],
            'threads': values['threads'],
        }
    )
    return PatchSettings(
        personas=_names(values['persona']),
        selection=values['selection'],
        max_faces=values['max_faces'],
        references=_names(values['references']),
        threshold=values['threshold'],
        patch_size=values['patch_size'],
        model=values['model'],
        recogniser=values['recogniser.model'],
        enhancer=values['enhancer.model'],
        enhancement=EnhancerSettings(values['enhancer.strength'], values['enhancer.fidelity']),
        pixel_boost=values['pixel_boost'],
        precision={
            'model': values['precision'],
            **{name: values[f'{name}.precision'] for name in ('recogniser', 'enhancer', 'occlusion', 'regions')},
        },
        deadline=DeadlineSettings(values['enhancer.budget_s'], values['enhancer.max_age_s']),
        occlusion=values['occlusion.model'],
        regions=values['regions.model'],
        engines={**dict.fromkeys(Role, engines), Role.ENHANCER: enhancer},
        accept_noncommercial=values['accept_noncommercial'],
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(',') if name.strip())


def main() -> int:
    """Run the node alone."""
    return run(Swapper)
