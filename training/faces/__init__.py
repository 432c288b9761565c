"""Procedural faces: a head made by this project, drawn by chance with the exact truth about every pixel."""

from training.faces.parameters import FaceParameters, Identity
from training.faces.personas import PERSONAS, as_persona, persona, swapped
from training.faces.rendering import Rendered, render, unfold
from training.faces.sampling import Settings, sample, sample_identity
from training.faces.subject import Region

__all__ = [
    'PERSONAS',
    'FaceParameters',
    'Identity',
    'Region',
    'Rendered',
    'Settings',
    'as_persona',
    'persona',
    'render',
    'sample',
    'sample_identity',
    'swapped',
    'unfold',
]
