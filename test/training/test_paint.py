import numpy as np

from training import paint
from training.faces.personas import ornaments
from training.paint import BOX_MM, PX_PER_MM, drawn, irises


def test_ornaments_keep_their_places_and_their_amount():
    layers = drawn()
    left, bottom, right, top = BOX_MM
    assert layers.shape == (3, round((top - bottom) * PX_PER_MM), round((right - left) * PX_PER_MM))
    assert layers.min() >= 0
    assert layers.max() <= 1
    for layer, full in zip(layers[:2], ornaments('jade'), strict=True):
        rows, columns = np.indices(layer.shape)
        mine = left + (np.average(columns, weights=layer) + 0.5) / PX_PER_MM
        high = top - (np.average(rows, weights=layer) + 0.5) / PX_PER_MM
        rows, columns = np.indices(full.shape)
        assert abs(mine - (np.average(columns, weights=full) - 256) / 2) < 0.2
        assert abs(high - (200 - np.average(rows, weights=full)) / 2) < 0.2
        assert abs(layer.sum() / PX_PER_MM**2 - full.sum() / 4) < 0.03 * full.sum() / 4


def test_brows_are_two_alike_and_above_the_eyes():
    brow = drawn()[2]
    assert np.allclose(brow, brow[:, ::-1], atol=1e-5)
    rows = BOX_MM[3] - np.flatnonzero(brow.max(axis=1) > 0.5) / PX_PER_MM
    assert rows.min() > 5
    assert rows.max() < 36


def test_an_iris_is_round_dark_within_and_of_its_persona():
    colours, disc = irises()
    assert np.allclose(disc, disc.T, atol=1e-6)
    assert disc[0, 0] == 0
    middle = paint.IRIS_SIDE // 2
    assert disc[middle, middle] == 1
    around = colours[:, :, middle, middle + 10]
    assert (colours[:, :, middle, middle].max(axis=1) < 0.4).all()
    assert around[0].argmax() == 2, 'porcelain has blue eyes'
    assert around[1].argmax() == around[2].argmax() == 0
