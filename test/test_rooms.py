"""The import rule: which room of the package may know which other, and which foreign modules."""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = 'facefusion_ros'
SOURCES = Path(__file__).parents[1] / PACKAGE

CORE = {'frames', 'faces', 'models', 'engines', 'personas', 'blending', 'cameras', 'displays', 'sensors', 'sim'}
MAY_IMPORT = {
    'frames': set(),
    'faces': {'frames', 'engines', 'models'},
    'models': set(),
    'engines': {'models'},
    'personas': {'faces', 'engines', 'models'},
    'blending': {'frames', 'faces'},
    'cameras': {'frames'},
    'displays': {'frames'},
    'sensors': set(),
    'sim': {'frames', 'faces'},
    'ros': CORE | {'msg'},
    'nodes': CORE | {'msg', 'ros'},
    'app': CORE | {'msg', 'ros', 'nodes'},
}
"""Rooms a room may import beside itself; all may import ``errors`` and the package's version."""

MAY_IMPORT_FOREIGN = {
    'frames': {'numpy'},
    'faces': {'numpy', 'cv2'},
    'models': {'numpy', 'onnx', 'yaml'},
    'engines': {'numpy', 'onnx', 'onnxruntime', 'tensorrt', 'pycuda', 'cuda'},
    'personas': {'numpy', 'cv2', 'yaml'},
    'blending': {'numpy', 'cv2'},
    'cameras': {'numpy', 'cv2', 'av', 'yaml'},
    'displays': {'numpy', 'cv2', 'av', 'pygame'},
    'sensors': {'numpy', 'smbus2'},
    'sim': {'numpy', 'cv2', 'smbus2', 'yaml', 'skimage'},
    'ros': {'numpy', 'cv2', 'yaml', 'cv_bridge'},
    'nodes': {'numpy'},
    'app': {'numpy', 'cv2', 'av', 'yaml', 'mcap', 'zstandard', 'psutil', 'onnx', 'onnxruntime', 'skimage'},
}
"""Modules beside the standard library; ``ros``, ``nodes`` and ``app`` may also import those of ROS 2."""

ROS_ROOMS = {'ros', 'nodes', 'app'}
ROS_MODULES = {
    'ament_index_python',
    'builtin_interfaces',
    'diagnostic_msgs',
    'lifecycle_msgs',
    'rcl_interfaces',
    'rclpy',
    'sensor_msgs',
    'std_msgs',
}

EXCEPTIONS = {
    ('sim/camera.py', 'cameras.source'): 'the simulated camera is a source and keeps the contract of all sources',
}

TYPING_ONLY = {'typing_extensions'}
"""Not installed on a robot; may be imported where only the type checker looks."""

WORDS_NOT_USED = {'utils', 'util', 'helpers', 'helper', 'manager', 'processor', 'common', 'misc'}

ROOMS = sorted(
    folder.name for folder in SOURCES.iterdir() if (folder / '__init__.py').exists() and folder.name != 'msg'
)


@dataclass(frozen=True)
class Import:
    """One import statement's target."""

    file: str
    line: int
    module: str
    """Dotted, with the package's name where it is one of ours."""
    typing_only: bool

    @property
    def room(self) -> str:
        return self.file.split('/')[0]

    @property
    def target(self) -> str:
        """The module as seen from within the package: ``faces.finder``."""
        return self.module.removeprefix(f'{PACKAGE}.')

    def __str__(self) -> str:
        return f'{self.file}:{self.line} imports {self.module}'


