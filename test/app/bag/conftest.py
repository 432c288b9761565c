from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from facefusion_ros.app.bag.definition import installed_message_text

if TYPE_CHECKING:
    from collections.abc import Callable

OWN_MESSAGES = Path(__file__).parents[3] / 'msg'


@pytest.fixture(scope='session')
def message_text() -> Callable[[str, str], str]:
    """Definitions of this package from its sources, so that it need not be installed; all others as installed."""
    os.environ.setdefault('AMENT_PREFIX_PATH', sys.prefix)

    def text(package: str, name: str) -> str:
        if package == 'facefusion_ros':
            return (OWN_MESSAGES / f'{name}.msg').read_text()
        return installed_message_text(package, name)

    return text
