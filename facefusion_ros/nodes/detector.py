"""The detector: finds the faces in the newest frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from facefusion_ros import msg
from facefusion_ros.faces.finder import FaceFinder, FinderSettings
from facefusion_ros.faces.stored import load_detector
from facefusion_ros.ros import qos
from facefusion_ros.ros.messages import to_face_array
from facefusion_ros.ros.networks import RUNTIME, engine_settings, network
from facefusion_ros.ros.parameters import Parameter
from facefusion_ros.ros.passage import FrameStage
from facefusion_ros.ros.run import run
from facefusion_ros.ros.stage import Health

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT = FinderSettings()


class Detector(FrameStage):
    """Takes ``frame``, publishes ``faces``."""

    NAME = 'detector'
    TABLE = (
        Parameter(
            'detection_interval',
            DEFAULT.detection_interval,
            'Frames from one detection to the next; faces are tracked in between',
            'frames',
            1,
            60,
        ),
        Parameter(
            'tracking',
            DEFAULT.tracking,
            'How a face is kept between detections: followed in the picture (flow), or held for the gyro (hold)',
            choices=('flow', 'hold'),
        ),
        *network('model', 'finds the faces', 'that of the package'),
        *network(
            'landmarks.model',
            'looks closely at what is found, `default` for that of the package',
            "that with the package's detector, none with another; none for none",
        ),
        *RUNTIME,
        Parameter('coast_s', DEFAULT.coast_s, 'How long a face that is not found any more is kept', 's', 0.0, 5.0),
    )

    def configure(self) -> None:
        """Load what finds the faces."""
        super().configure()
        values = self.values
        detector = load_detector(
            values['model'],
            values['landmarks.model'],
            engine_settings(values),
            precision=values['precision'],
            landmarks_precision=values['landmarks.precision'],
            accept_noncommercial=values['accept_noncommercial'],
        )
        self.while_configured.callback(detector.close)
        self._finder = FaceFinder(_settings(values), detector)
        self._found = 0
        self._faces = self.advertise(msg.FaceArray, 'faces')

    def activate(self) -> None:
        """Take frames."""
        super().activate()
        self._finder.reset()
        self.take(msg.FrameRef, 'frame', self._on_frame, qos.NEWEST)

    def change(self, values: Mapping[str, Any]) -> None:
        """Take new settings."""
        settings = _settings(values)
        if self.configured:
            self._finder.settings = settings

    def health(self) -> Health:
        """Say how many frames had a face."""
        return Health(values={**self.passage.values(), 'frames with a face': self._found})

    def _on_frame(self, message: msg.FrameRef) -> None:
        with self.visit(message) as visit:
            with self.reader.lease(visit.ref) as lease:
                faces = self._finder.find(lease.pixels, visit.ref.info.stamp_ns)
            self._faces.publish(to_face_array(self.leave(visit), faces))
            self._found += bool(faces)


def _settings(values: Mapping[str, Any]) -> FinderSettings:
    return FinderSettings(
        detection_interval=values['detection_interval'],
        tracking=values['tracking'],
        coast_s=values['coast_s'],
    )


def main() -> int:
    """Run the node alone."""
    return run(Detector)
