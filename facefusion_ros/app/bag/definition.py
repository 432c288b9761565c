"""The full text of a message type: its own definition and those of all types in it.

The form is MCAP's schema encoding ``ros2msg`` (https://mcap.dev/spec/registry#ros2msg): the type's own text, then per
dependency a line of 80 ``=``, a line ``MSG: package/Name`` and its text.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from ament_index_python.packages import get_package_share_directory

from facefusion_ros.app.bag.errors import BagError

if TYPE_CHECKING:
    from collections.abc import Callable

    MessageText = Callable[[str, str], str]
    """The .msg text of a type, by package and name."""

# The type that begins a field or constant, without bounds of arrays and strings; comments begin with '#'.
_FIELD_TYPE = re.compile(r'^\s*([A-Za-z]\w*(?:/\w+)*)', re.MULTILINE)
_BUILT_IN = re.compile(r'bool|byte|char|float(32|64)|u?int(8|16|32|64)|w?string')


def installed_message_text(package: str, name: str) -> str:
    """Read a .msg file from the share folder of an installed package, found through AMENT_PREFIX_PATH."""
    try:
        return Path(get_package_share_directory(package), 'msg', f'{name}.msg').read_text(encoding='utf-8')
    except (LookupError, OSError) as error:  # LookupError: no such package; OSError: no such file, or no prefix path
        raise BagError(
            f'no definition of {package}/msg/{name}: source the ROS 2 setup or workspace that has the package {package}'
        ) from error


def full_definition(type_name: str, message_text: MessageText = installed_message_text) -> str:
    """Concatenate the definition of ``package/msg/Name`` and of every type in it, each once.

    Raises BagError where a type is not installed or the name has another form.
    """
    parts = type_name.split('/')
    if len(parts) != 3 or parts[1] != 'msg' or not all(parts):
        raise BagError(f'{type_name!r} is not a message type; write it as package/msg/Name')
    names = [(parts[0], parts[2])]
    texts: list[str] = []
    for package, name in names:  # grows while it runs
        text = message_text(package, name)
        head = '=' * 80 + f'\nMSG: {package}/{name}\n' if texts else ''
        texts.append(head + text.rstrip('\n') + '\n')
        for dependency in _field_types(text, package):
            if dependency not in names:
                names.append(dependency)
    return ''.join(texts)


def _field_types(text: str, package: str) -> list[tuple[str, str]]:
    """Package and name of every type that is not built in, in order of appearance."""
    found = [match.split('/') for match in _FIELD_TYPE.findall(text)]
    return [
        (parts[0] if len(parts) > 1 else package, parts[-1]) for parts in found if not _BUILT_IN.fullmatch(parts[0])
    ]
