import numpy as np

from training.fringe import fringe

EYES = np.array([[98.0, 118.0], [158.0, 118.0]])


def of(level):
    return np.full((256, 256, 3), level, np.float32)


def test_a_fringe_covers_the_forehead_or_the_sides_and_never_the_mouth():
    covers = []
    for seed in range(40):
        colour, cover = fringe(np.random.default_rng(seed), EYES, of(100.0))
        assert colour.shape == (256, 256, 3)
        assert colour.min() >= 0
        assert colour.max() <= 255
        assert 0 <= cover.min() <= cover.max() <= 1
        covers.append(cover)
    mean = np.mean(covers, axis=0)
    assert mean[20, 128] > 0.5
    assert mean[118:200, 118:138].max() < 0.1
    assert 0.1 < mean[200, :20].mean() < 0.7


def test_hair_is_as_bright_as_the_picture():
    dark, bright = (fringe(np.random.default_rng(1), EYES, of(level))[0].mean() for level in (30.0, 90.0))
    assert bright > 2 * dark


def test_hair_is_hardly_ever_of_the_colour_of_the_skin():
    skin = np.array([188.0, 150.0, 110.0], np.float32)
    unlike = []
    for seed in range(40):
        colour, cover = fringe(np.random.default_rng(seed), EYES, np.broadcast_to(skin, (256, 256, 3)))
        unlike.append(np.abs(np.median(colour[cover > 0.5].reshape(-1, 3), axis=0) - skin).max() > 25)
    assert np.mean(unlike) > 0.9  # light may yet bring it near
