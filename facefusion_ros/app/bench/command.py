"""``facefusion-ros bench``: the benchmarks on the command line."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from contextlib import nullcontext
from pathlib import Path


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``bench`` and its own commands to a command line; each sets ``act``, which takes the options."""
    text = 'measure, and write JSON'
    top = commands.add_parser('bench', help=text, description=text[0].upper() + text[1:] + '.')
    own = top.add_subparsers(metavar='NAME', required=True)

    def bench(name: str, text: str, frames: int | None = None) -> argparse.ArgumentParser:
        sub = own.add_parser(name, help=text, description=text[0].upper() + text[1:] + '.')
        sub.add_argument('--json', default='-', metavar='FILE', help='where to write the numbers (-: standard output)')
        if frames is not None:
            sub.add_argument('--frames', type=count, default=frames, metavar='N', help=f'frames per row ({frames})')
        sub.set_defaults(act=_bench, bench=name)
        return sub

    bench('transport', 'how long a picture takes from one process to another', 150)
    bench('stages', 'what each stage costs on one thread', 150)
    bench('capture', 'what it costs to make a picture of each format the frame that the pipeline uses', 60)
    bench('precision', 'what fp16 and int8 gain, and what they do to a face', 150)
    sub = bench('faces', 'how well and how fast detectors find faces in photographs')
    sub.add_argument('--model', action='append', dest='models', default=[], metavar='NAME',
                     help='a detector of the store, any number of times (beside that of the package)')  # fmt: skip
    sub.add_argument('--landmarks', default='', metavar='NAME',
                     help='a network of landmarks for those, or default, or none (none)')  # fmt: skip
    sub.add_argument('--images', type=Path, metavar='FOLDER',
                     help='pictures of your own: tells what is found in them (known photographs)')  # fmt: skip
    sub.add_argument('--accept-noncommercial', action='store_true', help='your use is not commercial')
    sub = bench('swap', 'how well a swapper keeps expression and pose in photographs, persona by persona')
    sub.add_argument('--persona', action='append', dest='personas', default=[], metavar='NAME',
                     help='a persona, any number of times (those of the package)')  # fmt: skip
    sub.add_argument('--model', default='', metavar='NAME',
                     help='a swapper of the store; none: a warp (as the pipeline has it)')  # fmt: skip
    sub.add_argument('--enhancer', default='', metavar='NAME', help='an enhancer of the store (none)')
    sub.add_argument('--variations', type=count, default=200, metavar='N', help='of the portrait (200)')
    sub.add_argument('--accept-noncommercial', action='store_true', help='your use is not commercial')
    sub = bench('inference', 'how fast networks run and start, beside a plain ONNX Runtime loop', 150)
    sub.add_argument('--network', type=Path, action='append', dest='networks', metavar='FILE',
                     help='a file of your own, any number of times (a small network of each role)')  # fmt: skip
    sub.add_argument('--full', action='store_true', help='the large networks that users bring, with random weights')
    sub.add_argument('--runs', type=count, default=1000, metavar='N', help='over how many memory is watched (1000)')
    sub = bench('sensors', 'how far every sensor can be trusted: true stamps, true values, every fault overcome')
    sub.add_argument('--chip', action='append', dest='chips', metavar='NAME',
                     help='a chip, any number of times (all there are drivers for)')  # fmt: skip
    sub.add_argument('--world', default='', help="what they measure: a world's name or file (one made for the purpose)")
    sub.add_argument('--seconds', type=count, default=60, metavar='S', help='over how long stamps are compared (60)')
    sub.add_argument('--transactions', type=count, default=10_000, metavar='N',
                     help='to do with one fault in a hundred (10000)')  # fmt: skip
    sub.add_argument('--repeat', type=count, default=1, metavar='N', help='how often each fault is tried (1)')
    sub = bench('light', 'how well a persona sits in the light of the scene, with a light sensor and without')
    sub.add_argument('--world', default='head', metavar='NAME', help='name or file of a simulated world (head)')
    sub.add_argument('--persona', default='porcelain', metavar='NAME', help='name or file of a persona (porcelain)')
    sub.add_argument('--frames', type=count, default=0, metavar='N', help='how many frames (one period)')
    sub = bench('alignment', 'how well a persona stays on a face while the camera moves')
    sub.add_argument('--world', default='turning', metavar='NAME', help='name or file of a simulated world (turning)')
    sub.add_argument('--latency', type=amount, default=66.0, metavar='MS', dest='latency_ms',
                     help='from the frame a face was measured in to the frame on which it is covered (66)')  # fmt: skip
    sub.add_argument('--seconds', type=amount, default=10.0, metavar='S', help='of the world to measure (10)')
    sub.add_argument('--calibration', type=amount, default=10.0, metavar='S', dest='calibration_s',
                     help='how long is learned from before (10)')  # fmt: skip
    bench('roofline', 'how fast networks can be at best on a Jetson, computed and not measured')


def count(text: str) -> int:
    """Take a number of things from the command line."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'{text} is too few; give at least 1')
    return value


def amount(text: str) -> float:
    """Take a quantity above 0 from the command line."""
    value = float(text)
    if not 0.0 < value < 3600.0:
        raise argparse.ArgumentTypeError(f'{text} is not above 0 and below 3600')
    return value


def _bench(options: argparse.Namespace) -> int:
    given = {name: value for name, value in vars(options).items() if name not in {'act', 'bench', 'json'}}
    # Opened first, so that nobody waits for numbers that cannot be written.
    with nullcontext(sys.stdout) if options.json == '-' else Path(options.json).open('w') as out:
        # The benchmarks import what they need when they run.
        module = importlib.import_module(f'facefusion_ros.app.bench.{options.bench}')
        figures = getattr(module, options.bench)(**given)
        out.write(json.dumps(figures, indent=2) + '\n')
    if hasattr(module, 'table'):
        print(module.table(figures), file=sys.stderr if options.json == '-' else sys.stdout)
    return 0
