from dataclasses import replace

import cv2
import numpy as np
import pytest

from training import pairs
from training.faces.personas import ornaments
from training.pairs import CROP, PERSONAS, SIDE, TEMPLATE, PairStore, crop_map, cropped, draw_shard


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pairs')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, 'SHARD', 3)
        draw_shard(folder, 0, 5)
    return PairStore(folder)


def test_a_swap_changes_the_face_and_nothing_far_from_it(store):
    assert len(store) == 3
    for number in range(3):
        pair = store[number]
        assert pair.personas.shape == (len(PERSONAS), SIDE, SIDE, 3)
        for picture, mask in zip(pair.personas.astype(int), pair.masks, strict=True):
            apart = np.abs(picture - pair.face.astype(int)).max(axis=2)
            assert np.median(apart[mask > 250]) > 8
            assert 0.03 < (mask > 127).mean() < 0.6
            rows = np.flatnonzero((mask > 127).any(axis=1))
            assert np.median(apart[: max(1, rows[0] - 60)]) == 0


def test_the_crop_has_the_landmarks_of_the_template(store):
    for number in range(3):
        pair = store[number]
        matrix = crop_map(pair.five)
        mapped = pair.five @ matrix[:, :2].T + matrix[:, 2]
        assert np.abs(mapped.mean(axis=0) - TEMPLATE.mean(axis=0)).max() < 1e-3
        loose = crop_map(pair.five, np.random.default_rng(0))
        assert 0.1 < np.abs(loose - matrix).max() < 60
        assert cropped(pair.face, matrix).shape == (CROP, CROP, 3)
        assert cropped(pair.masks[0], matrix).shape == (CROP, CROP)


def test_balanced_porcelain_is_white_and_jade_is_green(store):
    for number in range(3):
        pair = store[number]
        means = [
            np.average(picture[..., ::-1].reshape(-1, 3), axis=0, weights=mask.ravel())
            for picture, mask in zip(pair.personas, pair.masks, strict=True)
        ]
        porcelain, _, jade = (mean * pair.white_balance for mean in means)
        assert np.ptp(porcelain) < 0.04 * porcelain.mean()
        assert jade.argmax() == 1


def test_an_empty_folder_is_told_in_one_line(tmp_path):
    with pytest.raises(SystemExit, match=r'python -m training\.pairs'):
        PairStore(tmp_path)


def test_each_place_of_a_face_is_known_on_the_unfolded_head(store):
    """The mended crack, read where the maps say, lies where it was drawn."""
    gold, looked_at = ornaments('jade')[0], 0
    for number in range(3):
        pair = store[number]
        matrix = crop_map(pair.five)
        place = pair.unfolded(2, matrix)
        assert np.isfinite(place).all()
        skin, eye = place[..., 2] > 0.5, place[..., 3] > 0.5
        assert 0.05 < skin.mean() < 0.9
        assert not (skin & eye).any()
        across, down = 256 + 2 * place[..., 0], 200 - 2 * place[..., 1]
        on = cv2.remap(gold, across, down, cv2.INTER_LINEAR, borderValue=0.0) * skin
        if (on > 0.9).sum() < 20:
            continue  # turned away or covered
        looked_at += 1
        seen = cropped(pair.personas[2], matrix)
        ratio = seen[..., 2] / (seen[..., 1] + 1)  # gold is red beside jade
        assert ratio[on > 0.9].mean() > 1.15 * ratio[skin & (on == 0)].mean()
    assert looked_at


def test_a_hand_before_the_mouth_is_told(store):
    pair = store[0]
    columns, rows = np.rint(pair.five[3:]).astype(int).T
    for shown in (255, 0):
        masks = pair.masks.copy()
        masks[:, rows, columns] = shown
        assert replace(pair, masks=masks).covered == (shown == 0)
