import json

import pytest

from facefusion_ros.app.bench import light
from facefusion_ros.sim.world import load_world

FIGURES = {'delta_e_median', 'delta_e_p95', 'delta_l_abs_p95', 'delta_e_worst', 'step_worst', 'settle_frames'}

LAMP = """
period_s: 2.0
seed: 3
camera: {width: 320, height: 240, rate_hz: 15.0, hfov_deg: 60.0}
light:
  lux: 80.0
  lamps:
    - {lux: 400.0, dark_from_s: 0.6, dark_until_s: 1.3}
scene: {distance_m: 0.45, width_m: 0.9}
"""


def test_the_command_writes_figures_of_any_world(tmp_path, facefusion_process):
    (tmp_path / 'lamp.yaml').write_text(LAMP)
    done = facefusion_process(
        'bench', 'light', '--world', tmp_path / 'lamp.yaml', '--frames', '24', '--json', tmp_path / 'light.json'
    )
    assert (done.code, done.out) == (0, ''), done
    result = json.loads((tmp_path / 'light.json').read_text())
    assert (result['frames'], result['light_steps']) == (24, 2)
    for way in (result, result['no_lux'], result['seamless_clone'], result['reinhard']):
        assert set(way) >= FIGURES
        assert 0.0 <= way['delta_e_median'] <= way['delta_e_p95'] <= way['delta_e_worst']
        assert 0.0 < way['ms']['p50'] <= way['ms']['p95']
    series = result['series']
    assert len(series['time_s']) == len(series['lux']) == 24
    for name, worst in series['delta_e_worst'].items():
        told = result if name == 'lux' else result[name]
        assert max(value for value in worst if value is not None) == told['delta_e_worst']
    assert result['delta_e_p95'] < result['seamless_clone']['delta_e_p95']
    assert result['delta_l_abs_p95'] < result['reinhard']['delta_l_abs_p95']


def test_a_world_that_is_not_there_is_named(facefusion_process):
    assert 'no_such_world' in facefusion_process('bench', 'light', '--world', 'no_such_world').refusal


def test_the_tunnel_is_two_steps_of_two_hundred():
    world = load_world('tunnel')
    enter, leave = light._steps(world, world.frames)
    before, inside, after = (world.lux(index / 30.0) for index in (enter - 3, enter + 20, leave + 20))
    assert before / inside == pytest.approx(200, rel=0.15)
    assert after / inside == pytest.approx(200, rel=0.15)


@pytest.fixture(scope='module')
def tunnel_exit():
    """Seams of the frames around the exit, with the light sensor and without, and what was not believed."""
    scene = light._Scene(load_world('tunnel'), 'porcelain')
    ways = {'lux': light._Ours(lux=True), 'no_lux': light._Ours(lux=False)}
    found = {name: [] for name in ways}
    faults = set()
    for index in [*range(264, 292)]:
        shot = scene.shot(index)
        where = light.rings(shot.alpha, shot.skin)
        for name, way in ways.items():
            found[name].append(
                float(light.seam(shot.picture, way.paint(shot, shot.picture.copy()), where).delta_e.max())
            )
            faults.add(way._blender.light_fault)
    return found, faults


def test_no_frame_of_the_tunnel_s_exit_shows_a_seam(tunnel_exit):
    found, _ = tunnel_exit
    assert max(found['lux']) < 2.0
    assert max(found['no_lux']) < 4.0


def test_a_tunnel_is_no_fault_of_the_sensor(tunnel_exit):
    assert tunnel_exit[1] == {''}
