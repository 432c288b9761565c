"""``facefusion-ros models``: the user's own networks."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from facefusion_ros.models.entry import Family, ModelEntry
    from facefusion_ros.models.graph import Graph
    from facefusion_ros.models.recognition import Recognition
    from facefusion_ros.models.store import Store

# The command line is described without what the commands need: onnx alone takes longer to import than all the rest.
# ruff: noqa: PLC0415

_MOST_OPERATORS = 12


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``models`` and its own commands to a command line; each sets ``act``, which takes the options."""
    text = 'add your own networks to the store, look into a file, build reduced precisions, list, verify and remove'
    top = commands.add_parser('models', help=text, description=text[0].upper() + text[1:] + '.')
    own = top.add_subparsers(metavar='COMMAND', required=True)

    def command(name: str, act: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = own.add_parser(name, help=text, description=text[0].upper() + text[1:] + '.')
        sub.set_defaults(act=act)
        return sub

    command('list', _list, 'list the networks in the store')
    sub = command('inspect', _inspect, 'say what an ONNX file is, without adding it')
    sub.add_argument('file', type=Path, help='a file, or the name of a model')
    sub.add_argument('--family', help='what to take it for, where several families look the same')
    sub = command('add', _add, 'recognise a network, run it once, and take it into the store')
    sub.add_argument('file', type=Path)
    sub.add_argument('--name', help="how to call it (the file's name)")
    sub.add_argument('--family', help='what to take it for, where several families look the same')
    sub.add_argument('--licence', help='its licence, such as Apache-2.0 (that of the published file)')
    sub.add_argument('--source', help='where it comes from (that of the published file)')
    sub.add_argument(
        '--accept-noncommercial', action='store_true', help='your use is not commercial, as its licence demands'
    )
    command('verify', _verify, 'check that every file in the store is the one that was added or built')
    sub = command('build', _build, 'make a network of reduced precision, and compare it with fp32 on this machine')
    sub.add_argument('name', help='a model of the store')
    sub.add_argument('--precision', required=True, choices=('fp32', 'fp16', 'int8', 'int8_keep_regions'))
    sub.add_argument(
        '--calibration',
        type=Path,
        metavar='PATH',
        help='for int8: a folder of pictures, an .mcap file or a rosbag2 folder',
    )
    sub.add_argument('--topic', help="the bag's pictures (the first Image, else CompressedImage)")
    sub.add_argument(
        '--engine', default='onnxruntime', metavar='NAMES', help='best first: tensorrt, onnxruntime (onnxruntime)'
    )
    sub.add_argument(
        '--providers',
        default='cpu',
        metavar='NAMES',
        help="ONNX Runtime's, best first: tensorrt, cuda, directml, openvino, cpu (cpu)",
    )
    sub.add_argument(
        '--accept-noncommercial', action='store_true', help='your use is not commercial, as its licence demands'
    )
    sub = command('remove', _remove, 'remove a network from the store, with what was built from it')
    sub.add_argument('name', help='a model of the store')
    sub.add_argument('--built', action='store_true', help='only what was built from it')


def _store() -> Store:
    from facefusion_ros.models.store import open_store

    return open_store()


def _list(options: argparse.Namespace) -> int:  # noqa: ARG001 - it has no options
    store = _store()
    rows = [
        (
            entry.name,
            entry.family.role.value,
            entry.family.name,
            _size(entry.size) if 'picture' in entry.inputs else '',
            _licence(entry.licence, entry.commercial),
            'shipped' if entry.shipped else '',
            ', '.join(_built(store, entry)),
        )
        for entry in store.entries().values()
    ]
    if all(shipped for *_, shipped, _ in rows):
        print(f'no models in {store.folder}; add one with `facefusion-ros models add FILE`')
    _table(('name', 'role', 'family', 'size', 'licence', '', 'built' if any(row[-1] for row in rows) else ''), rows)
    return 0


def _built(store: Store, entry: ModelEntry) -> list[str]:
    """Say of each precision that was built whether it may be used."""
    from facefusion_ros.models.store import built_folder

    folder = built_folder(store.path(entry), entry)
    if not folder.is_dir():
        return []
    from facefusion_ros.engines.artefact import every, parity_file
    from facefusion_ros.engines.parity import load

    found = []
    for stem, artefact in every(folder):
        state = 'damaged'
        if not isinstance(artefact, str):
            parity = load(parity_file(folder, artefact.recipe))
            known = parity is not None and artefact.digest in parity.key
            state = ('passed' if parity.passed else 'not passed') if known and parity else 'not compared'
        found.append(f'{stem.removeprefix(entry.name + "-")} {state}')
    return found


def _verify(options: argparse.Namespace) -> int:  # noqa: ARG001 - it has no options
    store = _store()
    rows, fine = [], True
    for entry, wrong in store.verify():
        rows.append((entry.name, entry.sha256[:12], wrong or ('as shipped' if entry.shipped else 'as added')))
        built = list(_verify_built(store, entry))
        rows += [(name, sha256, problem or 'as built') for name, sha256, problem in built]
        fine = fine and not wrong and not any(problem for *_, problem in built)
    if not rows:
        print(f'no models in {store.folder}')
    _table(('name', 'sha-256', 'state'), rows)
    return int(not fine)


def _verify_built(store: Store, entry: ModelEntry) -> Iterator[tuple[str, str, str]]:
    """Go through what was built from a model: name, digest, and what is wrong with it."""
    from facefusion_ros.models.store import built_folder

    folder = built_folder(store.path(entry), entry)
    if not folder.is_dir():
        return
    from facefusion_ros.engines.artefact import damage, every, recipe_of
    from facefusion_ros.engines.reduced import IntegerKernels

    for stem, artefact in every(folder):
        if isinstance(artefact, str):
            yield stem, '', f'{artefact}: build it again'
            continue
        whose = IntegerKernels(artefact.recipe.kernels or IntegerKernels.ONNXRUNTIME)
        recipe = recipe_of(entry, artefact.precision, whose)
        wrong = recipe.differs(artefact.recipe, 'calibration', 'version') or damage(folder, artefact)
        yield stem, artefact.digest[:12], f'{wrong}: build it again' if wrong else ''


def _build(options: argparse.Namespace) -> int:
    from facefusion_ros.app.build import Order, build
    from facefusion_ros.engines.chain import EngineSettings
    from facefusion_ros.engines.ort import OrtSettings
    from facefusion_ros.engines.reduced import Precision

    settings = EngineSettings(
        chain=tuple(name.strip() for name in options.engine.split(',')),
        onnxruntime=OrtSettings(providers=tuple(name.strip() for name in options.providers.split(','))),
    )
    order = Order(
        options.name, Precision(options.precision), options.calibration, options.topic, options.accept_noncommercial
    )
    rows, passed = build(order, settings)
    _table((), rows)
    return int(not passed)


def _remove(options: argparse.Namespace) -> int:
    store = _store()
    freed = (store.remove_built if options.built else store.remove)(options.name) / 1e6
    what = f'what was built from {options.name}' if options.built else options.name
    print(f'removed {what}: {freed:.1f} MB' if freed else f'nothing was built from {options.name}')
    return 0


def _inspect(options: argparse.Namespace) -> int:
    from facefusion_ros.models.cost import file_cost
    from facefusion_ros.models.entry import ModelError
    from facefusion_ros.models.families import catalogue
    from facefusion_ros.models.graph import read_graph
    from facefusion_ros.models.recognition import input_shapes, recognise
    from facefusion_ros.models.store import sha256

    store = _store()
    entry = None if options.file.exists() else store.entries().get(str(options.file))
    file = store.path(entry) if entry else options.file
    graph, known = read_graph(file), catalogue()
    operators = sorted(graph.operators.items(), key=lambda item: -item[1])
    rows = [
        ('file', f'{file}, {file.stat().st_size / 1e6:.1f} MB'),
        *([('shipped', 'with the package')] if entry and entry.shipped else []),
        ('sha-256', sha256(file)),
        ('made by', graph.producer or 'not stated'),
        ('opset', str(graph.opset)),
        ('parameters', f'{graph.parameters:,}'),
        ('operators', ', '.join(f'{count} {name}' for name, count in operators[:_MOST_OPERATORS])),
        *(('beside it', name) for name in graph.files_beside),
        *(('input', str(tensor)) for tensor in graph.inputs),
        *(('output', str(tensor)) for tensor in graph.outputs),
    ]
    published = known.known_file(file.name)
    if entry:
        rows.append(('licence', _licence(entry.licence, entry.commercial)))
        rows.append(('source', entry.source))
    elif published:
        licence = _licence(published.licence, known.commercial(published.licence))
        rows.append(('licence', f'{licence}, as published by {published.source}'))
    try:
        found = recognise(graph, known, entry.family.name if entry and not options.family else options.family)
    except ModelError as error:
        _table((), rows)
        print(f'family      {str(error).removeprefix(f"{file}: ")}')
        return 1
    rows += _family_rows(found.family, found.size)
    if found.personas:
        rows.append(('personas', ', '.join(found.personas)))
    cost = file_cost(file, input_shapes(found, graph.inputs))
    least = 'at least ' if cost.untold else ''
    weights_mb = cost.weight_bytes('fp16') / 1e6
    rows.append(('costs', f'{least}{cost.matrix_flop / 1e9:.4g} GFLOP a run, weights {weights_mb:.1f} MB in fp16'))
    rows += [('because', reason) for reason in found.reasons]
    _table((), rows)
    return 0


def _add(options: argparse.Namespace) -> int:
    first_run: list[str] = []

    def try_out(graph: Graph, found: Recognition) -> None:
        first_run.append(run_once(graph, found))

    store = _store()
    entry = store.add(
        options.file,
        name=options.name,
        family=options.family,
        licence=options.licence,
        source=options.source,
        accept_noncommercial=options.accept_noncommercial,
        try_out=try_out,
    )
    _table((), [
        ('added', f'{entry.name} to {store.folder}'),
        *_family_rows(entry.family, entry.size),
        ('runs', first_run[0]),
        ('licence', _licence(entry.licence, entry.commercial)),
        ('source', entry.source),
        ('sha-256', entry.sha256),
    ])  # fmt: skip
    return 0


def run_once(graph: Graph, found: Recognition) -> str:
    """Run a network once on zeros; return what ran it and how long that took, in words.

    Raises EngineError where it does not run.
    """
    from facefusion_ros.engines.ort import OrtEngine, OrtSettings
    from facefusion_ros.models.recognition import input_shapes

    clock = [time.perf_counter()]
    engine = OrtEngine(graph.path, OrtSettings(shapes=input_shapes(found, graph.inputs)))
    try:
        clock.append(time.perf_counter())
        engine.warm_up()
        clock.append(time.perf_counter())
        load_ms, run_ms = ((end - begin) * 1e3 for begin, end in itertools.pairwise(clock))
        return f'on {engine.provider}: loaded in {load_ms:.0f} ms, run once in {run_ms:.0f} ms'
    finally:
        engine.close()


def _family_rows(family: Family, size: tuple[int, int] | None) -> list[tuple[str, str]]:
    fed = family.preprocessing
    rows = [('family', f'{family.name} ({family.role.value})')]
    if any(form.role == 'picture' for form in family.inputs):
        span = '0..1' if fed.scale < 1 else '0..255'
        colour = f'{fed.colour.upper()} {span}, mean {_numbers(fed.mean)}, std {_numbers(fed.std)}'
        rows.append(('picture', f'{_size(size)}, {colour}, {fed.layout.upper()}'))
    if family.template:
        rows.append(('template', family.template))
    return rows


def _numbers(values: Sequence[float]) -> str:
    return f'{values[0]:.4g}' if len(set(values)) == 1 else ' '.join(f'{value:.4g}' for value in values)


def _size(size: tuple[int, int] | None) -> str:
    return f'{size[0]}x{size[1]}' if size else 'any size'


def _licence(licence: str, commercial: bool) -> str:  # noqa: FBT001 - what the licence allows
    return licence if commercial else f'{licence} (not for commercial use)'


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print columns; a key that repeats in the first column of a table without head is left out."""
    if not rows:
        return
    lines = [head, *rows] if head else list(rows)
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    before = ''
    for line in lines:
        first = '' if not head and line[0] == before else line[0]
        before = line[0]
        print('  '.join(cell.ljust(width) for cell, width in zip((first, *line[1:]), widths, strict=True)).rstrip())
