"""The gyro's calibration from bags of the simulated world, whose gyro is mounted and stamped in a known way."""

from __future__ import annotations

import json
import math

import cv2
import numpy as np
import pytest
import yaml

from facefusion_ros.app.bag.reader import BagReader
from facefusion_ros.app.bag.writer import BagWriter
from facefusion_ros.blending.alignment import AlignmentSettings
from facefusion_ros.nodes.blender import Blender
from facefusion_ros.sim.world import load_world

LATE_S = 0.012


def without(bag, path, topic):
    with BagWriter(path) as copy:
        for message in BagReader(bag):
            if not message.topic.endswith(topic):
                copy.write(message.topic, message.type_name, message.cdr, message.log_time_ns)
    return path


def test_the_truth_is_found_to_the_claimed_precision(facefusion, shaken_bag):
    done = facefusion('calibrate', shaken_bag, '--json', '-')
    assert (done.code, done.err) == (0, '')
    found = json.loads(done.out)
    assert found['frames'] == 150
    assert abs(found['time_offset_s'] - LATE_S) < 0.3e-3
    assert abs(found['time_offset_s'] - LATE_S) < 4 * found['time_offset_sigma_s']
    rotation = np.array(found['r_optical_imu']).reshape(3, 3)
    off = np.linalg.norm(cv2.Rodrigues(rotation @ load_world('head').optical_from_imu.T)[0])
    assert off < math.radians(0.5)
    assert np.abs(found['gyro_bias_rad_s']).max() < math.radians(0.05)
    assert found['scale'] == pytest.approx(1.0, abs=0.02)
    assert found['noise_px'] < 0.3
    assert found['readout_s'] == 0.0


def test_the_table_ends_in_parameters_of_the_blender(facefusion, shaken_bag, tmp_path):
    done = facefusion('calibrate', shaken_bag, '--json', tmp_path / 'found.json')
    assert done.code == 0
    table, _, text = done.out.partition('/**/blender:')
    assert 'time offset' in table
    assert '150 frames' in table
    given = yaml.safe_load('/**/blender:' + text)['/**/blender']['ros__parameters']
    known = {row.name: row for row in Blender.TABLE}
    assert given.keys() <= known.keys()
    found = json.loads((tmp_path / 'found.json').read_text())
    assert given['imu_time_offset_s'] == pytest.approx(found['time_offset_s'], abs=1e-6)
    rows = np.array(given['imu_rotation']).reshape(3, 3)
    AlignmentSettings(
        r_optical_imu=tuple(map(tuple, rows)),
        time_offset_s=given['imu_time_offset_s'],
        gyro_bias=tuple(given['imu_bias']),
        readout_s=given['readout_s'],
    )


def test_the_read_out_of_a_rolling_shutter_is_found(facefusion, rolling_bag, tmp_path):
    done = facefusion('calibrate', rolling_bag, '--json', tmp_path / 'found.json')
    assert done.code == 0
    found = json.loads((tmp_path / 'found.json').read_text())
    assert abs(found['readout_s'] - 0.024) < 2e-3
    assert abs(found['time_offset_s'] - LATE_S) < 0.3e-3
    assert f'readout_s: {found["readout_s"]:.6f}' in done.out


def test_a_file_may_take_the_place_of_camera_info(facefusion, shaken_bag, tmp_path):
    bag = without(shaken_bag, tmp_path / 'bare.mcap', 'camera_info')
    assert 'name the file of a calibration with --intrinsics' in facefusion('calibrate', bag).refusal
    k = load_world('head').camera.intrinsics
    (tmp_path / 'camera.yaml').write_text(
        f'image_width: {k.width}\nimage_height: {k.height}\n'
        f'camera_matrix: {{data: [{k.fx}, 0, {k.cx}, 0, {k.fy}, {k.cy}, 0, 0, 1]}}\n'
    )
    done = facefusion('calibrate', bag, '--intrinsics', tmp_path / 'camera.yaml', '--json', '-')
    assert abs(json.loads(done.out)['time_offset_s'] - LATE_S) < 0.3e-3


def test_what_is_missing_is_said_in_one_line(facefusion, shaken_bag, raw_bag, tmp_path):
    silent = without(shaken_bag, tmp_path / 'silent.mcap', 'imu/data_raw')
    assert 'no sensor_msgs/Imu' in facefusion('calibrate', silent).refusal
    assert 'it has /robot/imu/data_raw' in facefusion('calibrate', shaken_bag, '--imu', '/other').refusal
    assert 'pairs of frames' in facefusion('calibrate', raw_bag).refusal  # six frames
    assert 'no.mcap' in facefusion('calibrate', tmp_path / 'no.mcap').refusal


def test_a_picture_that_shows_another_motion_is_refused(facefusion, shaken_bag, tmp_path):
    """Readings of another moment: nothing of what the gyro feels is to be seen."""
    readings = [message for message in BagReader(shaken_bag) if message.topic.endswith('imu/data_raw')]
    order = np.random.default_rng(0).permutation(len(readings))
    with BagWriter(tmp_path / 'mixed.mcap') as bag:
        for message in BagReader(shaken_bag):
            if not message.topic.endswith('imu/data_raw'):
                bag.write(message.topic, message.type_name, message.cdr, message.log_time_ns)
        for message, other in zip(readings, order, strict=True):
            cdr = message.cdr[:28] + readings[other].cdr[28:]  # header as it was
            bag.write(message.topic, message.type_name, cdr, message.log_time_ns)
    refusal = facefusion('calibrate', tmp_path / 'mixed.mcap').refusal
    assert 'does not show what the gyro feels' in refusal
