from __future__ import annotations

import numpy as np

from facefusion_ros.blending.median import median


def test_the_middle_of_values():
    assert median(np.array([5.0, 1.0, 9.0])) == 5.0
    assert median(np.array([2.0])) == 2.0
