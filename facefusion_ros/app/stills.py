"""Single pictures: find the faces in them, or replace them."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facefusion_ros.app.contact_sheet import write_png
from facefusion_ros.app.offline import Replacement
from facefusion_ros.blending.settings import BlendSettings
from facefusion_ros.errors import FacefusionError
from facefusion_ros.faces.picture import PictureError, read_picture
from facefusion_ros.faces.recognition import save_identity
from facefusion_ros.faces.stored import load_detector
from facefusion_ros.personas.patches import PatchMaker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facefusion_ros.faces.detector import Detector
    from facefusion_ros.faces.face import Face
    from facefusion_ros.personas.identities import Identities
    from facefusion_ros.personas.patches import PatchSettings


def detect(images: Sequence[str], out: str, detector: Detector | None = None) -> int:
    """Write the faces of every picture as JSON to the file ``out``, or to standard output where it is ``-``.

    ``detector`` takes the place of the usual one.
    A picture that cannot be read gets ``error`` in place of its faces, is told on the standard error, and makes the
    exit code 1.
    """
    detector = detector or load_detector()
    entries = [_detect_one(detector, image) for image in images]
    text = json.dumps(entries, indent=2) + '\n'
    if out == '-':
        sys.stdout.write(text)
    else:
        try:
            Path(out).write_text(text)
        except OSError as error:
            message = f'cannot write {out}: {error.strerror}'
            raise FacefusionError(message) from error
    return int(any('error' in entry for entry in entries))


def _detect_one(detector: Detector, image: str) -> dict[str, Any]:
    try:
        picture = read_picture(image)
    except PictureError as error:
        print(f'facefusion-ros: {error}', file=sys.stderr)
        return {'image': image, 'error': str(error)}
    height, width = picture.shape[:2]
    faces = [to_json(face) for face in detector.detect(picture)]
    return {'image': image, 'width': width, 'height': height, 'faces': faces}


def to_json(face: Face) -> dict[str, Any]:
    """Return a face as plain numbers, pixels to a hundredth."""
    return {
        'box': [round(float(value), 2) for value in face.box],
        'score': round(float(face.score), 4),
        'landmarks': [[round(float(x), 2), round(float(y), 2)] for x, y in face.landmarks],
    }


def swap(image: str, settings: PatchSettings, out: str, detector: Detector | None = None) -> int:
    """Replace the faces of a picture and write the result as PNG. ``detector`` takes the place of the usual one."""
    detector = detector or load_detector()
    picture = read_picture(image)
    faces = detector.detect(picture)
    if not faces:
        message = f'no face found in {image}: nothing to replace'
        raise FacefusionError(message)
    with closing(PatchMaker(settings, detector)) as maker:
        blending = BlendSettings(colour_time_constant_s=0.0)
        if not Replacement(maker, blending).replace(picture, faces, 0) and settings.selection == 'identity':
            message = f'no face in {image} is one of the references: nothing to replace'
            raise FacefusionError(message)
    write_png(out, picture)
    return 0


def identity(images: Sequence[str], out: Path, identities: Identities) -> int:
    """Write the identity of a person as .npy: of the largest face of each picture, all counting equally."""
    with closing(identities):
        save_identity(out, identities.of_files([Path(image) for image in images]))
    return 0
