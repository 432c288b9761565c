import pytest

from facefusion_ros.sensors.bus import Bus, Garbled
from facefusion_ros.sensors.lsm6dso import Lsm6dso


def word(sensor, slot, x=1):
    tag = sensor << 3 | slot << 1
    return bytes((tag | tag.bit_count() % 2,)) + x.to_bytes(2, 'little') + bytes((2, 0, 3, 0))


@pytest.fixture
def driver():
    made = Lsm6dso(Bus(90))
    made._slot = None
    return made


def test_words_are_paired_whichever_comes_first(driver):
    data = word(1, 2, 10) + word(2, 2, 20) + word(2, 3, 21) + word(1, 3, 11)
    assert driver._counts(data).tolist() == [[10, 2, 3, 20, 2, 3], [11, 2, 3, 21, 2, 3]]
    assert driver._counts(word(1, 0, 12) + word(2, 0, 22)).tolist() == [[12, 2, 3, 22, 2, 3]]


@pytest.mark.parametrize(
    'data',
    [
        word(1, 0) + word(1, 0),
        word(1, 0) + word(2, 1),
        word(1, 0) + word(4, 0),
        bytes((word(1, 0)[0] ^ 1,)) + word(1, 0)[1:] + word(2, 0),
        word(1, 0) + word(2, 0) + word(1, 2) + word(2, 2),
        bytes(14),
        b'\xff' * 14,
    ],
)
def test_a_word_at_a_wrong_place_is_noticed(driver, data):
    with pytest.raises(Garbled, match='lost its order'):
        driver._counts(data)


def test_a_sample_that_is_missing_between_two_reads_is_noticed(driver):
    driver._counts(word(1, 0) + word(2, 0))
    with pytest.raises(Garbled):
        driver._counts(word(1, 2) + word(2, 2))
