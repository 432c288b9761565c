"""``facefusion-ros models build``: a model at a reduced precision, compared with float32 on this machine."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from facefusion_ros.app.calibration import calibration, open_pictures
from facefusion_ros.engines.artefact import make, refuse_role
from facefusion_ros.engines.engine import EngineError
from facefusion_ros.engines.reduced import Precision
from facefusion_ros.engines.stored import Network
from facefusion_ros.models.store import no_space_said, open_store

if TYPE_CHECKING:
    from pathlib import Path

    from facefusion_ros.engines.artefact import Artefact
    from facefusion_ros.engines.chain import EngineSettings

    Rows = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be built."""

    name: str
    precision: Precision
    calibration: Path | None = None
    topic: str | None = None
    accept_noncommercial: bool = False


class Progress:
    """Says in one line of the terminal how far something is; where there is none, nothing."""

    def __init__(self) -> None:
        self._open = False

    def __call__(self, phase: str, done: int, total: int) -> bool:
        """Tell; see ``trt_build.Progress``."""
        if sys.stderr.isatty():
            sys.stderr.write(f'\r\x1b[K{phase}: {done} of {total}')
            sys.stderr.flush()
            self._open = True
        return True

    def end(self) -> None:
        """Leave the terminal's line as it was found."""
        if self._open:
            sys.stderr.write('\r\x1b[K')
            sys.stderr.flush()
        self._open = False


def build(order: Order, settings: EngineSettings) -> tuple[Rows, bool]:
    """Build what is not there yet; returns what to tell, and whether it may be used.

    Raises FacefusionError with one line where it cannot be built.
    """
    store, progress = open_store(), Progress()
    path, entry = store.resolve(
        order.name, accept_noncommercial=order.accept_noncommercial, how='--accept-noncommercial'
    )
    network = Network(path, entry, settings, progress)
    try:
        if order.precision is Precision.FP32:
            return _whole(network), True
        refuse_role(entry, order.precision)
        with no_space_said(store.folder):
            artefact, rows = _artefact(network, order, progress)
        return _compared(network, artefact, rows)
    finally:
        progress.end()


def _whole(network: Network) -> Rows:
    engine = network.whole()
    try:
        return [('fp32', f'{network.entry.name} as it was added'), ('runs', f'on {engine.provider}')]
    finally:
        engine.close()


def _artefact(network: Network, order: Order, progress: Progress) -> tuple[Artefact, Rows]:
    precision = order.precision
    if order.calibration is None and precision is not Precision.FP16:
        raise EngineError(
            f'{precision.value} needs pictures like those it will see: name a folder of pictures, or a bag (an .mcap '
            f'file or a rosbag2 folder), with --calibration'
        )
    pictures = open_pictures(order.calibration, order.topic) if order.calibration else None
    recipe = network.recipe(precision, pictures.digest if pictures else '')
    artefact, why = network.find(recipe)
    if artefact is not None and not why:
        return artefact, [('up to date', f'{recipe.stem}.onnx in {network.folder}'), *_told(artefact)]
    samples = None
    if pictures is not None:
        samples = calibration(network.path, network.entry, pictures, partial(progress, 'calibrating'))
    artefact = make(network.path, network.entry, recipe, samples)
    progress.end()
    how = ('made anew', f' ({why})') if why else ('made', '')
    rows = [(how[0], f'{recipe.stem}.onnx in {network.folder}{how[1]}')]
    return artefact, [*rows, *_told(artefact)]


def _told(artefact: Artefact) -> Rows:
    share = artefact.bytes / artefact.source_bytes
    rows = [('size', f'{_bytes(artefact.bytes)}, {share:.0%} of {_bytes(artefact.source_bytes)}')]
    if artefact.calibrated_on:
        rows.append(('calibrated', artefact.calibrated_on))
    return [*rows, *(('report', line) for line in artefact.report)]


def _compared(network: Network, artefact: Artefact, rows: Rows) -> tuple[Rows, bool]:
    reduced = network.reduced(artefact)
    said: list[str] = []
    rows.append(('runs', f'on {reduced.provider}'))
    gated = network.gate(artefact, reduced, said.append)
    gated.engine.close()
    rows.append(('compared', gated.parity.line()))
    rows += [('', line) for line in said if not line.startswith(gated.parity.line())]
    rows.append(('passed', 'yes' if gated.parity.passed else 'no: fp32 will be used'))
    return rows, gated.parity.passed


def _bytes(size: int) -> str:
    return f'{size / 1e6:.1f} MB' if size >= 1e6 else f'{size / 1e3:.1f} kB'
