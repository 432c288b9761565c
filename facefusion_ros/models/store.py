"""Model files, each known by its digest and its licence: the user's own, and those that ship with the package.

The user's are a folder with an index, and so are those that ship; these are only read, and what is made of them lies in
the user's folder. A name is looked up among the user's first.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from facefusion_ros.models.entry import ModelEntry, ModelError, Role
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.graph import read_graph
from facefusion_ros.models.recognition import Recognition, recognise
from facefusion_ros.models.section import Section, read_sections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from facefusion_ros.models.families import Catalogue
    from facefusion_ros.models.graph import Graph

INDEX = 'index.yaml'
WEIGHTS = Path(__file__).parent / 'weights'
"""Folder of the networks that ship with the package; ``python -m training.ship`` puts them there."""
DEFAULT = 'default'
"""Means the network that ships for a role, whatever the user's own are called."""
NONE = 'none'
"""Names no network where an empty name means the usual one."""
BUILT = 'built'
"""Folder within a model's own of what was made from it, such as files of reduced precision."""
NAME = re.compile(r'[A-Za-z0-9][\w.-]*')


def store_folder() -> Path:
    """Folder of the user's models: $FACEFUSION_MODELS, else ~/.local/share/facefusion_ros/models."""
    given = os.environ.get('FACEFUSION_MODELS')
    return Path(given).expanduser() if given else Path.home() / '.local' / 'share' / 'facefusion_ros' / 'models'


