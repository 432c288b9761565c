"""What is known of a network before it is opened."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Role(str, Enum):
    """What a network is for."""

    DETECTOR = 'detector'
    LANDMARKS = 'landmarks'
    RECOGNITION = 'recognition'
    SWAPPER = 'swapper'
    ENHANCER = 'enhancer'
    MASK = 'mask'


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
class Family:
    """Networks that are fed and read the same way."""

    name: str
    """Such as ``yunet``, ``scrfd``, ``inswapper``, ``codeformer``."""
    role: Role
    preprocessing: Preprocessing
    size: tuple[int, int] | None
    """Width and height of the picture input; None where the file says."""
    template: str | None
    """Name of the alignment template of the crop; None for whole pictures."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One file in the user's store."""

    name: str
    family: Family
    file: str
    """File name within the store."""
    sha256: str
    licence: str
    commercial: bool
    """Whether the licence allows commercial use."""
    source: str
    """Where the file comes from, as the user or the catalogue says."""
