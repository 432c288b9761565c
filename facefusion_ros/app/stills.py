"""Single pictures: find the faces in them, or replace them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facefusion_ros.app.contact_sheet import write_png
from facefusion_ros.app.offline import STILL_PATCH_SIZE, Replacement
from facefusion_ros.blending.settings import BlendSettings
from facefusion_ros.engines.stored import load_stored
from facefusion_ros.errors import FacefusionError
from facefusion_ros.faces.cascade import STILL, CascadeDetector
from facefusion_ros.faces.network import NetworkDetector
from facefusion_ros.models.entry import Role
from facefusion_ros.personas.persona import load_persona

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facefusion_ros.faces.detector import Detector
    from facefusion_ros.faces.face import Face


def read_picture(path: str) -> NDArray[np.uint8]:
    """Read a picture file as (height, width, 3) BGR uint8; raises FacefusionError where it cannot be read."""
    try:
        coded = np.fromfile(path, np.uint8)
    except OSError as error:
        message = f'cannot read {path}: {error.strerror or error}'
        raise FacefusionError(message) from error
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what is wrong is said below, in one line
    picture = cv2.imdecode(coded, cv2.IMREAD_COLOR) if coded.size else None
    if picture is None:
        message = f'cannot read {path}: not a picture that OpenCV knows (JPEG, PNG, WebP, TIFF, BMP ...)'
        raise FacefusionError(message)
    return np.asarray(picture, np.uint8)


def detect(images: Sequence[str], out: str, model: str | None = None) -> int:
    """Write the faces of every picture as JSON to the file ``out``, or to standard output where it is ``-``.

    ``model`` is a detector from the user's store in place of OpenCV's cascades.
    A picture that cannot be read gets ``error`` in place of its faces, is told on the standard error, and makes the
    exit code 1.
    """
    detector = _network(model) if model else CascadeDetector(STILL)
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


def _network(model: str) -> NetworkDetector:
    network = load_stored(model, Role.DETECTOR)
    return NetworkDetector(network.engine, network.entry.family, size=network.entry.size)


def _detect_one(detector: Detector, image: str) -> dict[str, Any]:
    try:
        picture = read_picture(image)
    except FacefusionError as error:
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


def swap(image: str, persona_name: str, out: str) -> int:
    """Replace the faces of a picture and write the result as PNG."""
    persona = load_persona(persona_name)
    picture = read_picture(image)
    faces = CascadeDetector(STILL).detect(picture)
    if not faces:
        message = f'no face found in {image}: nothing to replace'
        raise FacefusionError(message)
    settings = BlendSettings(colour_time_constant_s=0.0)
    Replacement(persona, settings, None, STILL_PATCH_SIZE).replace(picture, faces, 0)
    write_png(out, picture)
    return 0
