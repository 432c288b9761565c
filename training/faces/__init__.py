"""Procedural faces: a head made by this project, drawn by chance with the exact truth about every pixel."""

from training.faces.parameters import FaceParameters
from training.faces.rendering import Region, Rendered, render
from training.faces.sampling import Settings, sample

__all__ = ['FaceParameters', 'Region', 'Rendered', 'Settings', 'render', 'sample']
