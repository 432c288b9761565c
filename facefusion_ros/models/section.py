"""Reading YAML strictly: each error names the file and the key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from facefusion_ros.models.entry import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typing_extensions import Self

T = TypeVar('T')
REQUIRED: Any = object()


def read_sections(file: Path) -> Section:
    """Read a YAML file whose content is a mapping; raises ModelError where it cannot be read."""
    try:
        data = yaml.safe_load(file.read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f'{file}: cannot be read: {error}') from None
    except yaml.YAMLError as error:
        raise ModelError(f'{file}: not valid YAML: {" ".join(str(error).split())}') from None
    return Section(data, f'{file}')


class Section:
    """A mapping of the file; as a context, refuses keys that nobody asked for."""

    def __init__(self, data: object, file: str, key: str = '') -> None:
        self._file, self._key = file, key
        self._asked: set[str] = set()
        if not isinstance(data, dict):
            self._data: dict[str, Any] = {}
            self.refuse('', f'must be a mapping, not {data!r}')
        else:
            self._data = {str(name): value for name, value in data.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        unknown = sorted(set(self._data) - self._asked)
        if kind is None and unknown:
            self.refuse(unknown[0], f'unknown key; accepted keys: {", ".join(sorted(self._asked))}')

    def refuse(self, name: str, why: str) -> None:
        """Raise the ModelError of a key."""
        key = '.'.join(part for part in (self._key, name) if part)
        raise ModelError(f'{self._file}: {key or "the whole file"}: {why}')

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the keys."""
        return tuple(self._data)

    def is_list(self, name: str) -> bool:
        """Whether a key has a list."""
        return isinstance(self._data.get(name), list)

    def has(self, name: str) -> bool:
        """Whether a key has a value."""
        self._asked.add(name)
        return self._data.get(name) is not None

    def value(self, name: str, kind: type[T], default: Any = REQUIRED) -> T:  # noqa: ANN401 - of type T, or None
        """Return a value of one type; a key without default must be there."""
        if not self.has(name):
            if default is REQUIRED:
                self.refuse(name, 'is missing')
            return default  # type: ignore[no-any-return]
        found = self._data[name]
        wanted: Any = (int, float) if kind is float else kind
        if not isinstance(found, wanted) or (isinstance(found, bool) and kind is not bool):
            words = {str: 'a text', bool: 'true or false', int: 'a whole number', float: 'a number', list: 'a list'}
            self.refuse(name, f'must be {words[kind]}, not {found!r}')
        return kind(found)  # type: ignore[call-arg]

    def section(self, name: str) -> Section:
        """Return the mapping of a key."""
        self._asked.add(name)
        return Section(self._data.get(name), self._file, f'{self._key}.{name}'.lstrip('.'))

    def sections(self, name: str) -> Iterator[tuple[str, Section]]:
        """Go through a mapping of mappings."""
        within = self.section(name)
        for key in within.keys:
            yield key, within.section(key)

    def listed(self, name: str) -> Iterator[Section]:
        """Go through a list of mappings; empty where the key is missing."""
        return self._items(self.value(name, list, []), name)

    def layouts(self, name: str) -> Iterator[Iterator[Section]]:
        """Go through a list of lists of mappings."""
        for index, items in enumerate(self.value(name, list, [])):
            if not isinstance(items, list):
                self.refuse(f'{name}[{index}]', f'must be a list, not {items!r}')
            yield self._items(items, f'{name}[{index}]')

    def _items(self, items: list[Any], name: str) -> Iterator[Section]:
        for index, item in enumerate(items):
            yield Section(item, self._file, f'{self._key}.{name}[{index}]')

    def of(self, name: str, kind: type[T]) -> tuple[T, ...]:
        """Return a list of one type; empty where the key is missing."""
        items = self.value(name, list, [])
        wanted: Any = (int, float) if kind is float else kind
        for item in items:
            if not isinstance(item, wanted) or isinstance(item, bool):
                self.refuse(name, f'must be a list of {kind.__name__}, not {item!r}')
        return tuple(kind(item) for item in items)  # type: ignore[call-arg]

    def pairs(self, name: str) -> tuple[tuple[float, float], ...]:
        """Return a list of pairs of numbers; empty where the key is missing."""
        found = []
        for item in self.value(name, list, []):
            if not (isinstance(item, list) and len(item) == 2 and all(isinstance(n, int | float) for n in item)):
                self.refuse(name, f'must be a list of pairs of numbers, not {item!r}')
            found.append((float(item[0]), float(item[1])))
        return tuple(found)

    def texts(self, name: str) -> dict[str, str]:
        """Return a mapping of texts; empty where the key is missing."""
        if not self.has(name):
            return {}
        within = self.section(name)
        return {key: within.value(key, str) for key in within.keys}

    def three(self, name: str, default: float) -> tuple[float, float, float]:
        """Return one number per channel; a single number is that of all channels."""
        if not self.is_list(name):
            one = self.value(name, float, default)
            return one, one, one
        numbers = self.of(name, float)
        if len(numbers) != 3:
            self.refuse(name, f'must be a number or a list of 3 numbers, not {list(numbers)}')
        return numbers[0], numbers[1], numbers[2]

    def choice(self, name: str, choices: tuple[str, ...], default: str) -> str:
        """Return a text that is one of some."""
        found = self.value(name, str, default)
        if found not in choices:
            self.refuse(name, f'must be one of {", ".join(choices)}, not {found!r}')
        return found
