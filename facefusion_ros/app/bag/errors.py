"""What can be wrong with a bag."""

from __future__ import annotations

from facefusion_ros.errors import FacefusionError


class BagError(FacefusionError):
    """A bag cannot be written or read."""
