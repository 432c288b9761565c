import cv2
import numpy as np

from training.calibration import write
from training.pairs import PERSONAS, SIDE
from training.shards import keep


def test_faces_from_the_whole_folder_are_written_degraded(tmp_path):
    pictures = np.full(
        (9, 1 + len(PERSONAS), SIDE, SIDE, 3), 20 * np.arange(9, dtype=np.uint8)[:, None, None, None, None]
    )
    masks = np.zeros((9, len(PERSONAS), SIDE, SIDE), np.uint8)
    places = np.zeros((*masks.shape, 2), np.float16)
    five = np.zeros((9, 5, 2), np.float32)
    keep(tmp_path / '.', 0, five=five, masks=masks, places=places, kinds=masks, pictures=pictures)
    write(tmp_path, tmp_path / 'out', 3)
    files = sorted((tmp_path / 'out').iterdir())
    assert [file.name for file in files] == ['00000.png', '00004.png', '00008.png']
    means = [cv2.imread(str(file)).mean() for file in files]
    np.testing.assert_allclose(means, [0, 80, 160], atol=6)
    write(tmp_path, tmp_path / 'again', 3)
    assert files[1].read_bytes() == (tmp_path / 'again' / '00004.png').read_bytes()
