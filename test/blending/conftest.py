from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from facefusion_ros.faces.alignment import apply, whole_face
from facefusion_ros.faces.face import Face, FacePatch


@pytest.fixture(scope='session')
def portrait():
    """Real photograph, (512, 512, 3) BGR."""
    return np.ascontiguousarray(astronaut()[..., ::-1])


@pytest.fixture(scope='session')
def make_patch():
    """Patch maker: a pale oval with eyes, lit from the left, over a (size, size) square."""

    def make(size=256, *, image_from_patch=None, track_id=1, measured_ns=1, alpha=None):
        axis = (2 * np.arange(size) + 1) / size - 1
        x, y = np.meshgrid(axis, axis)
        shade = np.clip(1.0 - 0.3 * x * x - 0.15 * x - 0.1 * y, 0, 1.1)
        pixels = np.empty((size, size, 4), np.uint8)
        pixels[..., :3] = np.clip(shade[..., None] * np.array([195, 205, 222]), 0, 255)
        for side in (-0.3, 0.3):
            pixels[np.hypot(x - side, y + 0.15) < 0.08] = (70, 60, 50, 255)
        oval = np.clip((0.85 - np.hypot(x / 0.8, y)) / 0.08, 0, 1)
        pixels[..., 3] = np.rint(255 * oval) if alpha is None else alpha
        if image_from_patch is None:
            image_from_patch = place(size, 225.0, 120.0, 170.0)
        landmarks = apply(np.asarray(image_from_patch, np.float64), whole_face(size).landmarks).astype(np.float32)
        face = Face((150.0, 40.0, 150.0, 150.0), 1.0, landmarks, track_id, measured_ns)
        return FacePatch(face, pixels, np.asarray(image_from_patch, np.float64))

    return make


def place(size, x, y, width_px, turn_deg=0.0):
    """(2, 3) map that puts the patch's middle at (x, y), width_px pixels wide, turned."""
    to = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), turn_deg, width_px / size)
    to[:, 2] += (x - (size - 1) / 2, y - (size - 1) / 2)
    return to


@pytest.fixture(scope='session', name='place')
def place_fixture():
    return place
