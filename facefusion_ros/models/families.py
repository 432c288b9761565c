"""The catalogue: families of networks and what is known of published files, read from ``config/models.yaml``."""

from __future__ import annotations

import functools
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facefusion_ros.models.entry import (
    Family,
    ModelError,
    PictureRange,
    Preprocessing,
    Role,
    Source,
    Template,
    TensorForm,
    Weight,
)
from facefusion_ros.models.section import Section, read_sections

if TYPE_CHECKING:
    from collections.abc import Mapping

DIMENSION = re.compile(r'[a-z]([/*][1-9]\d*)?')
"""A dimension of a form that is not a number: a letter, or a letter over or times a number."""


@dataclass(frozen=True, slots=True)
class KnownFile:
    """What is known of a published file."""

    licence: str
    source: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Everything that ``config/models.yaml`` says."""

    templates: Mapping[str, Template]
    families: Mapping[str, Family]
    files: Mapping[str, KnownFile]
    """By the beginning of the file's name."""
    licences: Mapping[str, bool]
    """Whether a licence allows commercial use."""

    def family(self, name: str) -> Family:
        """Return a family by name; raises ModelError naming those there are."""
        try:
            return self.families[name]
        except KeyError:
            raise ModelError(f'no family is named {name!r}; known families: {", ".join(self.families)}') from None

    def known_file(self, file_name: str) -> KnownFile | None:
        """Return what is known of a published file, by the longest beginning that fits its name."""
        name = plain(file_name)
        fitting = [beginning for beginning in self.files if name.startswith(beginning)]
        return self.files[max(fitting, key=len)] if fitting else None

    def commercial(self, licence: str) -> bool:
        """Whether a licence allows commercial use; one that is not listed is taken not to."""
        listed = {name.lower(): allowed for name, allowed in self.licences.items()}
        return listed.get(licence.lower(), False)


def plain(file_name: str) -> str:
    """Return a file's name without its suffix, in the one spelling that ``config/models.yaml`` uses."""
    return re.sub(r'[\s-]+', '_', re.sub(r'\.(onnx|dfm)$', '', file_name.lower()))


def catalogue_file() -> Path:
    """File of the catalogue: the source checkout's, else the one installed with the package."""
    prefixes = [Path(p) for p in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if p] + [Path(sys.prefix)]
    places = [Path(__file__).resolve().parents[2] / 'config' / 'models.yaml']
    places += [prefix / 'share' / 'facefusion_ros' / 'config' / 'models.yaml' for prefix in prefixes]
    for place in places:
        if place.is_file():
            return place
    raise ModelError(f'config/models.yaml is not installed; looked for {", ".join(map(str, places))}')


@functools.lru_cache(maxsize=1)
def catalogue() -> Catalogue:
    """Return the catalogue that belongs to this package; read once."""
    return read_catalogue(catalogue_file())


def read_catalogue(file: Path) -> Catalogue:
    """Read a catalogue; raises ModelError naming file and key where something is unknown, missing or wrong."""
    with read_sections(file) as top:
        templates = {name: _template(section) for name, section in top.sections('templates')}
        families = {name: _family(name, section, tuple(templates)) for name, section in top.sections('families')}
        licences = {}
        for name, section in top.sections('licences'):
            with section:
                licences[name] = section.value('commercial', bool)
        files = {}
        for name, section in top.sections('files'):
            with section:
                files[name] = KnownFile(section.value('licence', str), section.value('source', str))
                if files[name].licence not in licences:
                    section.refuse('licence', f'{files[name].licence!r} is not among the licences')
    return Catalogue(templates, families, files, licences)


DECODERS = (
    'yolov4_tiny', 'yolov4_tiny_points', 'yoloface', 'scrfd', 'retinaface', 'yunet', 'fan', 'pfld', 'seen', 'vector',
    'picture', 'mask', 'classes',
)  # fmt: skip


def _preprocessing(section: Section) -> Preprocessing:
    found = Preprocessing(
        colour=section.choice('colour', ('rgb', 'bgr'), 'rgb'),
        scale=section.value('scale', float, 1 / 255),
        mean=section.three('mean', 0.0),
        std=section.three('std', 1.0),
        layout=section.choice('layout', ('nchw', 'nhwc'), 'nchw'),
    )
    if not all(found.std):
        section.refuse('std', 'must not be 0')
    return found


def _template(section: Section) -> Template:
    with section:
        points = section.pairs('points')
        if len(points) != 5:
            section.refuse('points', f'must be 5 points, not {len(points)}')
        return Template(section.value('size', int), points)


def _family(name: str, section: Section, templates: tuple[str, ...]) -> Family:
    with section:
        sizes = section.of('sizes', int)
        decoder = section.choice('decoder', DECODERS, 'picture')
        return Family(
            name=name,
            role=Role(section.choice('role', tuple(role.value for role in Role), '')),
            preprocessing=_preprocessing(section),
            size=(sizes[0], sizes[0]) if len(sizes) == 1 else None,
            template=section.choice('template', templates, '') if section.has('template') else None,
            decoder=decoder,
            inputs=tuple(_form(item) for item in section.listed('inputs')),
            outputs=tuple(_form(item) for item in section.listed('outputs')),
            other_outputs=tuple(tuple(map(_form, items)) for items in section.layouts('other_outputs')),
            sizes=sizes,
            multiple=section.value('multiple', int, 1),
            range=_range(section) if decoder == 'picture' else None,
            decode=_decode(section),
            box_fill=section.value('box_fill', float, None),
            source=_source(section.section('source'), templates) if section.has('source') else None,
            weight=_weight(section.section('weight')) if section.has('weight') else None,
            more_outputs=section.value('more_outputs', bool, default=False),
            file_names=section.of('file_names', str),
            reference=section.value('reference', str),
        )


def _form(section: Section) -> TensorForm:
    with section:
        shape = tuple(section.value('shape', list))
        for size in shape:
            if not (size is None or (isinstance(size, int) and size > 0) or DIMENSION.fullmatch(str(size))):
                section.refuse('shape', f'{size!r} must be a size, a letter such as h, h/32, h*4, or null')
        return TensorForm(
            role=section.value('role', str),
            shape=shape,
            dtype=section.choice('dtype', ('float', 'number'), 'float'),
            names=section.of('names', str),
            optional=section.value('optional', bool, default=False),
        )


def _range(section: Section) -> PictureRange:
    if not section.has('range'):
        return PictureRange((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    with section.section('range') as found:
        return PictureRange(found.three('mean', 0.0), found.three('std', 1.0))


def _decode(section: Section) -> dict[str, float | tuple[float, ...]]:
    if not section.has('decode'):
        return {}
    found = section.section('decode')
    return {name: found.of(name, float) if found.is_list(name) else found.value(name, float) for name in found.keys}


def _source(section: Section, templates: tuple[str, ...]) -> Source:
    with section:
        return Source(
            kind=section.choice('kind', ('vector', 'picture'), ''),
            template=section.choice('template', templates, ''),
            size=section.value('size', int),
            preprocessing=_preprocessing(section),
            converter=section.value('converter', str, None),
            projection=section.value('projection', bool, default=False),
            unit=section.value('unit', bool, default=True),
        )


def _weight(section: Section) -> Weight:
    with section:
        return Weight(section.value('role', str), section.of('shape', int), section.of('names', str))
