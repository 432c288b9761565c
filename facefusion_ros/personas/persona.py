"""Who is shown instead of the person before the camera, and with whose consent."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np
import yaml

from facefusion_ros.errors import FacefusionError
from facefusion_ros.personas import porcelain

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIZE_PX = 512
REFLECTANCES = (0.02, 10.0)
"""Least and most light that a persona's skin may send back over that of people's skin."""


class PersonaError(FacefusionError):
    """A persona that is not there, or that may not be shown as it is."""


class Shown(Protocol):
    """What is said of whoever is shown, however the picture comes about; a Persona has it too."""

    @property
    def name(self) -> str:
        """Short name."""

    @property
    def title(self) -> str:
        """Name for people."""

    @property
    def consent(self) -> str:
        """Who agreed to be shown, to what, and when."""

    @property
    def digest(self) -> str:
        """SHA-256 of what makes the likeness, hexadecimal."""

    @property
    def reflectance(self) -> float:
        """Light that its skin sends back over that of people's skin: shown so much brighter than the face."""


@dataclass(frozen=True, eq=False)
class Persona:
    """A face to be shown as it was painted or photographed."""

    name: str
    title: str
    pixels: NDArray[np.uint8]
    """(512, 512, 4) BGRA; alpha is the soft mask of the face (0 keeps the scene, 255 shows the persona)."""
    landmarks: NDArray[np.float32]
    """(5, 2): left eye, right eye, nose, left and right mouth corner as seen in the image (x, y), pixels."""
    consent: str
    """Who agreed to be shown, to what, and when."""
    reflectance: float = 1.0
    """Light that its skin sends back over that of people's skin: shown so much brighter than the face."""

    def __post_init__(self) -> None:
        self.pixels.flags.writeable = False
        self.landmarks.flags.writeable = False

    @cached_property
    def digest(self) -> str:
        """SHA-256 over pixels and landmarks, hexadecimal."""
        digest = hashlib.sha256(self.pixels.tobytes())
        digest.update(self.landmarks.astype('<f4').tobytes())
        return digest.hexdigest()


def persona_names() -> tuple[str, ...]:
    """Names of the built-in personas."""
    return tuple(porcelain.CERAMICS)


@dataclass(frozen=True)
class Sheet:
    """What is known of a persona, however it is to be shown."""

    name: str
    title: str
    consent: str
    """Who agreed to be shown, to what, and when."""
    portrait: Persona | None = None
    """What a warp shows; None where only a network can show the persona."""
    source: tuple[Path, ...] = ()
    """Files that say who it is: identities (.npy) and pictures with its face."""
    reflectance: float = 1.0
    """Light that its skin sends back over that of people's skin: shown so much brighter than the face."""


def load_persona(name_or_path: str | Path) -> Persona:
    """Return a built-in persona by name, or one read from a folder; see ``read_sheet``.

    Raises PersonaError for an unknown name, for a folder that lacks anything, and for one without an image.
    """
    sheet = read_sheet(name_or_path)
    if sheet.portrait is None:
        raise PersonaError(
            f'{sheet.name} has no image, so that only a network can show it: name a swapper of the store as model, '
            'or add image and landmarks to its persona.yaml'
        )
    return sheet.portrait


def read_sheet(name_or_path: str | Path) -> Sheet:
    """Return what is known of a built-in persona, by name, or of one in a folder.

    The folder holds ``persona.yaml`` with ``title`` and ``consent`` (who agreed to be shown, to what, and when), and
    beside it what it shows:

    - to be warped: ``image`` (a PNG of 512x512 pixels with alpha) and ``landmarks`` (five [x, y]);
    - for a network: ``source``, one text or a list of them, each the name of an identity (.npy) or of a picture;
    - nothing for a network that was trained for one face.

    It may say, as ``reflectance``, how much light the skin sends back over that of people's skin; without, and with 1,
    it is shown as bright as the face.

    Raises PersonaError for an unknown name, and for a folder that lacks any of these.
    """
    name = str(name_or_path)
    if name in porcelain.CERAMICS:
        portrait = _built_in(name)
        return Sheet(name, portrait.title, portrait.consent, portrait, reflectance=portrait.reflectance)
    folder = Path(name_or_path)
    if not folder.is_dir():
        known = ', '.join(persona_names())
        raise PersonaError(f'no persona {name!r}: known are {known}; or give a folder that holds persona.yaml')
    return _read(folder)


@cache
def _built_in(name: str) -> Persona:
    ceramic = porcelain.CERAMICS[name]
    pixels, landmarks = porcelain.paint(ceramic)
    return Persona(
        name, ceramic.title, pixels, landmarks, 'synthetic: no person is depicted', reflectance=ceramic.reflectance
    )


