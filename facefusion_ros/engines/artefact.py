"""Files of reduced precision made from a model of the store, and what is known of each.

They lie in a folder ``built`` (``models.store.built_folder``): ``<name>-<precision>.onnx``, for int8 also with whose
kernels it is for, a readable ``.json`` that says how it was made, and the ``.parity.json`` of the gate. Everything that
a file was made from is in its ``.json``; one that was made from something else, or whose bytes are not those that
were written, is not used.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING

import onnx

from facefusion_ros import __version__
from facefusion_ros.engines import graph as onnx_graph
from facefusion_ros.engines.calibration import activation_ranges
from facefusion_ros.engines.crops import crops_of, windows_of
from facefusion_ros.engines.engine import EngineError
from facefusion_ros.engines.optimised import digest
from facefusion_ros.engines.precision import to_fp16
from facefusion_ros.engines.quantisation import to_int8
from facefusion_ros.engines.reduced import IntegerKernels, Precision
from facefusion_ros.engines.regions import crop_shape
from facefusion_ros.engines.statistics import give_statistics
from facefusion_ros.engines.trt_cache import atomic_write
from facefusion_ros.models.entry import Role
from facefusion_ros.models.graph import read_graph
from facefusion_ros.models.recognition import input_shapes
from facefusion_ros.models.store import built_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from facefusion_ros.engines.calibration import Sample
    from facefusion_ros.engines.precision import RangeLoss
    from facefusion_ros.models.entry import ModelEntry

_NAMED = 3
"""Nodes that a line of the report names; the rest it counts."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything a file of reduced precision depends on; the names are those of the sidecar and of messages."""

    model: str
    precision: str
    kernels: str
    """Of ``IntegerKernels``, for int8; empty where it does not matter."""
    source: str
    """SHA-256 of the model's file, and of those with its weights."""
    calibration: str
    """SHA-256 of the pictures or the bag; empty where it was made without."""
    version: str
    """Of this package."""

    @property
    def stem(self) -> str:
        """Name of the files without their suffix; another source's or version's is replaced, not joined."""
        return '-'.join(part for part in (self.model, self.precision, self.kernels) if part)

    def differs(self, other: Recipe, *aside: str) -> str:
        """Say which field of another is not as here, those aside; empty where all are."""
        for each in fields(self):
            here, there = getattr(self, each.name), getattr(other, each.name)
            if here != there and each.name not in aside:
                return f'{each.name} is {there[:12] or "none"}, and here it is {here[:12] or "none"}'
        return ''


