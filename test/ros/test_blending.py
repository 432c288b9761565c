from __future__ import annotations

from dataclasses import fields

import pytest

from facefusion_ros.blending.alignment import AlignmentSettings
from facefusion_ros.blending.settings import BlendSettings
from facefusion_ros.ros.blending import ALIGNMENT, BLENDING, alignment_settings, blend_settings
from facefusion_ros.ros.parameters import ParameterError

USUAL = {row.name: row.default for row in (*BLENDING, *ALIGNMENT)}


def test_the_usual_values_are_the_usual_settings():
    assert blend_settings(USUAL) == BlendSettings()
    assert alignment_settings(USUAL) == AlignmentSettings()


@pytest.mark.parametrize(
    ('read', 'rows', 'settings'),
    [(blend_settings, BLENDING, BlendSettings), (alignment_settings, ALIGNMENT, AlignmentSettings)],
)
def test_each_row_sets_one_thing(read, rows, settings):
    changed = set()
    for row in rows:
        given = {
            'imu_rotation': [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
            'imu_bias': [0.01, 0.02, 0.03],
        }.get(row.name, not row.default if isinstance(row.default, bool) else None)
        value = 0.5 * (row.default + row.minimum) if given is None else given
        found = read(USUAL | {row.name: value})
        usual = settings()
        (name,) = (each.name for each in fields(settings) if getattr(found, each.name) != getattr(usual, each.name))
        changed.add(name)
    assert len(changed) == len(rows)


@pytest.mark.parametrize('name', ['imu_rotation', 'imu_bias'])
def test_too_few_numbers_are_refused_by_name(name):
    with pytest.raises(ParameterError, match=f'{name} has 2 numbers'):
        alignment_settings(USUAL | {name: [1.0, 2.0]})
