"""Parameter values of launch files: how the way they are written decides their type, and the file a node reads.

The rules are those of the ROS 2 packages launch (utilities/type_utils.py) and launch_ros (actions/node.py): YAML
decides the type where the ``type`` attribute does not, and the items of a list all have the same type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

from facefusion_ros.app.launch.refusal import RefusalError
from facefusion_ros.app.launch.substitution import Scope, parse, perform

if TYPE_CHECKING:
    from collections.abc import Mapping

Value: TypeAlias = Any
"""A bool, an int, a float, a str or a list of one of these."""

_SCALARS = {'str': str, 'bool': bool, 'float': float, 'int': int}
TYPES = ('yaml', *_SCALARS, *(f'list_of_{name}' for name in _SCALARS))
"""What the ``type`` attribute may say; ``yaml`` where it is absent."""


def value(text: str, type_name: str, scope: Scope) -> Value:
    """Return the value of ``<param value="text" type="type_name"/>``; raises RefusalError.

    The text's own YAML is read before its substitutions are made, and theirs after, as ROS does it: ``'5'`` is a
    string, ``$(var five)`` an integer, ``[$(var five), 6]`` a list of two.
    """
    if type_name not in TYPES:
        raise RefusalError(f"unknown parameter type '{type_name}'; known are {', '.join(TYPES)}")
    written = _convert(text, type_name, may_expand=True)
    if isinstance(written, list):
        found = [_expanded(item, type_name.removeprefix('list_of_'), scope) for item in written]
    else:
        found = _expanded(written, type_name, scope)
    if not _fits(found, type_name, may_expand=False) or (found == [] and type_name not in {'yaml', 'list_of_str'}):
        raise _refusal(text, type_name)
    return found


def boolean(text: str) -> bool:
    """Return the truth value that ROS reads from the text: YAML's words, 1 or 0; raises RefusalError."""
    return bool(_convert(text, 'bool', may_expand=False))


def _expanded(written: Value, type_name: str, scope: Scope) -> Value:
    if not isinstance(written, str):
        return written
    template = parse(written)
    text = perform(template, scope)
    has_calls = any(not isinstance(part, str) for part in template)
    return _convert(text, type_name, may_expand=False) if has_calls else text


def _convert(text: str, type_name: str, *, may_expand: bool) -> Value:
    """Read text as a type; where it may still expand, text that is not of the type yet is kept."""
    found: Value = text
    try:
        if type_name in {'int', 'float'}:
            found = _SCALARS[type_name](text)
        elif text and type_name != 'str':
            found = yaml.safe_load({'1': 'true', '0': 'false'}.get(text, text) if type_name == 'bool' else text)
    except (ValueError, yaml.YAMLError):
        if not may_expand:
            raise _refusal(text, type_name) from None
    if not _fits(found, type_name, may_expand=may_expand):
        raise _refusal(text, type_name)
    return found


def _fits(found: Value, type_name: str, *, may_expand: bool) -> bool:
    is_list = isinstance(found, list)
    if type_name != 'yaml' and is_list != type_name.startswith('list_of_'):
        return False
    kinds = {type(item) for item in (found if is_list else [found])}
    if may_expand:
        kinds.discard(str)
    scalar = _SCALARS.get(type_name.removeprefix('list_of_'))
    return len(kinds) <= 1 and kinds <= ({scalar} if scalar else set(_SCALARS.values()))


def _refusal(text: str, type_name: str) -> RefusalError:
    wanted = (
        'a bool, an int, a float, a string or a list of one of these' if type_name == 'yaml' else f'of type {type_name}'
    )
    return RefusalError(f'{text!r} is not {wanted}')


# Quotes every string: rcl takes a bare y for true and a bare 1e3 for a number, and PyYAML would write both bare.
_Quoting: Any = type('_Quoting', (yaml.SafeDumper,), {})
_Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar('tag:yaml.org,2002:str', text, style='"'))


def file_text(node: str, parameters: Mapping[str, Value]) -> str:
    """Return a parameter file for the node of this full name; ``/**`` stands for any."""
    return str(yaml.dump({node: {'ros__parameters': dict(parameters)}}, Dumper=_Quoting, default_flow_style=False))
