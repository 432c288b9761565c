import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from facefusion_ros.personas.tiles import tile_shares, tile_starts

LENGTHS, SIDES = st.integers(1, 2000), st.integers(1, 300)


@given(length=LENGTHS, side=SIDES)
def test_tiles_cover_the_length_from_end_to_end(length, side):
    starts = tile_starts(length, side)
    assert starts[0] == 0
    assert len(starts) == 1 if length <= side else starts[-1] == length - side
    # Of two neighbours the one begins where the other has not ended, and none is there twice.
    assert all(0 < step <= side for step in np.diff(starts))


@given(length=LENGTHS, side=st.integers(24, 300))
def test_neighbours_overlap_by_their_rims(length, side):
    assert all(step <= side - min(24, side // 2) for step in np.diff(tile_starts(length, side)))


@given(length=LENGTHS, side=SIDES)
def test_there_are_no_more_tiles_than_are_needed(length, side):
    starts = tile_starts(length, side)
    step = side - min(24, side // 2)
    assert len(starts) == 1 or side + (len(starts) - 2) * step < length


@settings(deadline=None)
@given(length=LENGTHS, side=SIDES, times=st.sampled_from([1, 2, 4]))
def test_shares_add_up_and_lie_within_their_tiles(length, side, times):
    starts = tile_starts(length, side)
    shares = tile_shares(starts, side, length, times)
    assert shares.shape == (len(starts), length * times)
    np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-5)
    assert shares.min() >= -1e-6
    at = np.arange(length * times) // times
    for start, share in zip(starts, shares, strict=True):
        assert not share[(at < start) | (at >= start + side)].any()


@given(length=LENGTHS, side=st.integers(48, 300), times=st.sampled_from([1, 2, 4]))
def test_a_tile_s_rim_does_not_show_beside_another_tile(length, side, times):
    starts = tile_starts(length, side)
    shares = tile_shares(starts, side, length, times)
    at = (np.arange(length * times) + 0.5) / times
    for i, (start, share) in enumerate(zip(starts, shares, strict=True)):
        if i > 0:
            assert not share[at < start + 8].any()
        if i < len(starts) - 1:
            assert not share[at > start + side - 8].any()


@given(length=LENGTHS, side=st.integers(48, 300), times=st.sampled_from([1, 2, 4]))
def test_one_tile_fades_into_the_next(length, side, times):
    shares = tile_shares(tile_starts(length, side), side, length, times)
    assert np.abs(np.diff(shares, axis=1)).max(initial=0) <= 1 / (8 * times) + 1e-6