@dataclass(frozen=True, slots=True)
class Artefact:
    """What was made, and how."""

    recipe: Recipe
    files: Mapping[str, str]
    """Name to SHA-256; the network first, then that for eyes and lips."""
    source_bytes: int
    bytes: int
    opset: int
    report: tuple[str, ...]
    """What stayed float, and why."""
    calibrated_on: str = ''
    """In words."""
    halo_px: int = 0
    multiple_px: int = 0
    """Where the crops of eyes and lips lie (``regions.plan``)."""

    @property
    def precision(self) -> Precision:
        """What it is."""
        return Precision(self.recipe.precision)

    @property
    def digest(self) -> str:
        """SHA-256 over the digests of its files."""
        return hashlib.sha256(' '.join(self.files.values()).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a network is calibrated on."""

    samples: Iterable[Sample]
    digest: str
    """SHA-256 of what they are taken from."""
    told: list[str] = field(default_factory=list)
    """In words, what they are; complete once they have been gone through."""


def parity_file(folder: Path, recipe: Recipe) -> Path:
    """File of what the gate found."""
    return folder / f'{recipe.stem}.parity.json'


def recipe_of(entry: ModelEntry, precision: Precision, kernels: IntegerKernels, calibration: str = '') -> Recipe:
    """Return what a file of this precision is made from now."""
    source = entry.sha256
    if entry.beside:
        source = hashlib.sha256(' '.join((source, *entry.beside.values())).encode()).hexdigest()
    whose = '' if precision in {Precision.FP32, Precision.FP16} else kernels.value
    return Recipe(entry.name, precision.value, whose, source, calibration, __version__)


def read(folder: Path, recipe: Recipe) -> Artefact | None:
    """Read what is known of the file of a recipe, whatever it was made from; None where there is none.

    Raises EngineError where the sidecar is damaged.
    """
    return _read(folder / f'{recipe.stem}.json')


def every(folder: Path) -> Iterator[tuple[str, Artefact | str]]:
    """Go through the artefacts of a folder by stem; in place of one whose sidecar is damaged, what is wrong with it."""
    for file in sorted(folder.glob('*.json')):
        if not file.name.endswith('.parity.json'):
            try:
                found = _read(file)
            except EngineError as error:
                yield file.stem, str(error)
            else:
                if found is not None:
                    yield file.stem, found


def _read(file: Path) -> Artefact | None:
    try:
        stored = json.loads(file.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise EngineError(f'{file} cannot be read ({error})') from None
    try:
        made = Artefact(**{**stored, 'recipe': Recipe(**stored['recipe']), 'report': tuple(stored['report'])})
        if made.files and made.precision.value in file.stem:
            return made
    except (TypeError, ValueError, KeyError, AttributeError):
        pass
    raise EngineError(f'{file} is damaged: fields are missing or wrong')


def damage(folder: Path, artefact: Artefact) -> str:
    """Say what is wrong with an artefact's files; empty where they are those that were written."""
    for name, sha256 in artefact.files.items():
        try:
            found = digest(folder / name)
        except OSError:
            return f'{name} is missing'
        if found != sha256:
            return f'sha256 of {name} is not that of its bytes, so it is damaged'
    return ''


def make(path: Path, entry: ModelEntry, recipe: Recipe, calibration: Calibration | None = None) -> Artefact:
    """Make the file of a recipe from the model's, with its sidecar; what was there is replaced.

    A stop on the way leaves files that their digests tell from whole ones. Raises EngineError where the network cannot
    be converted, OSError where the files cannot be written.
    """
    refuse_role(entry, Precision(recipe.precision))
    made = _converted(fixed(path, entry), entry, recipe, calibration)
    folder = built_folder(path, entry)
    folder.mkdir(parents=True, exist_ok=True)
    files, size = {}, 0
    for suffix, model in made.models.items():
        content = model.SerializeToString()
        name = f'{recipe.stem}{suffix}.onnx'
        atomic_write(folder / name, content)
        files[name] = hashlib.sha256(content).hexdigest()
        size += len(content)
    artefact = Artefact(
        recipe,
        files,
        source_bytes=sum((path.parent / name).stat().st_size for name in (path.name, *entry.beside)),
        bytes=size,
        opset=onnx_graph.opsets(made.models['']).get('', 1),
        report=tuple(made.report),
        calibrated_on='; '.join(calibration.told) if calibration else '',
        halo_px=made.halo_px,
        multiple_px=made.multiple_px,
    )
    atomic_write(folder / f'{recipe.stem}.json', (json.dumps(asdict(artefact), indent=2) + '\n').encode())
    return artefact


def refuse_role(entry: ModelEntry, precision: Precision) -> None:
    """Raise EngineError where a precision is not for what the network does."""
    role = entry.family.role
    if precision is Precision.INT8_KEEP_REGIONS and role is not Role.ENHANCER:
        raise EngineError(f'int8_keep_regions is for enhancers, and {entry.name} is a {role.value}: use int8 or fp16')


def fixed(path: Path, entry: ModelEntry) -> onnx.ModelProto:
    """Load a model's file, with inputs that it leaves open fixed to the sizes in which the store's models are run.

    Raises EngineError where it cannot be read.
    """
    try:
        model = onnx.load(path)
    except Exception as error:  # noqa: BLE001 - of protobuf, onnx and the system, which share no other base
        raise EngineError(f'{path} cannot be read: {str(error).splitlines()[0]}') from None
    shapes = input_shapes(entry, read_graph(path).inputs)
    for value in model.graph.input:
        for size, wanted in zip(value.type.tensor_type.shape.dim, shapes.get(value.name, ()), strict=False):
            size.dim_value = wanted
    if shapes:
        del model.graph.value_info[:]
        for value in model.graph.output:
            if not all(size.dim_value for size in value.type.tensor_type.shape.dim):
                value.type.tensor_type.ClearField('shape')
    return model


@dataclass
class _Made:
    models: dict[str, onnx.ModelProto]
    """By what their files' names end in."""
    report: list[str]
    halo_px: int = 0
    multiple_px: int = 0


def _converted(model: onnx.ModelProto, entry: ModelEntry, recipe: Recipe, calibration: Calibration | None) -> _Made:
    precision = Precision(recipe.precision)
    if precision is Precision.FP16:
        ranges = activation_ranges(model, calibration.samples) if calibration else None
        made, told = to_fp16(model, ranges=ranges)
        return _Made({'': made}, [f'{told.halved} nodes compute in float16', *_kept(told.kept), *_lost(told.losses)])
    if calibration is None:
        raise EngineError(f'{entry.name} cannot be made {precision.value} without pictures to calibrate with')
    if precision is Precision.INT8:
        return _int8(model, recipe, calibration)
    size = entry.size or entry.family.size
    if size is None:
        raise EngineError(f'{entry.name}: the size of its picture is not known: add the file again')
    # First, because it may be refused.
    crops = crops_of(onnx_graph.prepared(model), entry, size)
    made = _int8(give_statistics(model), recipe, calibration)
    detail, _ = to_fp16(crops.model)
    windows = windows_of(entry, size, crops.halo_px, crops.multiple_px)
    _, _, height, width = crop_shape(windows)
    made.models['-detail'] = detail
    made.report.append(f'eyes and lips in float16: {len(windows)} crops of {width}x{height}, halo {crops.halo_px} px')
    made.halo_px, made.multiple_px = crops.halo_px, crops.multiple_px
    return made


def _int8(model: onnx.ModelProto, recipe: Recipe, calibration: Calibration) -> _Made:
    kernels = IntegerKernels(recipe.kernels)
    made, told = to_int8(model, calibration.samples, kernels=kernels)
    report = [f'{len(told.quantised)} convolutions compute in int8', *_kept(told.kept)]
    if kernels is IntegerKernels.TENSORRT:
        made, rest = to_fp16(made)
        report += [f'{rest.halved} other nodes compute in float16', *_kept(rest.kept), *_lost(rest.losses)]
    return _Made({'': made}, report)


def _kept(kept: tuple[tuple[str, str], ...]) -> list[str]:
    """Lines on what stays float, one for each reason."""
    names: dict[str, list[str]] = defaultdict(list)
    for name, reason in kept:
        names[reason].append(name)
    return [f'{len(found)} stay float ({reason}): {_some(found)}' for reason, found in names.items()]


def _lost(losses: tuple[RangeLoss, ...]) -> list[str]:
    """Lines on constants that float16 cannot hold."""
    large = [loss.tensor for loss in losses if loss.overflow]
    small = [loss.tensor for loss in losses if loss.underflow and loss.values > 1]
    lines = [f'{len(large)} constants with values too large for float16 stay float: {_some(large)}'] if large else []
    if small:
        count = sum(loss.underflow for loss in losses if loss.values > 1)
        lines.append(f'{count} values of {len(small)} constants are too small for float16 and become 0: {_some(small)}')
    return lines


def _some(names: list[str]) -> str:
    more = f' and {len(names) - _NAMED} more' if len(names) > _NAMED else ''
    return f'{", ".join(names[:_NAMED])}{more}'
