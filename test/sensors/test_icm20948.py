import pytest

from facefusion_ros.sensors.bus import SettingsLost
from facefusion_ros.sim.faults import happens


@pytest.mark.parametrize('bank', [1, 2, 3])
def test_a_bank_left_by_another_program_does_not_hide_the_chip(motion_world, read_for, bank):
    with motion_world('icm20948', lambda _: (0.1, 0.2, 0.3)) as w:
        w.chip.lose_bank(bank)
        w.driver.start()
        read_for(w.driver, w.clock, 0.8)
        w.chip.lose_bank(bank)  # it is chosen anew before each batch
        samples = [sample for given in read_for(w.driver, w.clock, 0.5) for sample in given]
        assert len(samples) > 90


def test_a_bank_lost_while_the_fifo_is_read_spoils_no_sample(motion_world, read_for):
    lose = happens(lambda chip: chip.lose_bank(2))
    armed = []

    class WhileReading:
        def carry(self, message, chip, onward):
            if armed and message.data[:1] == b'\x72':
                armed.clear()
                return lose(message, chip, onward, None)
            return onward(message, chip)

    with motion_world('icm20948', lambda _: (0.1, 0.2, 0.3), faults=[WhileReading()]) as w:
        w.driver.start()
        read_for(w.driver, w.clock, 0.8)
        armed.append(True)
        with pytest.raises(SettingsLost, match='has changed its register bank by itself'):
            read_for(w.driver, w.clock, 0.2)