def _read(folder: Path) -> Sheet:
    sheet = folder / 'persona.yaml'
    try:
        entries: Any = yaml.safe_load(sheet.read_text(encoding='utf-8'))
    except OSError as error:
        raise PersonaError(
            f'cannot read {sheet}: {error.strerror}; a persona is a folder with a persona.yaml'
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PersonaError(f'{sheet} is not YAML: {" ".join(str(error).split())}') from None
    if not isinstance(entries, dict):
        raise PersonaError(f'{sheet} must have the entries title and consent, and image and landmarks, or source')
    name = folder.resolve().name
    title, consent = (_text(sheet, entries, key) for key in ('title', 'consent'))
    reflectance = _reflectance(sheet, entries)
    portrait = None
    if 'image' in entries or 'landmarks' in entries:
        image = _text(sheet, entries, 'image')
        portrait = Persona(name, title, _pixels(folder / image), _landmarks(sheet, entries), consent, reflectance)
    return Sheet(name, title, consent, portrait, _source(sheet, entries), reflectance)


def _reflectance(sheet: Path, entries: dict[Any, Any]) -> float:
    value = entries.get('reflectance', 1.0)
    least, most = REFLECTANCES
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise PersonaError(
            f'{sheet} has a reflectance that is no number from {least:g} to {most:g}: say how much light its skin '
            "sends back over that of people's skin, 1 where it is to be as bright as the face"
        )
    return float(value)


def _source(sheet: Path, entries: dict[Any, Any]) -> tuple[Path, ...]:
    if 'source' not in entries:
        return ()
    given = entries['source']
    names = given if isinstance(given, list) else [given]
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise PersonaError(f'{sheet} has a source that names no file: give a .npy identity, or one or more pictures')
    files = tuple(sheet.parent / name.strip() for name in names)
    for file in files:
        if not file.is_file():
            raise PersonaError(f'{sheet} names the source {file}, which is not there')
    return files


def _text(sheet: Path, entries: dict[Any, Any], key: str) -> str:
    value = entries.get(key)
    if isinstance(value, str) and value.strip():
        return value.strip()
    if key == 'consent':
        raise PersonaError(
            f'{sheet} has no consent: write who agreed to be shown, to what and when, or that no person is depicted'
        )
    raise PersonaError(f'{sheet} has no {key}: add it as a line of text')


def _pixels(path: Path) -> NDArray[np.uint8]:
    try:
        coded = np.fromfile(path, np.uint8)
    except OSError as error:
        raise PersonaError(f'cannot read the persona image {path}: {error.strerror}') from None
    pixels = cv2.imdecode(coded, cv2.IMREAD_UNCHANGED) if coded.size else None
    if pixels is None:
        raise PersonaError(f'{path} is not a picture that OpenCV can read: save it as a PNG')
    if pixels.shape != (SIZE_PX, SIZE_PX, 4) or pixels.dtype != np.uint8:
        height, width = pixels.shape[:2]
        channels = 1 if pixels.ndim == 2 else pixels.shape[2]
        raise PersonaError(
            f'{path} is {width}x{height} with {channels} channels of {pixels.dtype.itemsize * 8} bits: '
            f'a persona image is {SIZE_PX}x{SIZE_PX} with colour and alpha, 8 bits each'
        )
    if not pixels[..., 3].any():
        raise PersonaError(f'{path} is fully transparent: its alpha must be the mask of the face')
    return np.asarray(pixels, np.uint8)


def _landmarks(sheet: Path, entries: dict[Any, Any]) -> NDArray[np.float32]:
    wanted = 'left eye, right eye, nose, left and right mouth corner as seen in the image, each [x, y] in pixels'
    try:
        points = np.asarray(entries.get('landmarks'), np.float32)
    except (TypeError, ValueError):
        points = np.empty(0, np.float32)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        raise PersonaError(f'{sheet} needs five landmarks: {wanted}')
    if points.min() < 0 or points.max() > SIZE_PX - 1:
        raise PersonaError(f'{sheet} has landmarks outside the image of {SIZE_PX}x{SIZE_PX}: {wanted}')
    left_eye, right_eye, _, left_mouth, right_mouth = points
    upright = left_eye[0] < right_eye[0] and left_mouth[0] < right_mouth[0]
    if not upright or max(left_eye[1], right_eye[1]) >= min(left_mouth[1], right_mouth[1]):
        raise PersonaError(f'{sheet} has landmarks that are not of an upright face; their order is {wanted}')
    return points
