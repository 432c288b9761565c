from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from facefusion_ros.blending.alignment import IDENTITY_MOUNTING
from facefusion_ros.blending.colour import contrast_map, gain_field, measure
from facefusion_ros.blending.masks import feather
from facefusion_ros.blending.paste import Scratch, contrast, prepare, region_of, tint
from facefusion_ros.blending.samples import SAMPLES, sample_face
from facefusion_ros.blending.settings import BlendSettings
from facefusion_ros.faces.alignment import apply, whole_face
from facefusion_ros.faces.face import Face, FacePatch
from facefusion_ros.frames.intrinsics import Intrinsics


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


@pytest.fixture(scope='session', name='look')
def look_fixture():
    """Look at a frame through a patch: ``look(frame, patch)`` gives the face in samples, and which are seen."""
    return look


def look(frame, patch):
    size = patch.pixels.shape[0]
    face = np.empty((SAMPLES, SAMPLES, 3), np.uint8)
    left, top, width, height = region_of(patch.image_from_patch, size, frame.shape[1], frame.shape[0])
    view = frame[top : top + height, left : left + width]
    return face, sample_face(view, (left, top), patch.image_from_patch, size, face)


@pytest.fixture(scope='session', name='ready')
def ready_fixture():
    """Make a patch ready to be measured: a layer of 128 pixels."""
    return ready


def ready(patch):
    return prepare(patch.pixels, feather(patch.pixels.shape[0], 0.1), 128, Scratch())


@pytest.fixture(scope='session')
def lit():
    """Light a persona as a frame's face is lit: ``lit(frame, patch)`` gives its layer, and where that is opaque."""

    def paint(frame, patch, settings=BlendSettings()):  # noqa: B008 - frozen
        layer = ready(patch)
        measured = measure(*look(frame, patch), layer, settings, patch.reflectance)
        contrast(layer, contrast_map(measured.coefficients), measured.persona_mean, Scratch())
        tint(layer, gain_field(measured.coefficients), Scratch())
        return layer.colour.copy(), layer.alpha == 255

    return paint


# The astronaut's eyes, nose and mouth corners, seen by eye; the face is some 110 pixels wide.
LANDMARKS = np.array([(202, 101), (247, 103), (225, 127), (204, 140), (244, 142)], float)
METRES_PER_PX = 0.16 / 110
T0_NS = 1_700_000_000_000_000_000


