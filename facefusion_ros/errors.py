"""The one base of errors that are meant for a person, and the one way in which settings are checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class FacefusionError(Exception):
    """Something a person can mend; the text is one line that says what is wrong and what to do."""


class SettingError(FacefusionError, ValueError):
    """A setting is out of its range; the text names the setting, the range and what was given."""


def require(settings: object, rules: Mapping[str, bool]) -> None:
    """Raise SettingError with the first rule that is not kept; a rule's first word is the setting it is about."""
    for rule, kept in rules.items():
        if not kept:
            raise SettingError(f'{rule}, not {getattr(settings, rule.split()[0])!r}')
