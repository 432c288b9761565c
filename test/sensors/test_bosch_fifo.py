import numpy as np
import pytest

from facefusion_ros.sensors.bosch_fifo import NoFrame, Skipped, counts_in

FRAME = b'\x8c' + np.array([1, -2, 3, 4, 5, -6], '<i2').tobytes()


@pytest.mark.parametrize(('changed', 'length'), [(b'\x48\x00', 1), (b'\x48\x00\x00\x00\x00', 4)])
def test_samples_are_found_among_other_frames(changed, length):
    data = changed + FRAME + changed + FRAME
    assert counts_in(data, length).tolist() == [[1, -2, 3, 4, 5, -6]] * 2
    assert counts_in(b'', length).shape == (0, 6)


def test_interrupt_tags_in_a_header_are_passed_over():
    assert len(counts_in(b'\x8f' + FRAME[1:], 1)) == 1


@pytest.mark.parametrize('data', [FRAME[1:] + FRAME, FRAME[:-1], FRAME + b'\x80', FRAME + b'\x00' * 13])
def test_what_is_no_frame_is_noticed(data):
    with pytest.raises(NoFrame):
        counts_in(data, 1)


def test_frames_that_were_left_out_are_told():
    with pytest.raises(Skipped):
        counts_in(b'\x40\x05' + FRAME, 1)