def sha256(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with file.open('rb', buffering=0) as data:
        while block := data.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def open_store() -> Store:
    """Return the user's models with those that ship with the package."""
    return Store(store_folder(), catalogue(), WEIGHTS)


def built_folder(path: Path, entry: ModelEntry) -> Path:
    """Folder of what is made from a model's file: beside it, but for what ships, to which nothing is ever written."""
    return (store_folder() / '.shipped' / entry.name if entry.shipped else path.parent) / BUILT


@dataclass(frozen=True, slots=True)
class Store:
    """Model files, each in a folder of its own name with the files that belong to it; ``index.yaml`` lists them.

    May be used by several processes at once. Nothing is ever downloaded.
    """

    folder: Path
    catalogue: Catalogue
    weights: Path | None = None
    """Folder of what ships with the package, which is only read."""

    def entries(self) -> dict[str, ModelEntry]:
        """Return all models by name, the user's first; one that ships is hidden by the user's of the same name.

        Raises ModelError where an index is damaged.
        """
        own = self._own()
        return {**own, **{name: entry for name, entry in self._shipped().items() if name not in own}}

    def default(self, role: Role) -> ModelEntry | None:
        """Return the model that ships for a role; None where none does."""
        return next((entry for entry in self._shipped().values() if entry.family.role is role), None)

    def path(self, entry: ModelEntry) -> Path:
        """File of a model."""
        return (self.weights if entry.shipped and self.weights else self.folder) / entry.file

    def add(
        self,
        file: Path,
        *,
        name: str | None = None,
        family: str | None = None,
        licence: str | None = None,
        source: str | None = None,
        accept_noncommercial: bool = False,
        try_out: Callable[[Graph, Recognition], None] | None = None,
    ) -> ModelEntry:
        """Recognise a network, try it out, and copy it into the store.

        ``licence`` and ``source`` are those of the published file where they are not given. ``try_out`` raises an error
        where the network does not run. Raises ModelError.
        """
        graph = read_graph(file)
        found = recognise(graph, self.catalogue, family)
        name = name or re.sub(r'\.(onnx|dfm)$', '', file.name, flags=re.IGNORECASE)
        if not NAME.fullmatch(name):
            raise ModelError(f'{name!r} cannot be the name of a model: use letters, digits, - _ and . (--name)')
        if name == DEFAULT:
            raise ModelError(f'{DEFAULT} means the network that ships with the package: give yours another --name')
        known = self.catalogue.known_file(file.name)
        licence = licence or (known.licence if known else 'unknown')
        commercial = self.catalogue.commercial(licence)
        _require_licence(
            str(file), licence, commercial=commercial, accepted=accept_noncommercial, how='--accept-noncommercial'
        )
        if try_out:
            try_out(graph, found)
        entry = ModelEntry(
            name=name,
            family=found.family,
            file=f'{name}/{file.name}',
            sha256='',
            licence=licence,
            commercial=commercial,
            source=source or (known.source if known else 'not stated'),
            size=found.size,
            inputs=found.inputs,
            outputs=found.outputs,
            weight=found.weight,
            personas=found.personas,
        )
        with no_space_said(self.folder):
            return self._take_in(file, graph.files_beside, entry)

    def resolve(
        self,
        name: str,
        role: Role | None = None,
        *,
        accept_noncommercial: bool = False,
        how: str = 'accept_noncommercial:=true',
    ) -> tuple[Path, ModelEntry]:
        """Return a model's file, which is the one that was added, and what is known of it.

        ``role`` says which one is the ``default``. ``how`` a person accepts a licence, for the message. Raises
        ModelError where there is no such model, its file has changed or is missing, or its licence forbids commercial
        use and that is not accepted.
        """
        found = self.default(role) if name == DEFAULT and role else None
        entry = found or self._named(name, self.entries())
        _require_licence(name, entry.licence, commercial=entry.commercial, accepted=accept_noncommercial, how=how)
        if problem := self.problem(entry):
            raise ModelError(f'model {name}: {problem}')
        return self.path(entry), entry

    def remove(self, name: str) -> int:
        """Remove a model with all that was made from it; returns how many bytes that frees.

        The index goes first, so that no half is ever listed. Raises ModelError where there is no such model, or it is
        not the user's.
        """
        if self._named(name, self.entries()).shipped:
            raise ModelError(
                f'{name} ships with the package and stays: `facefusion-ros models remove {name} --built` removes what '
                'was built from it'
            )
        with self._locked():
            entries = self._own()
            entry = self._named(name, entries)
            self._write({other: each for other, each in entries.items() if other != name})
            return self._delete((self.folder / entry.file).parent)

    def remove_built(self, name: str) -> int:
        """Remove what was made from a model, and leave the model; returns how many bytes that frees.

        Raises ModelError where there is no such model.
        """
        entry = self._named(name, self.entries())
        place = built_folder(self.path(entry), entry)
        if not place.is_dir():
            return 0
        with self._locked():
            return self._delete(place)

    def _named(self, name: str, entries: Mapping[str, ModelEntry]) -> ModelEntry:
        if name not in entries:
            if name == DEFAULT:
                raise ModelError('no network ships for this: name one of your own')
            known = ', '.join(entries) or 'none yet'
            raise ModelError(
                f'no model is named {name!r} in {self.folder}; there are: {known}. '
                'Add a file with `facefusion-ros models add FILE`'
            )
        return entries[name]

    def _delete(self, place: Path) -> int:
        """Take a folder out of the store at once, then delete it; its size in bytes, 0 where there is none."""
        if not place.is_dir():
            return 0
        size = sum(file.lstat().st_size for file in place.rglob('*') if not file.is_dir())
        with tempfile.TemporaryDirectory(dir=self.folder, prefix='.removing-') as gone:
            place.rename(Path(gone) / place.name)
        return size

    def verify(self) -> Iterator[tuple[ModelEntry, str]]:
        """Go through the models with what is wrong with each file; an empty text where it is the one that was added."""
        for entry in self.entries().values():
            yield entry, self.problem(entry)

    def problem(self, entry: ModelEntry) -> str:
        """Say what is wrong with a model's files; empty where they are those that were added."""
        path = self.path(entry)
        cure = 'install the package again' if entry.shipped else 'add the file again'
        for file, digest in ((path, entry.sha256), *((path.parent / name, sha) for name, sha in entry.beside.items())):
            if not file.is_file():
                return f'{file} is missing: {cure}'
            if sha256(file) != digest and entry.shipped:
                return f'{file} is not the one that was shipped, and is not used: {cure}'
            if sha256(file) != digest:
                return f'{file} has changed since it was added, and is not used: add it again if it is the right one'
        return ''

    def _take_in(self, file: Path, beside: Sequence[str], entry: ModelEntry) -> ModelEntry:
        """Copy a file and those beside it into the store, then list it: in this order, so that no half is ever listed.

        A link would change whenever the user writes to the file, and onnx refuses weights in linked files.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._locked(), tempfile.TemporaryDirectory(dir=self.folder, prefix='.adding-') as part:
            whole = Path(part) / entry.name
            for name in (file.name, *beside):
                (whole / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file.parent / name, whole / name)
            entry = replace(
                entry, sha256=sha256(whole / file.name), beside={name: sha256(whole / name) for name in beside}
            )
            entries, place = self._own(), self.folder / entry.name
            there = entries.get(entry.name)
            if there and there.sha256 != entry.sha256 and not self.problem(there):
                raise ModelError(
                    f'another model is named {entry.name}: give this one another name with --name, '
                    f'or remove that one with `facefusion-ros models remove {entry.name}`'
                )
            if place.exists():
                place.rename(Path(part) / 'before')
            whole.rename(place)
            built = Path(part) / 'before' / BUILT
            if built.is_dir() and there and there.sha256 == entry.sha256 and not (place / BUILT).exists():
                built.rename(place / BUILT)
            self._write({**entries, entry.name: entry})
        return entry

    def _write(self, entries: Mapping[str, ModelEntry]) -> None:
        models = {name: listed(entry) for name, entry in sorted(entries.items())}
        part = self.folder / '.index-part'
        try:
            with part.open('w', encoding='utf-8') as file:
                file.write('# Written by `facefusion-ros models add`.\n')
                yaml.safe_dump({'models': models}, file, sort_keys=False, allow_unicode=True)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.folder / INDEX)
        finally:
            part.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time changes the store."""
        with (self.folder / '.lock').open('w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _own(self) -> dict[str, ModelEntry]:
        index = self.folder / INDEX
        if not index.is_file():
            return {}
        with read_sections(index) as top:
            return {name: self._entry(name, section) for name, section in top.sections('models')}

    def _shipped(self) -> dict[str, ModelEntry]:
        if self.weights is None:
            return {}
        with read_sections(self.weights / INDEX) as top:
            return {name: replace(self._entry(name, section), shipped=True) for name, section in top.sections('models')}

    def _entry(self, name: str, section: Section) -> ModelEntry:
        with section:
            size = section.of('size', int)
            return ModelEntry(
                name=name,
                family=self.catalogue.family(section.value('family', str)),
                file=section.value('file', str),
                sha256=section.value('sha256', str),
                licence=section.value('licence', str),
                commercial=section.value('commercial', bool),
                source=section.value('source', str),
                size=(size[0], size[1]) if len(size) == 2 else None,
                inputs=section.texts('inputs'),
                outputs=section.texts('outputs'),
                weight=section.value('weight', str, None),
                beside=section.texts('beside'),
                personas=section.of('personas', str),
            )


def listed(entry: ModelEntry) -> dict[str, object]:
    """Return what an index says of a model."""
    return {
        'family': entry.family.name,
        'file': entry.file,
        'sha256': entry.sha256,
        'licence': entry.licence,
        'commercial': entry.commercial,
        'source': entry.source,
        'size': list(entry.size) if entry.size else None,
        'inputs': dict(entry.inputs),
        'outputs': dict(entry.outputs),
        'weight': entry.weight,
        'beside': dict(entry.beside),
        'personas': list(entry.personas),
    }


def _require_licence(what: str, licence: str, *, commercial: bool, accepted: bool, how: str) -> None:
    if commercial or accepted:
        return
    why, otherwise = f'its licence, {licence}, forbids commercial use', ''
    if licence == 'unknown':
        why, otherwise = 'its licence is not known', 'state it with --licence when you add it, or, '
    raise ModelError(f'{what}: {why}: {otherwise}if your use is not commercial, say so with {how}')


@contextlib.contextmanager
def no_space_said(folder: Path) -> Iterator[None]:
    """Make a ModelError of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise ModelError(f'{folder}: no space is left for the model: free some, or set FACEFUSION_MODELS') from None
        raise
