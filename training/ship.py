"""Put a trained network among those that ship with the package."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import yaml

from facefusion_ros.models.entry import ModelEntry
from facefusion_ros.models.families import catalogue
from facefusion_ros.models.graph import read_graph
from facefusion_ros.models.recognition import recognise
from facefusion_ros.models.store import INDEX, WEIGHTS, listed, sha256

LICENCE = 'Apache-2.0'
MOST_BYTES, MOST_BYTES_TOGETHER = 8_000_000, 25_000_000
ROOT = Path(__file__).parents[1]


def ship(file: Path, card: str, weights: Path = WEIGHTS) -> ModelEntry:
    """Copy a network among those that ship, and list it; one of the same name or for the same role is replaced.

    ``card``: what says how it was made and how good it is, a path from the repository's root. The file is called as it
    will be known. Raises ModelError where it is of no known family, SystemExit where it is too large or lacks its card.
    """
    if not (ROOT / card).is_file():
        raise SystemExit(f'{card} is not there: say first how the network was made and how good it is')
    index = weights / INDEX
    before = yaml.safe_load(index.read_text())['models']
    graph, name = read_graph(file), file.stem
    found = recognise(graph, catalogue())
    roles = {other: catalogue().family(entry['family']).role for other, entry in before.items()}
    kept = {other: entry for other, entry in before.items() if other != name and roles[other] is not found.family.role}
    sizes = [file.stat().st_size, *((weights / entry['file']).stat().st_size for entry in kept.values())]
    if sizes[0] > MOST_BYTES or sum(sizes) > MOST_BYTES_TOGETHER:
        raise SystemExit(f'{file} has {sizes[0]} bytes, with the others {sum(sizes)}: more than ships')
    entry = ModelEntry(
        name=name,
        family=found.family,
        file=f'{name}.onnx',
        sha256=sha256(file),
        licence=LICENCE,
        commercial=True,
        source=f'facefusion_ros, {card}',
        size=found.size,
        inputs=found.inputs,
        outputs=found.outputs,
        weight=found.weight,
        personas=found.personas,
    )
    for gone in before.keys() - kept.keys():
        (weights / before[gone]['file']).unlink()
    shutil.copyfile(file, weights / entry.file)
    text = '# Networks that ship with the package. Written by `python -m training.ship`.\n'
    index.write_text(text + yaml.safe_dump({'models': {**kept, name: listed(entry)}}, sort_keys=False))
    return entry


def main() -> None:
    """Put a trained network among those that ship with the package."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('file', type=Path, help='called as it will be known, such as face_detector.onnx')
    parser.add_argument('--card', required=True, help='such as docs/models/face_detector.md')
    options = parser.parse_args()
    entry = ship(options.file, options.card)
    print(f'{entry.name}: {entry.family.name} ({entry.family.role.value}), {entry.sha256[:12]}')


if __name__ == '__main__':
    main()
