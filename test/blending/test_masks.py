from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.blending.masks import feather


@given(st.integers(1, 300), st.floats(0, 0.5))
def test_feather_is_nothing_at_the_edge_and_rises_inwards(size, fraction):
    mask = feather(size, fraction)
    assert mask.shape == (size, size)
    assert not mask[0].any()
    assert not mask[-1].any()
    assert np.array_equal(mask, mask.T)
    assert np.array_equal(mask, mask[::-1])
    half = mask[: (size + 1) // 2, size // 2].astype(int)
    assert (np.diff(half) >= 0).all()
    inside = int(np.ceil(max(fraction * size, 1.0)))
    assert (mask[inside : size - inside, inside : size - inside] == 255).all()
