import numpy as np
import pytest

from facefusion_ros.sim.world import World, load_world


@pytest.fixture(scope='session')
def head() -> World:
    return load_world('head')


@pytest.fixture(scope='session')
def still() -> World:
    return load_world('still')


@pytest.fixture
def picture(head):
    return np.empty((head.camera.height, head.camera.width, 3), np.uint8)