def imports_of(file: Path) -> list[Import]:
    """Everything a file imports, at its top, in its functions and for the type checker."""
    name = str(file.relative_to(SOURCES))
    found: list[Import] = []

    def add(line: int, module: str, typing_only: bool) -> None:
        found.append(Import(name, line, module, typing_only))

    def visit(node: ast.AST, typing_only: bool) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                add(node.lineno, alias.name, typing_only)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f'{name}:{node.lineno}: imports are written in full'
            for alias in node.names:
                # `from facefusion_ros.app import launch` imports a module, and no name of one.
                inner = f'{node.module}.{alias.name}'
                path = SOURCES.parent / inner.replace('.', '/')
                is_module = node.module == PACKAGE or path.is_dir() or path.with_suffix('.py').is_file()
                add(node.lineno, inner if is_module else str(node.module), typing_only)
        guard = isinstance(node, ast.If) and ast.unparse(node.test) == 'TYPE_CHECKING'
        for child in ast.iter_child_nodes(node):
            visit(child, typing_only or (guard and child in node.body))

    visit(ast.parse(file.read_text(), str(file)), typing_only=False)
    return found


ALL = [
    each
    for file in sorted(SOURCES.rglob('*.py'))
    if file.relative_to(SOURCES).parts[0] != 'msg'
    for each in imports_of(file)
]
OURS = [each for each in ALL if each.module.split('.')[0] == PACKAGE]
FOREIGN = [each for each in ALL if each.module.split('.')[0] not in {PACKAGE, *sys.stdlib_module_names}]


def test_the_rooms_are_those_of_the_plan() -> None:
    assert set(ROOMS) <= MAY_IMPORT.keys() == MAY_IMPORT_FOREIGN.keys()
    assert {'frames', 'faces', 'personas', 'blending', 'cameras', 'displays', 'sensors', 'sim', *ROS_ROOMS} <= set(
        ROOMS
    )


@pytest.mark.parametrize('room', ROOMS)
def test_a_room_imports_only_rooms_it_may_know(room: str) -> None:
    allowed = MAY_IMPORT[room] | {room, 'errors', '__version__'}
    wrong = [
        str(each)
        for each in OURS
        if each.room == room and each.target.split('.')[0] not in allowed and (each.file, each.target) not in EXCEPTIONS
    ]
    assert wrong == []


@pytest.mark.parametrize('room', ROOMS)
def test_a_room_imports_only_foreign_modules_it_may_know(room: str) -> None:
    allowed = MAY_IMPORT_FOREIGN[room] | (ROS_MODULES if room in ROS_ROOMS else set())
    wrong = [
        str(each)
        for each in FOREIGN
        if each.room == room
        and each.module.split('.')[0] not in allowed
        and not (each.typing_only and each.module in TYPING_ONLY)
    ]
    assert wrong == []


def test_outside_the_rooms_there_is_only_what_all_may_know() -> None:
    top = {file.name for file in SOURCES.glob('*.py')}
    assert top == {'__init__.py', 'errors.py'}
    assert [str(each) for each in [*OURS, *FOREIGN] if each.file in top] == []


def test_every_exception_is_needed() -> None:
    used = {(each.file, each.target) for each in OURS}
    assert EXCEPTIONS.keys() <= used


def test_the_rule_sees_every_kind_of_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check itself: at the top, in functions, for the type checker, in all spellings."""
    monkeypatch.setattr(sys.modules[__name__], 'SOURCES', tmp_path)
    file = tmp_path / 'frames' / 'sample.py'
    file.parent.mkdir()
    file.write_text(
        'import rclpy.node\n'
        'from facefusion_ros import msg\n'
        'from facefusion_ros.errors import FacefusionError\n'
        'def f():\n'
        '    if x:\n'
        '        import cv2 as c\n'
        'if TYPE_CHECKING:\n'
        '    from typing_extensions import Self\n'
        'else:\n'
        '    import av\n'
    )
    assert [(each.module, each.line, each.typing_only) for each in imports_of(file)] == [
        ('rclpy.node', 1, False),
        ('facefusion_ros.msg', 2, False),
        ('facefusion_ros.errors', 3, False),
        ('cv2', 6, False),
        ('typing_extensions', 8, True),
        ('av', 10, False),
    ]


def test_modules_are_named_after_things_of_the_field() -> None:
    names = {part for file in SOURCES.rglob('*.py') for part in file.relative_to(SOURCES).with_suffix('').parts}
    words = {word for name in names for word in name.split('_')}
    assert not words & WORDS_NOT_USED
