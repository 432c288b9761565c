import cv2
import numpy as np
import pytest
import skimage.data

# Marked by hand in enlarged crops: left eye, right eye, nose, left and right mouth corner.
LANDMARKS = np.array([[203.3, 101.3], [246.6, 103.6], [225.0, 126.5], [204.0, 140.0], [244.5, 141.5]])


class Portrait:
    """The astronaut and her landmarks, drawn into pictures by similarities."""

    def __init__(self):
        self.pixels = np.ascontiguousarray(skimage.data.astronaut()[..., ::-1])
        # The face with its hair, for pictures with more than one person.
        self.head = self.pixels[5:195, 140:310]
        self.head_landmarks = LANDMARKS - [140, 5]
        self.landmarks = LANDMARKS

    def picture(self, eye_distance=70.0, roll_deg=0.0, centre=None, size=(640, 480), gain=1.0, noise=0.0, seed=0):
        """A (480, 640, 3) picture with the nose at the centre, and the (5, 2) true landmarks."""
        scale = eye_distance / np.hypot(*(self.landmarks[1] - self.landmarks[0]))
        # A warp alone would alias where it shrinks.
        share = min(1.0, scale)
        source = cv2.resize(self.pixels, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        nose = self.landmarks[2] * share
        affine = cv2.getRotationMatrix2D(tuple(nose), -roll_deg, scale / share)
        affine[:, 2] += (np.array(size) / 2 if centre is None else centre) - nose
        pixels = cv2.warpAffine(source, affine, size, flags=cv2.INTER_LINEAR, borderValue=(90, 80, 70))
        grain = np.random.default_rng(seed).normal(0.0, noise, pixels.shape) if noise else 0.0
        pixels = np.clip(pixels * gain + grain, 0, 255).astype(np.uint8)
        return pixels, self.landmarks * share @ affine[:, :2].T + affine[:, 2]

    def paste(self, pixels, left, top, scale=1.6):
        """Draw the head into a picture, as far as it is inside; return its (5, 2) landmarks."""
        affine = np.array([[scale, 0.0, left], [0.0, scale, top]])
        cv2.warpAffine(
            self.head,
            affine,
            pixels.shape[1::-1],
            dst=pixels,
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_TRANSPARENT,
        )
        return self.head_landmarks * scale + [left, top]


@pytest.fixture(scope='session')
def portrait():
    return Portrait()
