"""Faces that several tests look at, each drawn once."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

# At the end, so that the package is tested as it is installed.
sys.path.append(str(Path(__file__).parents[2]))

from training.faces import FaceParameters, Rendered, Settings, render, sample
from training.faces.expression import Expression
from training.faces.head import trait_names
from training.faces.parameters import (
    Background,
    Camera,
    Hair,
    Identity,
    Lamp,
    Light,
    Pose,
    Sensor,
    Skin,
    Wear,
)

AMBIENT = ((0.5, 0.5, 0.5), (0.15, 0.15, 0.15), (0.1, 0.1, 0.1), *(((0.0, 0.0, 0.0),) * 6))


@pytest.fixture(scope='session')
def plain() -> FaceParameters:
    """An average face without hair, seen from the front in even light by a perfect camera."""
    return FaceParameters(
        identity=Identity((0.0,) * len(trait_names()), skin=Skin(uneven=0.0, age=0.0, freckles=0.0)),
        wear=Wear(hair=Hair(style='bald')),
        expression=Expression(),
        pose=Pose(),
        camera=Camera(distance=1200.0, span=320.0),
        light=Light(AMBIENT, (Lamp((-0.4, 0.5, 0.8), (0.6, 0.6, 0.6), 0.5),)),
        background=Background('plain', 3, 0.1),
        occluders=(),
        sensor=Sensor(),
    )


@pytest.fixture(scope='session')
def drawn_plain(plain: FaceParameters) -> Rendered:
    return render(plain, 256)


@pytest.fixture(scope='session')
def some() -> list[FaceParameters]:
    """Faces as chance draws them."""
    rng = np.random.default_rng(11)
    return [sample(rng, Settings(sensor=0.3)) for _ in range(12)]


@pytest.fixture(scope='session')
def drawn(some: list[FaceParameters]) -> list[Rendered]:
    return [render(p, 128) for p in some]


@pytest.fixture
def turned(plain: FaceParameters):
    """Draw the plain face turned by degrees."""

    def draw(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0, **changes: object) -> Rendered:
        return render(replace(plain, pose=Pose(yaw, pitch, roll, yaw, roll), **changes), 256)

    return draw
