"""Launch XML as a tree of elements that know their line; what the runner does not know is refused while reading."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.parsers import expat

from facefusion_ros.app.launch.refusal import LaunchFileError, RefusalError
from facefusion_ros.app.launch.substitution import Template, parse

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a launch file something stands."""

    path: Path
    line: int

    def __str__(self) -> str:
        return f'{self.path}:{self.line}'


@dataclass(frozen=True, slots=True)
class Element:
    """One tag of a launch file."""

    tag: str
    place: Place
    attributes: Mapping[str, str]
    """As written."""
    templates: Mapping[str, Template]
    """Those attributes in which substitutions are made, parsed."""
    children: tuple[Element, ...]

    def named(self, *tags: str) -> list[Element]:
        """Return the children with one of these tags, in the file's order."""
        return [child for child in self.children if child.tag in tags]


@dataclass(frozen=True, slots=True)
class _Tag:
    """What a tag may carry; the names are those of the ROS 2 packages launch and launch_ros."""

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    literal: tuple[str, ...] = ()
    """Attributes in which ROS makes no substitutions."""
    children: Mapping[str, _Tag] = field(default_factory=dict)


_CONDITION = ('if', 'unless')
_PROCESS = ('cwd', 'launch-prefix', 'on_exit', 'output', 'respawn', 'respawn_delay', 'respawn_max_retries', *_CONDITION)
_PROCESS_LITERAL = ('on_exit', 'respawn_delay', 'respawn_max_retries')

_NAME_AND_VALUE = _Tag(required=('name', 'value'))
_NESTED_PARAM: dict[str, _Tag] = {}
_NESTED_PARAM['param'] = _Tag(('name',), ('value', 'type'), ('type',), _NESTED_PARAM)
_PARAM = _Tag((), ('name', 'value', 'type', 'from', 'allow_substs'), ('type', 'allow_substs'), _NESTED_PARAM)
_NODE_CHILDREN = {'param': _PARAM, 'remap': _Tag(required=('from', 'to')), 'env': _NAME_AND_VALUE}

_ACTIONS: dict[str, _Tag] = {
    'arg': _Tag(
        ('name',), ('default', 'description', *_CONDITION), ('name', 'description'),
        {'choice': _Tag(('value',), literal=('value',))},
    ),
    'let': _Tag(('name', 'value'), _CONDITION),
    'push-ros-namespace': _Tag(('namespace',), _CONDITION),
    'push_ros_namespace': _Tag(('namespace',), _CONDITION),
    'node': _Tag(
        ('exec',), ('pkg', 'name', 'namespace', 'exec_name', 'args', 'ros_args', *_PROCESS), _PROCESS_LITERAL,
        _NODE_CHILDREN,
    ),
    'executable': _Tag(('cmd',), ('name', *_PROCESS), _PROCESS_LITERAL, {'env': _NAME_AND_VALUE}),
    'include': _Tag(('file',), _CONDITION, (), {'arg': _NAME_AND_VALUE, 'let': _NAME_AND_VALUE}),
    'set_env': _Tag(('name', 'value'), _CONDITION),
    'unset_env': _Tag(('name',), _CONDITION),
}  # fmt: skip
_ACTIONS['group'] = _Tag((), ('scoped', *_CONDITION), ('scoped',), _ACTIONS)
_FILE = _Tag(children={'launch': _Tag((), ('version',), ('version',), _ACTIONS)})


@dataclass(slots=True)
class _Open:
    """A tag whose end has not been read yet."""

    tag: str
    grammar: _Tag
    attributes: Mapping[str, str]
    templates: Mapping[str, Template]
    line: int
    children: list[Element] = field(default_factory=list)


def read(path: Path) -> Element:
    """Read a launch file and return its ``<launch>`` element.

    Raises LaunchFileError, with file and line, for what cannot be read, is no XML, or has an unknown tag, attribute
    or substitution.
    """
    if path.suffix in {'.py', '.yaml', '.yml'}:
        raise LaunchFileError(f'{path}: only XML launch files can be run here; run this one with ros2 launch')
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LaunchFileError(f'{path}: the launch file cannot be read: {error.strerror}') from error
    parser = expat.ParserCreate()
    stack = [_Open('', _FILE, {}, {}, 0)]

    def start(tag: str, attributes: dict[str, str]) -> None:
        line = parser.CurrentLineNumber
        try:
            grammar = _grammar(tag, stack[-1])
            _check_attributes(tag, grammar, attributes)
            templates = {name: parse(text) for name, text in attributes.items() if name not in grammar.literal}
        except RefusalError as error:
            raise LaunchFileError(f'{Place(path, line)}: {error}') from None
        stack.append(_Open(tag, grammar, attributes, templates, line))

    def end(_tag: str) -> None:
        done = stack.pop()
        place = Place(path, done.line)
        stack[-1].children.append(Element(done.tag, place, done.attributes, done.templates, tuple(done.children)))

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    try:
        parser.Parse(content, True)  # noqa: FBT003 - expat takes its arguments by position
    except expat.ExpatError as error:
        raise LaunchFileError(f'{Place(path, error.lineno)}: {expat.ErrorString(error.code)}') from error
    return stack[0].children[0]


def _grammar(tag: str, parent: _Open) -> _Tag:
    if tag in parent.grammar.children:
        return parent.grammar.children[tag]
    known = ', '.join(f'<{name}>' for name in sorted(parent.grammar.children)) or 'none'
    inside = f' in <{parent.tag}>' if parent.tag else ''
    raise RefusalError(f'unknown tag <{tag}>{inside}; known are {known}')


def _check_attributes(tag: str, grammar: _Tag, attributes: Mapping[str, str]) -> None:
    known = {*grammar.required, *grammar.optional}
    for name in attributes:
        if name not in known:
            raise RefusalError(f"<{tag}> has no attribute '{name}'; known are {', '.join(sorted(known)) or 'none'}")
    for name in grammar.required:
        if name not in attributes:
            raise RefusalError(f"<{tag}> lacks the attribute '{name}'")
    if 'if' in attributes and 'unless' in attributes:
        raise RefusalError(f"<{tag}> has both 'if' and 'unless'; give one of them")
