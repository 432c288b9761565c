from dataclasses import dataclass

import pytest

from facefusion_ros.errors import FacefusionError, SettingError, require


@dataclass(frozen=True)
class Lamp:
    """Settings of something."""

    watts: float = 5.0
    colours: tuple[str, ...] = ('white',)

    def __post_init__(self) -> None:
        require(self, {'watts must be above 0': self.watts > 0, 'colours must name one': bool(self.colours)})


def test_the_first_rule_that_is_broken_is_told_with_what_was_given() -> None:
    assert Lamp(1.0).watts == 1.0
    for wrong, text in [
        ({'watts': float('nan')}, 'watts must be above 0, not nan'),
        ({'colours': ()}, 'colours must name one, not ()'),
        ({'watts': 0.0, 'colours': ()}, 'watts must be above 0, not 0.0'),
    ]:
        with pytest.raises(SettingError) as refusal:
            Lamp(**wrong)
        assert str(refusal.value) == text


def test_a_setting_out_of_range_is_for_people_and_a_wrong_value() -> None:
    assert issubclass(SettingError, FacefusionError)
    assert issubclass(SettingError, ValueError)