class ShakenCamera:
    """A camera that is shaken before a face, with all that may move either: the truth, its pictures and its gyro.

    The face is a photograph on a plane 0.6 m away, what is behind it is painted on one 8 m away. Angles are sums of
    sines of 0.8 to 6 Hz. It shares nothing with what is tested but the camera model and the mounting's name.
    """

    def __init__(
        self,
        portrait,
        seed=0,
        *,
        peak_deg_s=60.0,
        drift_deg_s=0.0,
        lever_m=0.0,
        face_m_s=0.0,
        riding=False,
        readout_s=0.0,
        distortion=(),
        size=(640, 480),
    ):
        self.rng = np.random.default_rng(seed)
        width, height = size
        self.camera = Intrinsics(width, height, 800.0, 800.0, (width - 1) / 2, (height - 1) / 2, distortion)
        self.lever, self.riding, self.readout_s = np.array([0.0, 0.0, lever_m]), riding, readout_s
        self.omega = 2 * math.pi * self.rng.uniform(0.8, 6.0, (3, 5))
        self.phase = self.rng.uniform(0, 2 * math.pi, (3, 5))
        self.amplitude = self.rng.uniform(0.5, 1.0, (3, 5)) / self.omega
        self.drift = math.radians(drift_deg_s)
        peak = np.linalg.norm(self.rate(np.arange(0, 10, 0.01)), axis=1).max()
        self.amplitude *= math.radians(peak_deg_s) / peak
        self.face_omega, self.face_phase = self.rng.uniform(2, 7, 2), self.rng.uniform(0, 6, 2)
        self.face_amplitude = face_m_s / self.face_omega / math.sqrt(2)
        self.back = np.clip(128 + 38 * sum(self._grain(step) for step in (4, 12, 40)), 0, 255).astype(np.uint8)
        self.face = cv2.cvtColor(portrait, cv2.COLOR_BGR2GRAY)[20:220, 130:320]
        y, x = np.mgrid[20:220, 130:320]
        self.mask = np.clip((1.05 - ((x - 224) / 62) ** 2 - ((y - 115) / 82) ** 2) / 0.1, 0, 1).astype(np.float32)

    def _grain(self, step):
        coarse = self.rng.standard_normal((1600 // step + 2, 2400 // step + 2)).astype(np.float32)
        return cv2.resize(coarse, (2400, 1600), interpolation=cv2.INTER_CUBIC)

    def rotation(self, t):
        """(..., 3, 3) optical frame to world: Ry Rx Rz."""
        t = np.asarray(t, float)
        x, y, z = np.moveaxis((self.amplitude * np.sin(self.omega * t[..., None, None] + self.phase)).sum(-1), -1, 0)
        turns = [np.zeros((*t.shape, 3)) for _ in range(3)]
        turns[0][..., 1], turns[1][..., 0], turns[2][..., 2] = y + self.drift * t, x, z
        one, two, three = (
            np.array([cv2.Rodrigues(v)[0] for v in turn.reshape(-1, 3)]).reshape(*t.shape, 3, 3) for turn in turns
        )
        return one @ two @ three

    def rate(self, t):
        """(n, 3) rad/s in the optical frame, at times (n,)."""
        change = np.swapaxes(self.rotation(t - 1e-5), -1, -2) @ self.rotation(t + 1e-5)
        skew = np.stack([change[:, 2, 1], change[:, 0, 2], change[:, 1, 0]], axis=1) - np.stack(
            [change[:, 1, 2], change[:, 2, 0], change[:, 0, 1]], axis=1
        )
        return 0.5 * skew / 2e-5

    def camera_from_plane(self, t, distance_m, shift=(0.0, 0.0), *, riding=False):
        """(3, 3): (x, y, 1) in metres on a plane to the optical frame."""
        plane = np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, distance_m]])
        if riding:
            return plane
        rotation = self.rotation(t)
        plane[:, 2] -= rotation @ self.lever - self.lever
        return rotation.T @ plane

    def camera_from_face(self, t):
        shift = self.face_amplitude * np.sin(self.face_omega * t + self.face_phase)
        return self.camera_from_plane(t, 0.6, shift, riding=self.riding)

    def landmarks(self, t):
        """(5, 2) pixels, each seen when its own row is."""
        metres = np.column_stack([(LANDMARKS - LANDMARKS.mean(0)) * METRES_PER_PX, np.ones(5)])
        seen = self.camera.pixels(metres @ self.camera_from_face(t).T)
        for _ in range(3 if self.readout_s else 0):
            times = t + self.delay_s(seen[:, 1])
            seen = np.array(
                [
                    self.camera.pixels((self.camera_from_face(at) @ p)[None])[0]
                    for at, p in zip(times, metres, strict=True)
                ]
            )
        return seen

    def delay_s(self, row):
        return (row - (self.camera.height - 1) / 2) / (self.camera.height - 1) * self.readout_s

    def picture(self, t):
        """(height, width) grey with noise; through a pinhole."""
        width, height = self.camera.width, self.camera.height
        grain = 8.0 / 800
        back_m = np.array([[grain, 0, -1200 * grain], [0, grain, -800 * grain], [0, 0, 1]])
        first = (np.array([130, 20.0]) - LANDMARKS.mean(0)) * METRES_PER_PX
        face_m = np.array([[METRES_PER_PX, 0, first[0]], [0, METRES_PER_PX, first[1]], [0, 0, 1]])
        picture = np.empty((height, width), np.uint8)
        step = 12 if self.readout_s else height
        for top in range(0, height, step):
            rows = min(step, height - top)
            at = t + self.delay_s(top + (rows - 1) / 2)
            band = np.array([[1, 0, 0], [0, 1, -top], [0, 0, 1.0]]) @ self.camera.matrix
            behind, before = band @ self.camera_from_plane(at, 8.0) @ back_m, band @ self.camera_from_face(at) @ face_m
            back = cv2.warpPerspective(self.back, behind, (width, rows), borderMode=cv2.BORDER_REFLECT_101)
            face, mask = (cv2.warpPerspective(part, before, (width, rows)) for part in (self.face, self.mask))
            picture[top : top + rows] = back * (1 - mask) + face * mask
        noisy = picture + 2.0 * self.rng.standard_normal(picture.shape, np.float32)
        return np.clip(noisy, 0, 255).astype(np.uint8)

    def seen_face(self, t, noise_px=0.5, track_id=1):
        landmarks = self.landmarks(t) + self.rng.normal(0, noise_px, (5, 2))
        centre, width = landmarks.mean(axis=0), 2.2 * np.ptp(landmarks[:, 0])
        box = (centre[0] - width / 2, centre[1] - width / 2, width, width)
        return Face(box, 1.0, landmarks.astype(np.float32), track_id, T0_NS + round(t * 1e9))

    def gyro(self, end_s, *, offset_s=0.0, bias=(0.0, 0.0, 0.0), tilt=(0.0, 0.0, 0.0), rate_hz=200.0):
        """Stamps (n,) ns, rates (n, 3) rad/s with an MPU-6050's noise, and the true (3, 3) rotation IMU to optical."""
        mounting = cv2.Rodrigues(np.array(tilt, float))[0] @ np.array(IDENTITY_MOUNTING)
        t = np.arange(0, end_s, 1 / rate_hz)
        noise = math.radians(0.005) * math.sqrt(rate_hz / 2) * self.rng.standard_normal((len(t), 3))
        return T0_NS + np.round((t + offset_s) * 1e9).astype(np.int64), self.rate(t) @ mounting + bias + noise, mounting


@pytest.fixture(scope='session')
def shaken_camera(portrait):
    """Make one: ``shaken_camera(seed, riding=True)``."""

    def make(seed=0, **choice):
        return ShakenCamera(portrait, seed, **choice)

    return make
