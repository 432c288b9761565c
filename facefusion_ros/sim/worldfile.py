"""World files: finding them by name, and reading YAML strictly into dataclasses."""

from __future__ import annotations

import math
import os
import sys
import types
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from facefusion_ros.errors import FacefusionError

T = TypeVar('T')


class WorldError(FacefusionError):
    """A world file is missing, unreadable or wrong."""


def world_folders() -> list[Path]:
    """Folders of world files that exist here: the source checkout's, then those installed with the package."""
    prefixes = [Path(p) for p in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if p] + [Path(sys.prefix)]
    folders = [Path(__file__).resolve().parents[2] / 'config' / 'worlds']
    folders += [prefix / 'share' / 'facefusion_ros' / 'config' / 'worlds' for prefix in prefixes]
    return [folder for folder in folders if folder.is_dir()]


def world_names() -> list[str]:
    """Names under which ``load_world`` finds a world, sorted."""
    return sorted({file.stem for folder in world_folders() for file in folder.glob('*.yaml')})


def find_world(name_or_path: str | os.PathLike[str]) -> Path:
    """File of a world; anything with a folder or a suffix .yaml is a path. Raises WorldError where there is none."""
    text = os.fspath(name_or_path)
    known = ', '.join(world_names()) or 'none is installed'
    if Path(text).suffix in {'.yaml', '.yml'} or Path(text).name != text:
        if not Path(text).is_file():
            raise WorldError(f'{text}: no such world file; name a file, or one of the known worlds: {known}')
        return Path(text)
    for folder in world_folders():
        if (file := folder / f'{text}.yaml').is_file():
            return file
    raise WorldError(f'no world is named {text!r}; known worlds: {known}; or name a file ending in .yaml')


def read_yaml(file: Path) -> object:
    """Content of a YAML file; raises WorldError where it cannot be read."""
    try:
        return yaml.safe_load(file.read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError) as error:
        raise WorldError(f'{file}: cannot be read: {error}') from None
    except yaml.YAMLError as error:
        raise WorldError(f'{file}: not valid YAML: {" ".join(str(error).split())}') from None


def read_section(cls: type[T], data: object, file: Path, key: str = '', **given: object) -> T:
    """Make a dataclass of a YAML mapping whose keys are its fields; ``given`` are fields that no key may set.

    Raises WorldError naming file and key where a key is unknown, missing, mistyped or out of range.
    """
    # mypy does not know that cls is a dataclass.
    known = {f.name: f for f in fields(cls) if f.init and f.name not in given}  # type: ignore[arg-type]
    here = f'{file}: {key}' if key else f'{file}'
    accepted = ', '.join(sorted(known))
    if not isinstance(data, dict):
        raise WorldError(f'{here}: must be a mapping; accepted keys: {accepted}')
    for name in data:
        if name not in known:
            raise WorldError(f'{here}: unknown key {name!r}; accepted keys: {accepted}')
    for name, f in known.items():
        if name not in data and f.default is MISSING and f.default_factory is MISSING:
            raise WorldError(f'{here}: key {name!r} is missing; accepted keys: {accepted}')
    hints = get_type_hints(cls)
    values = {name: _value(hints[name], data[name], file, f'{key}.{name}'.lstrip('.')) for name in data}
    try:
        return cls(**values, **given)
    except ValueError as error:
        raise WorldError(f'{here}: {error}') from None


def _value(hint: Any, data: object, file: Path, key: str) -> object:  # noqa: ANN401 - a type annotation is any object
    if get_origin(hint) in {Union, types.UnionType}:
        if data is None:
            return None
        (hint,) = (a for a in get_args(hint) if a is not types.NoneType)
    if is_dataclass(hint) and isinstance(hint, type):
        return read_section(hint, data, file, key)
    if get_origin(hint) is tuple:
        items = get_args(hint)
        many = len(items) == 2 and items[1] is Ellipsis
        if not isinstance(data, list) or (not many and len(data) != len(items)):
            wanted = 'a list' if many else f'a list of {len(items)} numbers'
            raise WorldError(f'{file}: {key}: must be {wanted}, not {data!r}')
        return tuple(_value(items[0] if many else items[i], d, file, f'{key}[{i}]') for i, d in enumerate(data))
    if hint in {str, bool} and isinstance(data, hint):
        return data
    if hint is int and isinstance(data, int) and not isinstance(data, bool):
        return data
    if hint is float and isinstance(data, int | float) and not isinstance(data, bool) and math.isfinite(data):
        return float(data)
    wanted = {str: 'a text', bool: 'true or false', int: 'a whole number', float: 'a number'}[hint]
    # YAML takes 1e-3 for a text; 1.0e-3 is a number.
    raise WorldError(f'{file}: {key}: must be {wanted}, not {data!r}')
