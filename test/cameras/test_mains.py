import math

import numpy as np
import pytest

from facefusion_ros.cameras.mains import Mains, beat_hz

READOUT_S = 0.02


def watch(mains_hz, rate_hz, exposure_s, *, frames=150, depth=0.4, motion=None, noise=0.003, seed=2):
    """Pictures of a rolling shutter under lamps that flicker as their exposure lets them."""
    rng = np.random.default_rng(seed)
    mains = Mains()
    rows = np.arange(64) / 64.0 * READOUT_S
    for frame in range(frames):
        middle_s = 100.0 + frame / rate_hz
        light = np.full((64, 16), 0.2, np.float32)
        if mains_hz:
            flicker_hz = 2.0 * mains_hz
            seen = depth * np.sinc(flicker_hz * exposure_s)
            light *= (1.0 + seen * np.sin(2.0 * np.pi * flicker_hz * (middle_s + rows)))[:, None].astype(np.float32)
        if motion:
            light *= np.float32(motion(middle_s))
        light += rng.normal(0.0, noise, light.shape).astype(np.float32)
        mains.observe(round(middle_s * 1e9), light, math.log2(exposure_s))
    return mains.hz


@pytest.mark.parametrize(
    ('mains_hz', 'rate_hz', 'beat'),
    [(50.0, 30.0, 10.0), (60.0, 30.0, 0.0), (50.0, 25.0, 0.0), (60.0, 25.0, 5.0), (50.0, 24.0, 4.0), (60.0, 24.0, 0.0)],
)
def test_beats(mains_hz, rate_hz, beat):
    assert beat_hz(mains_hz, rate_hz) == pytest.approx(beat)


@pytest.mark.parametrize('mains_hz', [50.0, 60.0])
@pytest.mark.parametrize('rate_hz', [15.0, 24.0, 25.0, 30.0, 50.0, 60.0])
@pytest.mark.parametrize('exposure_s', [0.003, 0.012])
def test_finds_the_mains(mains_hz, rate_hz, exposure_s):
    assert watch(mains_hz, rate_hz, exposure_s) == mains_hz


@pytest.mark.parametrize(
    ('rate_hz', 'hidden_hz'),
    [(30.0, 60.0), (25.0, 50.0), (33.0, 50.0)],
    ids=['60 Hz would not show', '50 Hz would not show', 'both would show'],
)
def test_without_flicker_it_is_what_could_not_be_seen(rate_hz, hidden_hz):
    assert watch(0.0, rate_hz, 0.005) == hidden_hz
    # And what moves or brightens is no flicker.
    assert watch(0.0, rate_hz, 0.005, motion=lambda t: 1.0 + 0.5 * math.sin(2.0 * t)) == hidden_hz
    rng = np.random.default_rng(0)
    assert watch(0.0, rate_hz, 0.005, motion=lambda _: 1.0 + 0.3 * rng.random()) == hidden_hz


@pytest.mark.parametrize('mains_hz', [50.0, 60.0])
def test_whole_periods_do_not_make_it_forget(mains_hz):
    """What hides the flicker also hides it from here."""
    for rate_hz in (24.0, 25.0, 30.0):
        mains = Mains()
        for exposure_s, frames in ((0.003, 100), (0.5 / mains_hz, 200)):
            for frame in range(frames):
                time_s = 1000.0 * exposure_s + frame / rate_hz
                wave = 1.0 + 0.4 * np.sinc(2.0 * mains_hz * exposure_s) * np.sin(4.0 * np.pi * mains_hz * time_s)
                light = np.full((64, 8), 0.2 * wave, np.float32)
                mains.observe(round(time_s * 1e9) + frames * 10**12, light, math.log2(exposure_s))
        assert mains.hz == mains_hz


def test_pictures_too_low_to_have_bands_say_nothing():
    mains = Mains()
    for frame in range(60):
        mains.observe(frame * 33_000_000, np.full((4, 8), 0.5, np.float32), -7.0)
    assert mains.hz == 50.0
