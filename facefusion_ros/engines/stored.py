"""Loads a network, the user's own or a shipped one, at float32 or at a reduced precision that has passed the gate."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING

from facefusion_ros.engines.chain import EngineSettings, load_engine
from facefusion_ros.engines.engine import EngineError
from facefusion_ros.engines.reduced import IntegerKernels, Precision
from facefusion_ros.engines.trt import TensorRtSettings
from facefusion_ros.models.graph import read_graph
from facefusion_ros.models.recognition import input_shapes
from facefusion_ros.models.store import built_folder, open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from facefusion_ros.engines.artefact import Artefact, Recipe
    from facefusion_ros.engines.engine import Engine
    from facefusion_ros.engines.parity import Gated
    from facefusion_ros.engines.trt_build import Precision as Typed
    from facefusion_ros.engines.trt_build import Progress
    from facefusion_ros.models.entry import ModelEntry, Role

# A network at float32 needs neither onnx nor what converts, compares and composes; importing them takes its time.
# ruff: noqa: PLC0415

_log = logging.getLogger(__name__)
_making = Lock()
"""Nodes of one process may want the same file at once."""


@dataclass(frozen=True, slots=True)
class StoredNetwork:
    """A network that is ready to run, and what is known of it."""

    engine: Engine
    entry: ModelEntry
    precision: Precision = Precision.FP32
    """At which it runs, whatever was asked for."""


def load_stored(
    name: str,
    role: Role,
    settings: EngineSettings | None = None,
    *,
    accept_noncommercial: bool = False,
    precision: Precision | str = Precision.FP32,
    size: tuple[int, int] | None = None,
    batch: int = 1,
) -> StoredNetwork:
    """Load the model of that name, or the one that ships for the role where it is ``default``.

    Inputs that its file leaves open get the family's usual size.

    ``size`` (width, height) is wanted of a picture for which neither the file nor its family has one; what is loaded at
    a reduced precision has the size that it was made for. ``batch`` pictures are taken at once where the file leaves
    their number open, and one where it then does not run.

    A reduced precision is used where it passes the comparison with float32 on this machine (``yardsticks``), which is
    made once and stored; else float32 is, with one line in the log. A file for fp16 is made where there is none; one
    for int8 needs pictures, so ``facefusion-ros models build`` makes it.

    Raises ModelError where the store has no such model or may not use it, EngineError where it is for something else,
    no engine runs it, or there is no file of the precision.
    """
    wanted = precision_of(precision)
    path, entry = open_store().resolve(name, role, accept_noncommercial=accept_noncommercial)
    if entry.family.role is not role:
        message = f'model {name} is a {entry.family.role.value} ({entry.family.name}), not a {role.value}: name another'
        raise EngineError(message)
    network = Network(path, entry, settings or EngineSettings())
    if wanted is Precision.FP32:
        return StoredNetwork(network.whole(size, batch), entry)
    with _making:
        artefact = _ready(network, wanted)
    try:
        reduced = network.reduced(artefact)
    except EngineError as error:
        _log.warning('%s %s cannot be loaded (%s): fp32 is used instead', name, wanted.value, error)
        return StoredNetwork(network.whole(size, batch), entry)
    gated = network.gate(artefact, reduced)
    return StoredNetwork(gated.engine, entry, wanted if gated.parity.passed else Precision.FP32)


def precision_of(text: Precision | str) -> Precision:
    """Return a precision by its name; raises EngineError naming those there are."""
    try:
        return Precision(text)
    except ValueError:
        known = ', '.join(each.value for each in Precision)
        raise EngineError(f'there is no precision {text!r}: choose from {known}') from None


def _ready(network: Network, wanted: Precision) -> Artefact:
    """Return the artefact of a precision; of fp16 a new one where there is none that can be trusted."""
    from facefusion_ros.engines.artefact import make

    name, recipe = network.entry.name, network.recipe(wanted)
    # What it was calibrated on cannot be known here, and what another version made is measured by the gate as well.
    artefact, why = network.find(recipe, 'calibration', 'version')
    if artefact is not None and not why:
        return artefact
    if wanted is not Precision.FP16:
        command = f'facefusion-ros models build {name} --precision {wanted.value} --calibration PICTURES_OR_BAG'
        if recipe.kernels == IntegerKernels.TENSORRT.value:
            command += ' --engine tensorrt'
        reason = (
            f'the {wanted.value} file of {name} does not fit ({why})'
            if why
            else f'{name} was not built for {recipe.stem.removeprefix(name + "-")}'
        )
        raise EngineError(f'{reason}: make it with `{command}`')
    _log.warning('%s: making its fp16 file%s, once', name, f' anew ({why})' if why else '')
    try:
        return make(network.path, network.entry, recipe)
    except OSError as error:
        raise EngineError(f'the fp16 file of {name} cannot be written ({error.strerror or error}): use fp32') from None


@dataclass(frozen=True, slots=True)
class Network:
    """A model of the store, to be loaded at any precision."""

    path: Path
    entry: ModelEntry
    settings: EngineSettings
    progress: Progress | None = None
    """Told of builds of TensorRT."""

    @property
    def folder(self) -> Path:
        """Where everything is that is made from the model."""
        return built_folder(self.path, self.entry)

    @property
    def kernels(self) -> IntegerKernels:
        """Whose integer convolutions a file has to be written for, to be fast with the first engine of the chain."""
        first = self.settings.chain[0]
        through = first == 'onnxruntime' and 'tensorrt' in self.settings.onnxruntime.providers[0].lower()
        return IntegerKernels.TENSORRT if first == 'tensorrt' or through else IntegerKernels.ONNXRUNTIME

    def recipe(self, precision: Precision, calibration: str = '') -> Recipe:
        """Return what the file of a precision is made from."""
        from facefusion_ros.engines.artefact import recipe_of

        return recipe_of(self.entry, precision, self.kernels, calibration)

    def find(self, recipe: Recipe, *aside: str) -> tuple[Artefact | None, str]:
        """Return what was made of a recipe, and why it is not to be used; empty where it is.

        ``aside`` are fields of the recipe that do not matter.
        """
        from facefusion_ros.engines.artefact import damage, read

        try:
            artefact = read(self.folder, recipe)
        except EngineError as error:
            return None, str(error)
        if artefact is None:
            return None, ''
        return artefact, recipe.differs(artefact.recipe, *aside) or damage(self.folder, artefact)

    def whole(self, size: tuple[int, int] | None = None, batch: int = 1) -> Engine:
        """Load the model itself, for this many pictures of this size where that is open. Raises EngineError."""
        inputs = read_graph(self.path).inputs
        shapes, one = (input_shapes(self.entry, inputs, size, each) for each in (batch, 1))
        if shapes != one:
            try:
                return self._load(self.path, self.entry.sha256, shapes, Precision.FP32)
            except EngineError as error:  # some files leave the number open and count on one
                _log.info('%s takes one picture at a time: %s', self.entry.name, error)
        return self._load(self.path, self.entry.sha256, one, Precision.FP32)

    def reduced(self, artefact: Artefact) -> Engine:
        """Load what was made of it. Raises EngineError."""
        (name, sha256), *detail = artefact.files.items()
        precision = artefact.precision
        if precision is not Precision.INT8_KEEP_REGIONS:
            return self._load(self.folder / name, sha256, {}, precision)
        if not detail:
            raise EngineError(f'{name} has no file for eyes and lips: build it again')
        return self._composed((name, sha256), detail[0], artefact)

    def _composed(self, whole: tuple[str, str], detail: tuple[str, str], artefact: Artefact) -> Engine:
        from facefusion_ros.engines.crops import windows_of
        from facefusion_ros.engines.region_engine import RegionEngine

        entry = self.entry
        size = entry.size or entry.family.size or (0, 0)
        windows = windows_of(entry, size, artefact.halo_px, artefact.multiple_px)
        first = self._load(self.folder / whole[0], whole[1], {}, Precision.INT8)
        try:
            second = self._load(self.folder / detail[0], detail[1], {}, Precision.FP16)
        except BaseException:
            first.close()
            raise
        return RegionEngine(
            first, second, windows, picture_in=entry.inputs['picture'], picture_out=entry.outputs['picture']
        )

    def gate(self, artefact: Artefact, reduced: Engine, warn: Callable[[str], None] = _log.warning) -> Gated:
        """Compare it with float32 on this machine, or believe what was found here before; see ``parity.gate``."""
        from facefusion_ros.engines.artefact import parity_file
        from facefusion_ros.engines.crops import template_landmarks
        from facefusion_ros.engines.machine import this_machine
        from facefusion_ros.engines.parity import gate
        from facefusion_ros.engines.yardsticks import yardstick

        entry, recipe = self.entry, artefact.recipe
        template = None
        if artefact.precision is Precision.INT8_KEEP_REGIONS:
            template = template_landmarks(entry, entry.size or entry.family.size or (0, 0))
        return gate(
            reduced,
            self.whole,
            yardstick(entry, template),
            what=f'{entry.name} {recipe.precision}',
            key=f'source {recipe.source}, artefact {artefact.digest}, {this_machine()}',
            file=parity_file(self.folder, recipe),
            warn=warn,
        )

    def _load(self, path: Path, sha256: str, shapes: dict[str, tuple[int, ...]], precision: Precision) -> Engine:
        settings = self.settings
        tensorrt = settings.tensorrt or TensorRtSettings()
        typed: Typed = precision.value  # type: ignore[assignment]  # never int8_keep_regions, which is two files
        tensorrt = replace(
            tensorrt,
            cache=tensorrt.cache or self.folder / 'tensorrt',
            shapes=shapes,
            build=replace(tensorrt.build, precision=typed),
        )
        settings = replace(settings, onnxruntime=replace(settings.onnxruntime, shapes=shapes), tensorrt=tensorrt)
        return load_engine(path, settings, sha256, self.progress)
