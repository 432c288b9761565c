"""The user's own model files: a folder with an index, each file known by its digest and its licence."""

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

from facefusion_ros.models.entry import ModelEntry, ModelError
from facefusion_ros.models.graph import read_graph
from facefusion_ros.models.recognition import Recognition, recognise
from facefusion_ros.models.section import Section, read_sections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from facefusion_ros.models.families import Catalogue
    from facefusion_ros.models.graph import Graph

INDEX = 'index.yaml'
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


@dataclass(frozen=True, slots=True)
class Store:
    """Model files, each in a folder of its own name with the files that belong to it; ``index.yaml`` lists them.

    May be used by several processes at once. Nothing is ever downloaded.
    """

    folder: Path
    catalogue: Catalogue

    def entries(self) -> dict[str, ModelEntry]:
        """Return what the index lists, by name; raises ModelError where the index is damaged."""
        index = self.folder / INDEX
        if not index.is_file():
            return {}
        with read_sections(index) as top:
            return {name: self._entry(name, section) for name, section in top.sections('models')}

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
        )
        with no_space_said(self.folder):
            return self._take_in(file, graph.files_beside, entry)

    def resolve(
        self, name: str, *, accept_noncommercial: bool = False, how: str = 'accept_noncommercial:=true'
    ) -> tuple[Path, ModelEntry]:
        """Return a model's file, which is the one that was added, and what is known of it.

        ``how`` a person accepts a licence, for the message. Raises ModelError where there is no such model, its file
        has changed or is missing, or its licence forbids commercial use and that is not accepted.
        """
        entry = self._named(name, self.entries())
        _require_licence(name, entry.licence, commercial=entry.commercial, accepted=accept_noncommercial, how=how)
        if problem := self.problem(entry):
            raise ModelError(f'model {name}: {problem}')
        return self.folder / entry.file, entry

    def remove(self, name: str) -> int:
        """Remove a model with all that was made from it; returns how many bytes that frees.

        The index goes first, so that no half is ever listed. Raises ModelError where there is no such model.
        """
        self._named(name, self.entries())
        with self._locked():
            entries = self.entries()
            entry = self._named(name, entries)
            self._write({other: each for other, each in entries.items() if other != name})
            return self._delete((self.folder / entry.file).parent)

    def remove_built(self, name: str) -> int:
        """Remove what was made from a model, and leave the model; returns how many bytes that frees.

        Raises ModelError where there is no such model.
        """
        entry = self._named(name, self.entries())
        with self._locked():
            return self._delete((self.folder / entry.file).parent / BUILT)

    def _named(self, name: str, entries: Mapping[str, ModelEntry]) -> ModelEntry:
        if name not in entries:
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
        path = self.folder / entry.file
        for file, digest in ((path, entry.sha256), *((path.parent / name, sha) for name, sha in entry.beside.items())):
            if not file.is_file():
                return f'{file} is missing: add the file again'
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
            entries, place = self.entries(), self.folder / entry.name
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
        models = {name: _listed(entry) for name, entry in sorted(entries.items())}
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
            )


def _listed(entry: ModelEntry) -> dict[str, object]:
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
