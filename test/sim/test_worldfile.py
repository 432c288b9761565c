import os
import shutil

import pytest
import yaml

from facefusion_ros.errors import FacefusionError
from facefusion_ros.sim.world import load_world
from facefusion_ros.sim.worldfile import WorldError, find_world, world_names

MINIMAL = {
    'period_s': 2,
    'seed': 1,
    'camera': {'width': 64, 'height': 48, 'rate_hz': 10, 'hfov_deg': 60},
    'light': {'lux': 100},
    'scene': {'distance_m': 0.5, 'width_m': 0.7},
}


@pytest.fixture
def written(tmp_path):
    def write(content):
        file = tmp_path / 'own.yaml'
        file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return file

    return write


def test_every_world_that_ships_loads():
    assert {'head', 'still', 'shake', 'dark', 'leaving', 'turning', 'parallax', 'riding', 'resting', 'rolling'} <= set(
        world_names()
    )
    for name in world_names():
        world = load_world(name)
        assert world == load_world(name)


def test_a_world_of_ones_own(written):
    world = load_world(written(MINIMAL))
    assert (world.camera.width, world.camera.rate_hz, world.frames) == (64, 10.0, 20)
    assert world.motion.saccades == ()
    assert world == load_world(os.fspath(written(MINIMAL)))


def test_an_image_is_named_relative_to_the_file(written, tmp_path):
    scene = {
        **MINIMAL['scene'],
        'image': 'me.png',
        'landmarks': [[1, 2], [3, 2], [2, 3], [1, 4], [3, 4]],
        'face_box': [0, 0, 5, 5],
    }
    assert load_world(written({**MINIMAL, 'scene': scene})).scene.image == str(tmp_path / 'me.png')


def changed(**changes):
    return {k: v for k, v in {**MINIMAL, **changes}.items() if v is not None}


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (changed(lxu=1), ["unknown key 'lxu'", 'accepted keys: camera, face, imu, light']),
        (changed(light={'lux': 1, 'lamp': []}), ["light: unknown key 'lamp'", 'lamps']),
        (changed(light=None), ["key 'light' is missing"]),
        (changed(light={'drift': []}), ["light: key 'lux' is missing"]),
        (changed(light={'lux': 'bright'}), ['light.lux: must be a number', 'bright']),
        (changed(light={'lux': True}), ['light.lux: must be a number']),
        (changed(light={'lux': float('nan')}), ['light.lux: must be a number']),
        (changed(seed=1.5), ['seed: must be a whole number']),
        (changed(seed=-1), ['seed must be a whole number of at least 0']),
        (changed(light={'lux': 5, 'lamps': {'lux': 5}}), ['light.lamps: must be a list']),
        (changed(light={'lux': 5, 'lamps': [{'lux': 5}]}), ["light.lamps[0]: key 'dark_from_s' is missing"]),
        (changed(imu={'rpy_deg': [1, 2]}), ['imu.rpy_deg: must be a list of 3']),
        (changed(light=[1]), ['light: must be a mapping', 'lux']),
        (changed(motion={'yaw': [{'amplitude_deg': 1, 'cycles': 0}]}), ['motion.yaw[0]: cycles']),
        (changed(motion={'yaw': [{'amplitude_deg': 80, 'cycles': 1}]}), ['past the wall']),
        (
            changed(motion={'right': [{'amplitude_deg': 1, 'cycles': 1}]}),
            ["motion.right[0]: unknown key 'amplitude_deg'"],
        ),
        (changed(motion={'forward': [{'amplitude_m': 0.6, 'cycles': 1}]}), ['into the wall', 'scene.distance_m']),
        (changed(camera={**MINIMAL['camera'], 'readout_s': 0.2}), ['camera: readout_s']),
        (changed(camera={**MINIMAL['camera'], 'distortion': [0.1]}), ['camera: distortion must be k1']),
        (changed(camera={**MINIMAL['camera'], 'distortion': [-2.0, 0, 0, 0]}), ['distortion', 'folds the picture']),
        (changed(imu={'scale_error': 0.01}), ['imu.scale_error: must be a list of 3']),
        (changed(imu={'rate_hz': 0}), ['imu: rate_hz must be between']),
        (changed(face={}), ["face: key 'distance_m' is missing; accepted keys: distance_m, motion, rides"]),
        (changed(face={'distance_m': 0.3, 'rides': 1}), ['face.rides: must be true or false, not 1']),
        (changed(face={'distance_m': 0.6}), ['behind the wall', 'face.distance_m']),
        (changed(face={'distance_m': 0.3, 'motion': {'yaw': [{'amplitude_deg': 85, 'cycles': 1}]}}), ['turns away']),
        (changed(face={'distance_m': 0.3, 'motion': {'forward': [{'amplitude_m': 0.3, 'cycles': 1}]}}), ['behind']),
        (
            changed(
                face={'distance_m': 0.2, 'rides': True, 'motion': {'forward': [{'amplitude_m': 0.3, 'cycles': 1}]}}
            ),
            ['too near the camera', 'face.distance_m'],
        ),
        (changed(motion={'saccades': [{'at_s': 1.8, 'turn_s': 0.3, 'hold_s': 0}]}), ['saccade at 1.8']),
        (changed(light={'lux': 5, 'tunnels': [{'lux': 1, 'enter_s': 1, 'leave_s': 3}]}), ['light:', 'period_s']),
        (changed(period_s=2.05), ['whole number of frames']),
        (changed(period_s=0), ['period_s must be between']),
        (changed(camera={**MINIMAL['camera'], 'width': 0}), ['camera: width and height']),
        (changed(camera={**MINIMAL['camera'], 'sensor': {'max_gain': 0.1}}), ['camera.sensor: max_gain']),
        (changed(scene={**MINIMAL['scene'], 'image': 'me.png'}), ['scene: image needs landmarks']),
        ('a: [1', ['not valid YAML']),
        ('', ['must be a mapping']),
        ('just words', ['must be a mapping']),
    ],
)
def test_mistakes_are_named_with_their_file_and_key(written, content, words):
    file = written(content)
    with pytest.raises(WorldError) as caught:
        load_world(file)
    text = str(caught.value)
    assert text.startswith(str(file))
    assert '\n' not in text
    for word in words:
        assert word in text
    assert isinstance(caught.value, FacefusionError)


def test_missing_worlds(tmp_path):
    with pytest.raises(WorldError, match=r"'heda'; known worlds: dark, head, leaving"):
        load_world('heda')
    with pytest.raises(WorldError, match=r'no such world file.*head'):
        load_world(tmp_path / 'gone.yaml')
    with pytest.raises(WorldError, match='no such world file'):
        load_world(tmp_path)


def test_a_file_that_is_not_text(tmp_path):
    (tmp_path / 'bad.yaml').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(WorldError, match='cannot be read'):
        load_world(tmp_path / 'bad.yaml')


def test_an_installed_world_is_found_by_its_name(tmp_path, monkeypatch):
    installed = tmp_path / 'share' / 'facefusion_ros' / 'config' / 'worlds'
    installed.mkdir(parents=True)
    shutil.copy(find_world('still'), installed / 'elsewhere.yaml')
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'{tmp_path / "none"}{os.pathsep}{tmp_path}')
    assert find_world('elsewhere') == installed / 'elsewhere.yaml'
    assert 'elsewhere' in world_names()
