from __future__ import annotations

import math

import pytest

from facefusion_ros.blending.settings import BlendSettings
from facefusion_ros.errors import SettingError


@pytest.mark.parametrize(
    'wrong',
    [
        {'feather': 0.6},
        {'feather': math.nan},
        {'colour_strength': -0.1},
        {'chroma_strength': 1.1},
        {'colour_time_constant_s': -1.0},
        {'light_step_ratio': 1.0},
    ],
)
def test_a_setting_outside_its_range_is_refused_by_name_in_one_line(wrong):
    with pytest.raises(SettingError, match=f'^{next(iter(wrong))} must ') as refusal:
        BlendSettings(**wrong)
    assert '\n' not in str(refusal.value)
