"""The blender in the simulated world, with a real persona, against the world's own truth."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from facefusion_ros.blending.alignment import Alignment, AlignmentSettings
from facefusion_ros.blending.blender import Blender
from facefusion_ros.blending.settings import BlendSettings
from facefusion_ros.faces.face import Face, FacePatch
from facefusion_ros.personas.persona import load_persona
from facefusion_ros.personas.swapper import WarpSwapper
from facefusion_ros.sim.world import load_world

EPOCH_NS = 1_700_000_000_000_000_000
LUMA = np.array([0.114, 0.587, 0.299])
HEAD_IN_THE_DARK = range(145, 165)  # a lamp goes out at 5.0 s, that is frame 150


def stamp_ns(truth):
    return EPOCH_NS + round(truth.time_s * 1e9)


@pytest.fixture(scope='module')
def world():
    return load_world('head')


@pytest.fixture(scope='module')
def swapper():
    return WarpSwapper(load_persona('porcelain'))


def patch_for(truth, swapper, frame):
    face = Face(truth.box, 1.0, truth.landmarks, 1, stamp_ns(truth))
    pixels = np.empty((swapper.size, swapper.size, 4), np.uint8)
    return FacePatch(face, pixels, swapper.swap(frame, face, pixels))


def test_the_persona_is_as_bright_as_the_face_it_covers_while_a_lamp_goes_out(world, swapper):
    blender = Blender(BlendSettings(), Alignment(camera=world.camera.intrinsics))
    before = np.empty((world.camera.height, world.camera.width, 3), np.uint8)
    levels = []
    for index in HEAD_IN_THE_DARK:
        truth = world.render(index, before)
        patch = patch_for(truth, swapper, before)
        after = before.copy()
        blender.apply(after, blender.plan([patch], stamp_ns(truth), after.shape[1], after.shape[0]))
        shown = cv2.warpAffine(patch.pixels[..., 3], patch.image_from_patch, after.shape[1::-1]) == 255
        levels.append((float((before[shown] @ LUMA).mean()), float((after[shown] @ LUMA).mean())))
    original, result = np.array(levels).T
    assert original.max() > 1.1 * original.min()
    assert np.abs(result / original - 1.0).max() < 0.06


def test_the_gyro_finds_the_face_of_an_older_frame_again(world, swapper):
    """Three frames late, through a saccade: the error of the landmarks with the gyro, and without it."""
    blank = np.zeros((world.camera.height, world.camera.width, 3), np.uint8)
    errors = {}
    for gyro in (True, False):
        blender = Blender(
            BlendSettings(),
            Alignment(
                AlignmentSettings(
                    gyro=gyro, r_optical_imu=tuple(tuple(float(v) for v in row) for row in world.optical_from_imu)
                ),
                world.camera.intrinsics,
            ),
        )
        for tick in range(200, 800):
            blender.alignment.observe_rotation(EPOCH_NS + tick * 5_000_000, world.angular_velocity_imu(tick * 0.005))
        errors[gyro] = []
        for index in range(40, 110, 3):
            then, now = world.truth(index), world.truth(index + 3)
            patch = patch_for(then, swapper, blank)
            placements = blender.plan([patch], stamp_ns(now), blank.shape[1], blank.shape[0])
            if placements:
                back = cv2.invertAffineTransform(patch.image_from_patch)
                in_patch = cv2.transform(then.landmarks[None].astype(np.float64), back)
                found = cv2.transform(in_patch, placements[0].image_from_patch)[0]
                errors[gyro].append(np.linalg.norm(found - now.landmarks, axis=1).max())
    assert len(errors[True]) >= 20
    assert max(errors[False]) > 20.0
    assert max(errors[True]) < 0.5
    assert np.mean(errors[False]) > 5 * np.mean(errors[True])
