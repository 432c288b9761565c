"""What is known of a network before it is opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from facefusion_ros.errors import FacefusionError

if TYPE_CHECKING:
    from collections.abc import Mapping


class ModelError(FacefusionError):
    """A model file, the catalogue or the store is not as it should be; the text says what to do."""


class Role(str, Enum):
    """What a network is for."""

    DETECTOR = 'detector'
    LANDMARKS = 'landmarks'
    RECOGNITION = 'recognition'
    IDENTITY = 'identity'
    """Turns a recogniser's vector into the one that a swapper was trained with."""
    SWAPPER = 'swapper'
    ENHANCER = 'enhancer'
    MASK = 'mask'
    BACKGROUND = 'background'
    """Restores the whole frame."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a BGR uint8 picture becomes the network's input: value = (pixel * scale - mean) / std, then laid out."""

    colour: str
    """``bgr`` or ``rgb``: the order of the channels."""
    scale: float
    """1.0 keeps 0..255, 1/255 makes 0..1."""
    mean: tuple[float, float, float]
    """Per channel in the network's order, after scaling."""
    std: tuple[float, float, float]
    layout: str = 'nchw'


@dataclass(frozen=True, slots=True)
class Template:
    """Where the landmarks of a face are in a crop that is aligned for a network."""

    size: int
    """Width and height of the crop for which the points are given, pixels; in others they scale with it."""
    points: tuple[tuple[float, float], ...]
    """Left eye, right eye, nose, left and right mouth corner as seen in the image (x, y)."""


@dataclass(frozen=True, slots=True)
class TensorForm:
    """What an input or output of a family looks like."""

    role: str
    """What the family uses it for: ``picture``, ``source``, ``weight``, ``mask``, ``score_8`` ... ."""
    shape: tuple[int | str | None, ...]
    """Per dimension a size; a letter that stands for the same size wherever it appears (``h`` and ``w`` are those of
    the picture), also as ``h/32`` or ``h*4``; or None for any. A dimension that a file leaves open fits everything."""
    dtype: str = 'float'
    """``float`` is float32 or float16, whichever the file declares; ``number`` also float64."""
    names: tuple[str, ...] = ()
    """Names in published files. They tell tensors of one shape apart; any other name is accepted."""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class PictureRange:
    """What a picture that comes out of a network means: 0..1 is value * std + mean, clipped."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Weight:
    """A weight of the file that is used outside the network: inswapper's identity projection."""

    role: str
    shape: tuple[int, ...]
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """How the persona's identity is given to a swapper."""

    kind: str
    """``vector`` (of a recogniser) or ``picture`` (a crop of the source face)."""
    template: str
    """Alignment of the source face, for the recogniser or for the crop."""
    size: int
    """Pixels of that crop."""
    preprocessing: Preprocessing
    converter: str | None = None
    """File of the ``crossface`` family that turns the recogniser's raw vector into this swapper's."""
    projection: bool = False
    """Whether the unit vector is multiplied by the file's own matrix and made a unit vector again (inswapper)."""
    unit: bool = True
    """Whether the vector that the swapper gets has length 1."""


@dataclass(frozen=True, slots=True)
class Family:
    """Networks that are fed and read the same way."""

    name: str
    """Such as ``yunet``, ``scrfd``, ``inswapper``, ``codeformer``."""
    role: Role
    preprocessing: Preprocessing
    size: tuple[int, int] | None
    """Width and height of the picture input; None where the file says."""
    template: str | None
    """Name of the alignment template of the crop; None for whole pictures and for crops around a box."""
    decoder: str = 'picture'
    """How the outputs are read: ``picture``, ``vector``, ``mask``, ``classes``, or a detector's or landmarker's own."""
    inputs: tuple[TensorForm, ...] = ()
    outputs: tuple[TensorForm, ...] = ()
    other_outputs: tuple[tuple[TensorForm, ...], ...] = ()
    """Other layouts of the outputs that published files have."""
    sizes: tuple[int, ...] = ()
    """Widths and heights (square) that the family comes in; empty where any is right."""
    multiple: int = 1
    """Width and height are multiples of this, where any is right."""
    range: PictureRange | None = None
    """Meaning of the output ``picture``."""
    decode: Mapping[str, float | tuple[float, ...]] = field(default_factory=dict)
    """Numbers that the decoder needs."""
    box_fill: float | None = None
    """For crops around a box: part of the crop's side that the longer side of the box takes."""
    source: Source | None = None
    weight: Weight | None = None
    more_outputs: bool = False
    """Whether published files have further outputs that nothing here needs."""
    file_names: tuple[str, ...] = ()
    """Beginnings of published file names: they decide between families whose inputs and outputs are the same."""
    reference: str = ''
    """Public source of these facts."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One file in the user's store, or one that ships with the package."""

    name: str
    family: Family
    file: str
    """File name within the store, or within what ships."""
    sha256: str
    licence: str
    commercial: bool
    """Whether the licence allows commercial use."""
    source: str
    """Where the file comes from, as the user or the catalogue says."""
    size: tuple[int, int] | None = None
    """Width and height of the picture input in this file; None where the file leaves it open."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """The file's own name of each of the family's inputs, by role."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    weight: str | None = None
    """The file's own name of the family's ``weight``."""
    beside: Mapping[str, str] = field(default_factory=dict)
    """Files with the network's weights that lie beside it (ONNX external data): name to SHA-256."""
    personas: tuple[str, ...] = ()
    """Whom the numbers of the input ``persona`` stand for, in their order."""
    shipped: bool = False
    """Whether the file came with the package."""
